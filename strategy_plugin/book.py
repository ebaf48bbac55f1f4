"""A book: many datas ranked by a model, the best long, the worst short, in one account."""

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import backtrader as bt

from model.bars.faults import count
from model.bars.intervals import day
from strategy_plugin.broker import affordable_share, exposure, worth
from strategy_plugin.dates import Dates
from strategy_plugin.decision import AT_FAULT, LATE, NEUTRAL, RESTING, Reading, doubt, obstacle
from strategy_plugin.feeds import Feed, is_live
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import LOG, Decision, TradedData, datas_to_trade
from strategy_plugin.journal import or_null, seen_bar, time_text
from strategy_plugin.orders import Order, OrderRules, direction
from strategy_plugin.ranking import Book, Candidate, TrailingVolatility
from strategy_plugin.startup import (
    first_few,
    note_fractions,
    require_alike,
    require_book,
    require_one_kind,
)
from strategy_plugin.trading import TradingStrategy
from strategy_plugin.weights import BookRules

MISSING, SETTLED, UNSETTLED = "no bar on a date", "settled", "not settled"
NO_UNIT = "less than one unit"
PARTLY = "a window with a place among some of the names of its date"


class Quote(NamedTuple):
    """What a name's bar says to its date; taken when the bar comes, as the feed may move on.

    number, timestamp: of the bar. reason: why it may not be ranked or opened, "" where it may.
    seen: the bar as the journal has it, None without one.
    """

    number: int
    timestamp: int
    reading: Reading
    reason: str
    volatility: float
    seen: dict[str, object] | None


