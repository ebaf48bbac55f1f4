"""A book: many datas ranked by a model, the best long, the worst short, in one account."""

import math
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import backtrader as bt

from model.bars.intervals import day
from strategy_plugin.broker import affordable_units, exposure, worth
from strategy_plugin.dates import Dates
from strategy_plugin.decision import (
    AT_FAULT,
    DECIDED,
    NEUTRAL,
    RESTING,
    Reading,
    doubt,
    obstacle,
)
from strategy_plugin.feeds import Feed, is_live
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import LOG, Decision, TradedData, datas_to_trade
from strategy_plugin.orders import OrderRules, direction
from strategy_plugin.sizers import units_of
from strategy_plugin.startup import note_fractions, require_alike, require_book, require_one_kind
from strategy_plugin.trading import TradingStrategy
from strategy_plugin.weights import BookRules, target_weights

MISSING, LATE = "no bar on a date", "a bar after its date was ranked"
SETTLED, UNSETTLED = "settled", "not settled"
NO_UNIT = "less than one unit"


class Quote(NamedTuple):
    """What a name's bar says to its date; taken when the bar comes, as the feed may move on.

    number, timestamp: of the bar. reason: why it may not be ranked or opened, "" where it may.
    volatility: of its closes, NaN where it is not known or not asked for.
    """

    number: int
    timestamp: int
    reading: Reading
    reason: str
    volatility: float


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
        the broker can (`SettlingBroker`), and bars that an order may stay unfilled
      - delisting_loss: share of the last close that is lost then
      - checkpoint: a file or a folder, of one model for all names; "{name}" in it stands for the
        data's name. "": the feeds have a line `probability`
      - max_model_age, max_disagreement: those of BiLSTMStrategy; a model that is too old, or at
        odds with itself, opens and enlarges nothing
      - in_sample, max_gap, timezone, stamp, precision: those of BiLSTMStrategy
      - names, retries, trade_from, journal: those of BiLSTMStrategy

    Log: as that of BiLSTMStrategy.

    Borrowing costs, commission and slippage are Backtrader's, for each name where it is so set:
    `broker.setcommission(commission=0.001, interest=0.02, name="...")`.

    Example::

        cerebro.broker = SettlingBroker(cash=100_000)
        cerebro.addstrategy(BookStrategy, checkpoint="universe.ckpt", long=10, short=10)
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
        self._book = BookRules.of(self.p._getkwargs())
        require_one_kind(self.datas, self.p.names)
        datas = datas_to_trade(self.datas, self.p.names)
        require_book(self._book, len(datas))
        rules = OrderRules(self.p.retries, self.p.patience)
        # Probabilities are ranked: no threshold cuts them.
        self.trade_by(datas, rules, most=self.p.gross, enter=NEUTRAL, exit=NEUTRAL)
        self._of_name = {instrument.name: instrument for instrument in self.traded}
        live = [instrument.source for instrument in self.traded if is_live(instrument.source)]
        self._live = bool(live)
        require_alike(self.traded)
        # A step of a backtest is a whole date: nothing is waited for.
        self._dates: Dates[Quote] = Dates(self.p.wait if live else 0.0)
        if live:
            live[0].addfilter(_Reminder(self._decide_complete_dates))
        self._missed: Counter[str] = Counter()  # dates without a bar, in a row
        self._closes: dict[str, float] = {}  # the last sound one
        self._moves = {name: deque[float](maxlen=self.p.window) for name in self._of_name}
        self._weights: dict[str, float] = {}
        self._units: dict[str, float] = {}  # that each name is worked towards
        self._since_ranked: int = self.p.rebalance
        self.n_ranked = self.n_thin = 0  # dates with a ranking, and those with too few names

    def start(self) -> None:
        super().start()
        if type(self.getsizer()) is not bt.sizers.FixedSize:
            raise ValueError(
                f"a book's sizes are its weights, got the sizer {type(self.getsizer()).__name__}. "
                "Leave addsizer out; `gross`, `cap` and `fractional` say how much."
            )
        if self.p.fractional:
            note_fractions(self.traded, "BookStrategy, fractional=False")

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
        reading, name = instrument.read(), instrument.name
        reason = obstacle(reading, self._rules, instrument.resting)
        if instrument.sound:
            self._observe(name, instrument.data.close[instrument.ago])
        elif reason not in RESTING:
            reason = AT_FAULT
        quote = Quote(
            len(instrument.data) + instrument.ago,
            instrument.signal.timestamp(instrument.ago),
            reading,
            reason or doubt(reading, self._rules),
            self._volatility(name),
        )
        now = time.monotonic() if self._live else 0.0
        if not self._dates.add(name, quote.timestamp, quote, now) and reason not in RESTING:
            self._missed[name] = 0
            if not instrument.refused[LATE]:
                warnings.warn(
                    f"data {name!r}: its bar of {day(quote.timestamp)} came after that date was "
                    "ranked, where it counted as missing. Give a longer `wait`, or feeds whose "
                    "bars of a date have one timestamp. Further ones are counted",
                    TradingWarning,
                    stacklevel=2,
                )
            instrument.refused[LATE] += 1

    def _observe(self, name: str, close: float) -> None:
        if self.p.weights != "equal" and name in self._closes:
            self._moves[name].append(math.log(close / self._closes[name]))
        self._closes[name] = close

    def _volatility(self, name: str) -> float:
        moves = self._moves[name]
        if len(moves) < self.p.window:
            return math.nan
        mean = math.fsum(moves) / len(moves)
        return math.sqrt(math.fsum((move - mean) ** 2 for move in moves) / len(moves))

    def _decide_complete_dates(self) -> None:
        now, expected = 0.0, list[str]()
        if self._live:
            now = time.monotonic()
            expected = [
                instrument.name
                for instrument in self.traded
                if instrument.live and self._missed[instrument.name] < self.p.patience
            ]
        for _, quotes in self._dates.complete(expected, now):
            self._note_missing(quotes)
            self._decide(quotes)

    def _note_missing(self, quotes: Mapping[str, Quote]) -> None:
        """Count the names without a bar on a date; settle those that have been away too long."""
        if len(quotes) == len(self.traded):
            self._missed.clear()
            return
        for instrument in self.traded:
            name = instrument.name
            if name in quotes:
                self._missed[name] = 0
            # One that has not begun, or whose feed is not connected, is not missing.
            elif len(instrument.data) and instrument.live:
                self._missed[name] += 1
                instrument.refused[MISSING] += 1
                if self._missed[name] == self.p.patience:
                    self._settle(instrument)

    def _settle(self, instrument: TradedData) -> None:
        size = instrument.orders.broker.size
        if not direction(size):
            return
        price = self._closes.get(instrument.name, instrument.data.close[0])
        price *= 1 - self.p.delisting_loss
        if not hasattr(self.broker, "settle"):
            instrument.refused[UNSETTLED] += 1
            warnings.warn(
                f"data {instrument.name!r}: no bar on {self.p.patience} dates, and the broker "
                f"settles nothing: the position of {size:+.8g} stays in the account at its last "
                "close. In a backtest: cerebro.broker = SettlingBroker()",
                TradingWarning,
                stacklevel=2,
            )
            return
        LOG.info("data %r: settled: %+.8g at %.8g", instrument.name, size, price)
        self.broker.settle(self, instrument.data, price)
        instrument.orders.rest()
        instrument.refused[SETTLED] += 1
        self._units.pop(instrument.name, None)

    def _decide(self, quotes: Mapping[str, Quote]) -> None:
        """Rank a date where one is due, and order what the book lacks."""
        for instrument in self.traded:
            instrument.orders.sent_this_bar = False
        tradable: list[str] = []
        for name, quote in quotes.items():
            self.note_reason(self._of_name[name], quote.reading, quote.reason)
            if quote.reason not in RESTING and quote.reason != AT_FAULT:
                tradable.append(name)
        if tradable:
            self._since_ranked += 1
            if self._since_ranked >= self.p.rebalance:
                self._rank(quotes, tradable)
        self._fit_to_cash(tradable)
        self._carry_out(quotes)

    def _rank(self, quotes: Mapping[str, Quote], tradable: Iterable[str]) -> None:
        """Set weights and units anew; where too few names are ranked they stay."""
        equity = float(self.broker.getvalue())
        scores = {}
        for name in tradable:
            quote = quotes[name]
            if quote.reason in DECIDED:
                score = self.score(self._of_name[name], quote.reading)
                if math.isfinite(score):
                    scores[name] = score
        weights = target_weights(
            scores,
            self._held_weights(scores, equity),
            self._book,
            volatility=None
            if self.p.weights == "equal"
            else {name: quotes[name].volatility for name in scores},
            unopened={name for name in scores if quotes[name].reason},
        )
        if weights is None:
            self._since_ranked = self.p.rebalance  # the next date is due as well
            self.n_thin += bool(scores)
            return
        self._since_ranked = 0
        self.n_ranked += 1
        self._weights = weights
        for name, weight in weights.items():
            units = units_of(
                abs(weight),
                equity=equity,
                traded=1,
                worth=worth(self, self._of_name[name].data),
                fractional=self.p.fractional,
            )
            self._units[name] = math.copysign(units, weight)
            self._of_name[name].refused[NO_UNIT] += bool(weight and not units)

    def _held_weights(self, scores: Mapping[str, float], equity: float) -> dict[str, float]:
        """Return the exposure of every position over equity, orders that still work included."""
        held = {}
        for name, instrument in self._of_name.items():
            orders = instrument.orders
            size = orders.broker.size
            if size or orders.working is not None:
                # Of what cannot be traded now also a position counts that an order is to close.
                side = orders.held if name in scores else orders.held or direction(size)
                held[name] = side * exposure(self, instrument) / equity if equity > 0 else 0.0
        return held

    def _fit_to_cash(self, tradable: Iterable[str]) -> None:
        """Cut all openings alike where the cash does not suffice for them."""
        wanted = {}
        for name in tradable:
            if name in self._units:
                instrument = self._of_name[name]
                if abs(self._units[name] - instrument.orders.broker.size) > 0:
                    wanted[name] = self._units[name]
        if not wanted:
            return
        units = affordable_units(self, wanted, self.p.fractional)
        for name in wanted:
            self._of_name[name].orders.counts["capped"] += units[name] != wanted[name]
        self._units |= units

    def _carry_out(self, quotes: Mapping[str, Quote]) -> None:
        decisions = []
        for name, quote in quotes.items():
            orders = self._of_name[name].orders
            size, held = orders.broker.size, orders.held
            units = self._units.get(name, size)
            decision = Decision(
                quote.number,
                quote.timestamp,
                quote.reading,
                held,
                direction(units),
                quote.reason,
                weight=self._weights.get(name),
                units=units,
            )
            decisions.append((_turn(size, units), name, decision))
        # Closes before openings, and what brings cash before what takes it.
        for _, name, decision in sorted(decisions):
            instrument = self._of_name[name]
            instrument.carry_out(decision)
            if self._journal is not None:
                self._journal.write_decision(instrument)

    def stop(self) -> None:
        super().stop()
        if self.n_ranked:
            return
        if self.n_thin:
            least = max(self._book.fewest, sum(self._book.counts(len(self.traded))))
            warnings.warn(
                f"none of {self.n_thin} dates had enough names with a forecast, {least} of "
                f"{len(self.traded)}, so nothing was traded. Give a longer history, or fewer names "
                "with `long`, `short` and `fewest`",
                TradingWarning,
                stacklevel=2,
            )
        for instrument in self.traded:
            instrument.warn_if_untraded()


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
