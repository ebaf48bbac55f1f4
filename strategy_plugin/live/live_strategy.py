"""The strategies under limits, and what is told of each live bar."""

import math
from collections.abc import Mapping

from model.bars.intervals import day
from strategy_plugin.book import BookStrategy, Quote
from strategy_plugin.decision import RESTING, Reading
from strategy_plugin.feeds import bar_of
from strategy_plugin.instrument import TradedData
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.series import SeriesWatch
from strategy_plugin.ranking import Candidate
from strategy_plugin.strategy import BiLSTMStrategy

FROZEN = "frozen"
# The params of a strategy under limits.
UNDER_LIMITS = (("on_stop", "keep"), ("write", None), ("bars", 0))


class LiveStrategy(BiLSTMStrategy):
    """BiLSTMStrategy under limits: while the run is frozen nothing is opened.

    Params:
      - on_stop: "keep" holds what is held in a frozen run, "flat" closes it
      - write: takes what is to be told of each live bar of each data
      - bars: live bars after which the run ends, 0 for none
    """

    params = UNDER_LIMITS  # type: ignore[assignment]  # Backtrader adds the parent's
    n_live, _frozen = 0, ""

    def __init__(self) -> None:
        super().__init__()
        self.series_watch = SeriesWatch()

    def next(self) -> None:
        broker: LiveBroker = self.broker
        live = any(instrument.live for instrument in self.traded)
        if live:
            self._frozen = broker.watchman.look(broker.store.now(), broker.getvalue())
        before = {instrument.name: instrument.decision.number for instrument in self.traded}
        super().next()
        decided = [one for one in self.traded if one.decision.number > before[one.name]]
        for instrument in decided:
            tell(self, instrument, self._frozen)
        # A step of another series alone is no bar of ours.
        count_bar(self, live and bool(decided))

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        wanted, reason = super().decide(instrument, reading)
        opens = not reason and wanted not in (0, instrument.orders.held)
        closes = self.p.on_stop == "flat" and instrument.live
        return (0, FROZEN) if self._frozen and (opens or closes) else (wanted, reason)


class LiveBook(BookStrategy):
    """BookStrategy under limits: while the run is frozen the book stays as it is, or is closed.

    Params:
      - on_stop: "keep" holds what is held in a frozen run, "flat" closes it
      - write: takes what is to be told of each live bar of each data
      - bars: live dates after which the run ends, 0 for none
    """

    params = UNDER_LIMITS  # type: ignore[assignment]  # Backtrader adds the parent's
    n_live, _frozen = 0, ""

    def __init__(self) -> None:
        super().__init__()
        self.series_watch = SeriesWatch()

    def _decide(self, timestamp: int, quotes: Mapping[str, Quote], settled: list[str]) -> None:
        broker: LiveBroker = self.broker
        live = any(quote.reason not in RESTING for quote in quotes.values())
        if live:
            self._frozen = broker.watchman.look(broker.store.now(), broker.getvalue())
        if self._frozen:
            flat = self.p.on_stop == "flat"
            sizes = {one.name: one.orders.broker.size for one in self.traded}
            self.book.units |= {name: 0.0 if flat else size for name, size in sizes.items()}
        super()._decide(timestamp, quotes, settled)
        for instrument in self.traded:
            if instrument.name in quotes:
                tell(self, instrument, self._frozen)
        count_bar(self, live)

    def _candidate(self, name: str, quote: Quote) -> Candidate:
        # Nothing with a reason is ranked; orders that close may go out on its bar.
        held_back = self._frozen and not quote.reason
        return super()._candidate(name, quote._replace(reason=FROZEN) if held_back else quote)


def count_bar(strategy: LiveStrategy | LiveBook, live: bool) -> None:
    """Count a live bar, and end the run where it was the last one asked for."""
    strategy.n_live += live
    if strategy.p.bars and strategy.n_live >= strategy.p.bars:
        strategy.env.runstop()


def tell(strategy: LiveStrategy | LiveBook, instrument: TradedData, frozen: str) -> None:
    """Give the line of a live bar of one data to whoever writes it."""
    if not instrument.live:
        return
    series = strategy.series_watch.look(instrument)
    if strategy.p.write is None:
        return
    broker: LiveBroker = strategy.broker
    took, waited = broker.store.since_seen()
    decision = instrument.decision
    open, high, low, close, volume = bar_of(instrument.data)
    probability = decision.reading.probability
    would = list(broker.would)
    broker.would.clear()
    line: Mapping[str, object] = {
        "bar": day(decision.timestamp),
        "symbol": instrument.name,
        "open": open,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "probability": None if math.isnan(probability) else round(probability, 6),
        "model": decision.reading.model[:12],
        # How old each other series was, in seconds.
        **({"series": series} if series else {}),
        "wanted": decision.wanted,
        "reason": decision.reason,
        "order": decision.action,
        **({} if decision.units is None else {"units": decision.units}),
        **({"not sent": would} if would else {}),
        **({"fills": instrument.filled} if instrument.filled else {}),
        "position": broker.getposition(instrument.data).size,
        "cash": broker.getcash(),
        "equity": broker.getvalue(),
        "frozen": frozen,
        # From the bar to the answers on its orders, and of that until the venue answered.
        "milliseconds": round(1e3 * took, 2),
        "milliseconds at the venue": round(1e3 * waited, 2),
    }
    strategy.p.write(line)