class BookStrategy(TradingStrategy):
    """Ranks many datas by a model's probabilities and trades the ranks in one account.

    Buy Logic:
      - On a date that is due, the names with a sound bar and a forecast are ranked by probability,
        equal ones by name
      - Long the first, short the last; a name that is held stays while its rank is within `keep`
        times its side
      - The book is brought to its target weights; between two such dates orders that were refused
        or only filled in part are worked on, nothing else
      - A name held without a bar or a forecast stays as it is, keeps its place and counts against
        `gross`

    Order Execution Type:
      - Market, decided when all names have their bar of a date, filled at each one's next open;
        closes first, then shorts, then longs. Cash that does not suffice cuts all openings alike
      - The weights are the size: there is no sizer

    Params:
      - long, short: names on either side, a number or a share (below 1) of those ranked; 0 for none
      - keep: times a side's number, from 1; more trades less
      - weights: "equal" or "inverse-volatility"
      - window: moves of the close that tell the volatility
      - gross: all positions over equity, shorts included; half for each of two sides. What a side
        lacks stays in cash
      - cap: the most of one name, as a share of the equity; the others of its side get what it cuts
      - fewest: names that must be ranked, else the book stays as it is
      - rebalance: dates from one ranking to the next, from the first that can be ranked on
      - fractional: False rounds down to whole units
      - wait: with live feeds, seconds after a date's first bar at which it is ranked without the
        names that are not there; what comes later is counted and waits for the next date
      - patience: dates of the other names without a bar after which a position is settled, where
        the broker can (`SettlingBroker`), and an order is cancelled; bars that an order may stay
        unfilled
      - delisting_loss: share of the last close that is lost then
      - checkpoint: a file or a folder, of one model for all names; "{name}" in it stands for the
        data's name. "": the feeds have a line `probability`
      - max_model_age, max_disagreement: those of BiLSTMStrategy; a model that is too old, or at
        odds with itself, opens and enlarges nothing
      - in_sample, max_gap, timezone, stamp, precision: those of BiLSTMStrategy
      - features, context, max_context_age: those of BiLSTMStrategy
      - names, retries, trade_from, journal: those of BiLSTMStrategy

    Log: as that of BiLSTMStrategy.

    Borrowing costs, commission and slippage are Backtrader's, for each name where it is so set:
    `broker.setcommission(commission=0.001, interest=0.02, name="...")`.

    Example::

        cerebro.adddata(bt.feeds.PandasData(dataname=bars / 2), name="nasdaq half")
        cerebro.broker = SettlingBroker(cash=100_000)
        cerebro.addstrategy(BookStrategy, checkpoint="nasdaq.ckpt", long=1, short=1)
    """

    # Backtrader adds the parent's params.
    params = (  # type: ignore[assignment]
        ("long", 0.2),
        ("short", 0.2),
        ("keep", 2.0),
        ("weights", "equal"),
        ("window", 20),
        ("gross", 0.95),
        ("cap", 1.0),
        ("fewest", 2),
        ("rebalance", 1),
        ("fractional", True),
        ("wait", 60.0),
        ("delisting_loss", 0.0),
    )

    def __init__(self) -> None:
        super().__init__()
        rules = BookRules.of(self.p._getkwargs())
        self.book = Book(rules, self.p.rebalance, self.p.fractional)
        require_one_kind(self.datas, self.p.names)
        datas = datas_to_trade(self.datas, self.p.names, self.p.context)
        require_book(rules, len(datas))
        self._least = max(rules.fewest, sum(rules.counts(len(datas))))
        # Probabilities are ranked: no threshold cuts them.
        self.trade_by(
            datas,
            OrderRules(self.p.retries, self.p.patience),
            most=self.p.gross,
            enter=NEUTRAL,
            exit=NEUTRAL,
        )
        require_alike(self.traded)
        self._of_name = {instrument.name: instrument for instrument in self.traded}
        self._managers = {instrument.name: instrument.orders for instrument in self.traded}
        live = [instrument.source for instrument in self.traded if is_live(instrument.source)]
        self._live = bool(live)
        # A step of a backtest is a whole date: nothing is waited for.
        self._dates: Dates[Quote] = Dates(self.p.wait if live else 0.0)
        if live:
            live[0].addfilter(_Reminder(self._decide_complete_dates))
        self._is_unpriced, self._is_weighted = False, self.p.weights != "equal"
        self._missed: Counter[str] = Counter()  # dates without a bar, in a row
        self._partly: dict[str, int] = {}  # forecasts to come whose window has such a row
        self._trails = {name: TrailingVolatility(self.p.window) for name in self._of_name}

    def start(self) -> None:
        super().start()
        if type(self.getsizer()) is not bt.sizers.FixedSize:
            raise ValueError(
                f"a book's sizes are its weights, got the sizer {type(self.getsizer()).__name__}. "
                "Leave addsizer out; `gross`, `cap` and `fractional` say how much."
            )
        if self.p.fractional:
            note_fractions(self.traded, "BookStrategy, fractional=False")

    @property
    def n_ranked(self) -> int:
        """Dates with a ranking."""
        return self.book.n_ranked

    @property
    def n_thin(self) -> int:
        """Dates that were due and had too few names with a forecast."""
        return self.book.n_thin

    def next(self) -> None:
        for instrument in self.traded:
            if instrument.has_new_bar():
                self._take(instrument)
        self._decide_complete_dates()

    def score(self, instrument: TradedData, reading: Reading) -> float:
        """Return what a name is ranked by, the higher the better; NaN leaves it out.

        Override it to rank by something of your own.

        Parameters
        ----------
        instrument
            What is ranked: its `data` and its `name`.
        reading
            What is known at the bar's close: probability, the model's age and so on.

        Returns
        -------
        float
            The probability of "up".
        """
        return reading.probability

    def _take(self, instrument: TradedData) -> None:
        """Keep what a new bar says until its date is complete."""
        reading = instrument.read()
        if instrument.sound:
            self._trails[instrument.name].add(instrument.data.lines.close[instrument.ago])
        quote = self._quote(instrument, reading)
        now = time.monotonic() if self._live else 0.0
        if not self._dates.add(instrument.name, quote.timestamp, quote, now):
            self._pass_over(instrument, quote)

    def _quote(self, instrument: TradedData, reading: Reading) -> Quote:
        """Return what the newest bar of a name says."""
        reason = obstacle(reading, self._rules, instrument.resting)
        if not instrument.sound and reason not in RESTING:
            reason = AT_FAULT
        return Quote(
            len(instrument.data) + instrument.ago,
            instrument.signal.timestamp(instrument.ago),
            reading,
            reason or doubt(reading, self._rules),
            self._trails[instrument.name].value if self._is_weighted else math.nan,
            seen_bar(instrument) if self._journal is not None else None,
        )

    def _completed(self, name: str, quote: Quote) -> Quote:
        """Return a quote with the forecast that its name's place among the whole date gives."""
        instrument = self._of_name[name]
        # Of a backtest a date is whole before the first of its bars is shown.
        if not (self._live and instrument.is_placed):
            return quote
        if quote.number != len(instrument.data) + instrument.ago:
            self._note_partly([instrument], quote.timestamp)
            return quote
        if not instrument.complete():
            return quote
        return self._quote(instrument, instrument.signal.read(instrument.ago))

    def _pass_over(self, instrument: TradedData, quote: Quote) -> None:
        """Count a bar whose date was ranked without it; its name is there again."""
        self._missed[instrument.name] = 0
        if quote.reason not in RESTING:
            if not instrument.refused[LATE]:
                warnings.warn(
                    f"data {instrument.name!r}: its bar of {day(quote.timestamp)} came after that "
                    "date was ranked, where it counted as missing. Give a longer `wait`, or feeds "
                    "whose bars of a date have one timestamp. Further ones are counted",
                    TradingWarning,
                    stacklevel=2,
                )
            quote = quote._replace(reason=LATE)
            instrument.refused[LATE] += 1
            if instrument.is_placed:
                others = [one for one in self.traded if one is not instrument]
                self._note_partly(others, quote.timestamp)
        self._carry_out(instrument, quote, None)

    def _note_partly(self, instruments: Sequence[TradedData], timestamp: int) -> None:
        """Note whose row of a date has a place among some of its names, and keeps it.

        Mended later, it would no longer be what was decided on.
        """
        if instruments and not self._partly:
            warnings.warn(
                f"on {day(timestamp)} places were taken before all bars of the date had come, so "
                "forecasts differ from a backtest's until that row has left their windows; such "
                "forecasts are counted. Give a longer `wait`, or find out which feed lags",
                TradingWarning,
                stacklevel=2,
            )
        for instrument in instruments:
            assert instrument.signal.indicator is not None
            self._partly[instrument.name] = instrument.signal.indicator.schedule.sequence_length

    def _decide_complete_dates(self) -> None:
        now, expected = 0.0, list[str]()
        if self._live:
            now = time.monotonic()
            # One that was connected and is not now is known to be missing.
            expected = [
                instrument.name
                for instrument in self.traded
                if (instrument.live or not instrument.was_live)
                and self._missed[instrument.name] < self.p.patience
            ]
        for timestamp, quotes in self._dates.complete(expected, now):
            settled = self._settle_missing(quotes)
            whole = {name: self._completed(name, quote) for name, quote in quotes.items()}
            self._decide(timestamp, whole, settled)

    def _settle_missing(self, quotes: Mapping[str, Quote]) -> list[str]:
        """Count the names without a bar on a date; settle those that have been away too long."""
        if len(quotes) == len(self.traded):
            self._missed.clear()
            return []
        settled = []
        for instrument in self.traded:
            name = instrument.name
            if name in quotes:
                self._missed[name] = 0
            # One that has not begun, or whose feed is not connected, is not missing.
            elif len(instrument.data) and instrument.live:
                self._missed[name] += 1
                instrument.refused[MISSING] += 1
                if self._missed[name] == self.p.patience and self._settle(instrument):
                    settled.append(name)
        return settled

    def _settle(self, instrument: TradedData) -> bool:
        """Settle a position, or cancel the order for one; False for neither, or if none can be."""
        size, working = instrument.orders.broker.size, instrument.orders.working
        if not direction(size):
            if working is None:
                return False
            # It would keep the place of another name for good.
            instrument.orders.broker.cancel(working)
            return self._forget(instrument, working)
        if not hasattr(self.broker, "settle"):
            instrument.refused[UNSETTLED] += 1
            warnings.warn(
                f"data {instrument.name!r}: no bar on {self.p.patience} dates, and the broker "
                f"settles nothing: the position of {size:+.8g} stays in the account at its last "
                "close. In a backtest: cerebro.broker = SettlingBroker()",
                TradingWarning,
                stacklevel=2,
            )
            return False
        price = self._trails[instrument.name].close * (1 - self.p.delisting_loss)
        LOG.info("data %r: settled: %+.8g at %.8g", instrument.name, size, price)
        self.broker.settle(self, instrument.data, price)
        instrument.refused[SETTLED] += 1
        return self._forget(instrument, working)

    def _forget(self, instrument: TradedData, cancelled: Order | None) -> bool:
        """Work towards no units of a name any more."""
        if cancelled is not None:
            instrument.orders.notify(cancelled)  # its own notification comes a bar later
        self.book.units.pop(instrument.name, None)
        return True

    def _decide(self, timestamp: int, quotes: Mapping[str, Quote], settled: list[str]) -> None:
        """Rank a date where one is due, and order what the book lacks."""
        for instrument in self.traded:
            instrument.orders.sent_this_bar = False
        candidates = {name: self._candidate(name, quote) for name, quote in quotes.items()}
        equity, held = float(self.broker.getvalue()), None
        if not math.isfinite(equity):
            self._note_unpriced()
        elif self.book.is_due(candidates):
            held = self._held_weights(candidates, equity)
            for name in self.book.rank(candidates, held, equity):
                self._of_name[name].refused[NO_UNIT] += 1
        moves, share = self.book.moves(candidates, self._managers), 1.0
        if moves:
            share = affordable_share(self, moves)
            if share < 1:
                self.book.cut_openings(moves, self._managers, share)
                for name in moves:
                    self._managers[name].counts["capped"] += 1
        if self._journal is not None:
            self._journal.write_date(
                {
                    "date": time_text(timestamp),
                    "equity": or_null(equity),
                    "held": held,
                    "share": share,
                    "settled": settled,
                }
            )
        sizes = {name: self._managers[name].broker.size for name in quotes}
        units = {name: self.book.units.get(name, size) for name, size in sizes.items()}
        # Closes before openings, and what brings cash before what takes it.
        for name in sorted(quotes, key=lambda name: (_turn(sizes[name], units[name]), name)):
            self._carry_out(self._of_name[name], quotes[name], units[name])

    def _note_unpriced(self) -> None:
        if not self._is_unpriced:
            self._is_unpriced = True
            warnings.warn(
                "the account has no value where the close of a name that is held is no number; the "
                "book stays as it is on such dates. data.addfilter(BarGuard) keeps such bars out",
                TradingWarning,
                stacklevel=2,
            )

    def _candidate(self, name: str, quote: Quote) -> Candidate:
        instrument = self._of_name[name]
        self.note_reason(instrument, quote.reading, quote.reason)
        if self._partly.get(name):
            self._partly[name] -= 1
            instrument.refused[PARTLY] += not math.isnan(quote.reading.probability)
        money = worth(self, instrument.data)
        instrument.orders.broker.order_inputs["worth"] = money
        return Candidate(
            self.score(instrument, quote.reading), quote.reason, quote.volatility, money
        )

    def _held_weights(self, candidates: Mapping[str, Candidate], equity: float) -> dict[str, float]:
        """Return the exposure of every position over equity, orders that still work included."""
        held = {}
        for name, instrument in self._of_name.items():
            # Of a data that has not begun Backtrader's broker cannot tell the value.
            orders, size = instrument.orders, 0.0
            if len(instrument.data):
                size = orders.broker.size
            if (size or orders.working is not None) and equity > 0:
                # Of what is not ranked also a position counts that an order is to close.
                ranked = name in candidates and candidates[name].ranked
                side = orders.held if ranked else orders.held or direction(size)
                held[name] = side * exposure(self, instrument) / equity
        return held

    def _carry_out(self, instrument: TradedData, quote: Quote, units: float | None) -> None:
        held = instrument.orders.held
        instrument.carry_out(
            Decision(
                quote.number,
                quote.timestamp,
                quote.reading,
                held,
                held if units is None else direction(units),
                quote.reason,
                weight=self.book.weights.get(instrument.name),
                units=units,
            )
        )
        if self._journal is not None:
            self._journal.write_decision(instrument, quote.seen)

    def stop(self) -> None:
        super().stop()
        if self.n_ranked:
            self._note_unranked()
            return
        if self.n_thin:
            warnings.warn(
                f"none of {self.n_thin} dates had enough names with a forecast, {self._least} of "
                f"{len(self.traded)}, so nothing was traded. Give a longer history, or fewer names "
                "with `long`, `short` and `fewest`",
                TradingWarning,
                stacklevel=2,
            )
        for instrument in self.traded:
            instrument.warn_if_untraded()

    def _note_unranked(self) -> None:
        """Say which names were in no ranking, though the book had some."""
        never = [one for one in self.traded if one.n_decided and not one.n_forecasts]
        if never:
            warnings.warn(
                f"{count(len(never), 'name')} of {len(self.traded)} never had a forecast, and so "
                f"no place in the book: {first_few([one.name for one in never])}. Fewer "
                "sound bars than the model needs give none, nor does a gap in every window",
                TradingWarning,
                stacklevel=3,
            )


class _Reminder:
    """A filter of a live feed that takes no bar, but is asked while none comes."""

    def __init__(self, remind: Callable[[], None]) -> None:
        self._remind = remind

    def __call__(self, data: Feed) -> bool:
        return False

    def check(self, data: Feed, _forcedata: Feed | None = None) -> None:
        # With one, Backtrader is in the midst of a step.
        if _forcedata is None:
            self._remind()


def _turn(size: float, units: float) -> int:
    """Return when an order goes out: sales, covers, then short and long openings."""
    if units < size:
        return 0 if size > 0 else 2
    return 1 if units <= 0 else 3
