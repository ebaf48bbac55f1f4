"""The strategy under limits, and what is told of each live bar."""

import math
from collections.abc import Mapping

from model.bars.intervals import day
from strategy_plugin.decision import Reading
from strategy_plugin.feeds import bar_of
from strategy_plugin.instrument import TradedData
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.strategy import BiLSTMStrategy

FROZEN = "frozen"


class LiveStrategy(BiLSTMStrategy):
    """BiLSTMStrategy under limits: while the run is frozen nothing is opened.

    Params:
      - on_stop: "keep" holds what is held in a frozen run, "flat" closes it
      - write: takes what is to be told of each live bar of each data
      - bars: live bars after which the run ends, 0 for none
    """

    params = (("on_stop", "keep"), ("write", None), ("bars", 0))  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.n_live = 0
        self._frozen = ""

    def next(self) -> None:
        broker: LiveBroker = self.broker
        live = any(instrument.live for instrument in self.traded)
        if live:
            self._frozen = broker.watchman.look(broker.store.now(), broker.getvalue())
        before = {instrument.name: instrument.decision.number for instrument in self.traded}
        super().next()
        took, waited = broker.store.since_seen()
        for instrument in self.traded:
            new = instrument.decision.number > before[instrument.name]
            if new and instrument.live and self.p.write is not None:
                self.p.write(self._line(instrument, took, waited))
        self.n_live += live
        if self.p.bars and self.n_live >= self.p.bars:
            self.env.runstop()

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        wanted, reason = super().decide(instrument, reading)
        opens = not reason and wanted not in (0, instrument.orders.held)
        closes = self.p.on_stop == "flat" and instrument.live
        return (0, FROZEN) if self._frozen and (opens or closes) else (wanted, reason)

    def _line(self, instrument: TradedData, took: float, waited: float) -> Mapping[str, object]:
        decision, broker = instrument.decision, self.broker
        open, high, low, close, volume = bar_of(instrument.data)
        probability = decision.reading.probability
        would = list(broker.would)
        broker.would.clear()
        return {
            "bar": day(decision.timestamp),
            "symbol": instrument.name,
            "open": open,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "probability": None if math.isnan(probability) else round(probability, 6),
            "model": decision.reading.model[:12],
            "wanted": decision.wanted,
            "reason": decision.reason,
            "order": decision.action,
            **({"not sent": would} if would else {}),
            **({"fills": instrument.filled} if instrument.filled else {}),
            "position": broker.getposition(instrument.data).size,
            "cash": broker.getcash(),
            "equity": broker.getvalue(),
            "frozen": self._frozen,
            # From the bar to the answers on its orders, and of that until the venue answered.
            "milliseconds": round(1e3 * took, 2),
            "milliseconds at the venue": round(1e3 * waited, 2),
        }
