"""One instrument that is traded: its data feed, its signal, its orders and its last decision."""

import logging
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.scaler import MOST_OUT_OF_RANGE
from strategy_plugin.decision import (
    AT_FAULT,
    IN_SAMPLE,
    LATE,
    NO_MODEL,
    NO_READING,
    NOT_LIVE,
    RESTING,
    TOO_EARLY,
    Reading,
    is_near_threshold,
    thresholds,
)
from strategy_plugin.feeds import Feed, bar_of, is_live, nanoseconds, source_of
from strategy_plugin.guard import TradingWarning, guard_for
from strategy_plugin.indicator import DirectionProbability
from strategy_plugin.orders import FilledOrder, OrderEnd, OrderManager, direction

UNLIKE_TRAINING = "inputs unlike those of training"
NEAR_THRESHOLD = "nearer to a threshold than features agree"
# One line for each decision, order and end of an order, at the level INFO.
LOG = logging.getLogger("strategy_plugin")
REPEATED_FILL = "filled on a bar that repeats another"


class Decision(NamedTuple):
    """What was decided on a bar, and what came of it.

    number, timestamp: of the bar. held, wanted: directions before and after. reason: why nothing
    may be decided or no position opened, "" where all is free. position: units held; aim: units
    an order was sent for, None without one; action: what was done; ends: what became of orders
    since the decision before. weight: the share of the equity that a book gives it, units: those
    that it works towards; None where no book decides.
    """

    number: int = 0
    timestamp: int = 0
    reading: Reading = NO_READING
    held: int = 0
    wanted: int = 0
    reason: str = ""
    position: float = 0.0
    aim: float | None = None
    action: str = ""
    ends: tuple[OrderEnd, ...] = ()
    weight: float | None = None
    units: float | None = None

    @property
    def has_forecast(self) -> bool:
        """Whether a signal speaks in what is wanted, or it is only what is held for want of one."""
        return not self.reason and not math.isnan(self.reading.probability)

    @property
    def closes(self) -> bool:
        """Whether the position held is given up, be it for the other side.

        Such decisions go first: what they set free others may use.
        """
        return self.wanted in (0, -self.held)


class TradedData:
    """One data feed with its signal, its orders and its guard.

    live: whether decisions may become orders; a live feed says when. trade_from: of the first bar
    that may be traded, in nanoseconds since 1970, None for all. refused: bars by the reason
    why they were not traded freely. n_decided: bars on which the probability counted.
    n_forecasts: bars that had one. n_out_of_range: bars whose window is unlike those of training,
    traded all the same. filled: size and price of what was filled between the last two decisions.
    """

    def __init__(
        self,
        data: Feed,
        name: str,
        signal: "ModelSignal | LineSignal",
        orders: OrderManager,
        trade_from: int | None = None,
    ) -> None:
        self.data, self.name, self.signal, self.orders = data, name, signal, orders
        self.trade_from = trade_from
        self.guard = guard_for(
            data, finished_after=signal.finished_after, daily=signal.daily, zone=signal.zone
        )
        self.source = source_of(data)
        self.live = not is_live(data)
        self.was_live = self.live  # whether a live bar has been read
        self.refused: Counter[str] = Counter()
        self.n_decided = self.n_forecasts = self.n_out_of_range = 0
        self.decision = Decision()
        self.filled: list[tuple[float, float]] = []
        self._filling: list[tuple[float, float]] = []  # since the last decision
        self._executed: dict[int, tuple[float, float]] = {}  # size and money, by an order's ref
        # A replayed feed grows its newest bar: the last complete one is the one before.
        self.ago = -1 if data.replaying else 0
        self._n_seen = 0
        schedule = None if signal.indicator is None else signal.indicator.schedule
        own = schedule.checkpoints[0].features if schedule else ()
        self._rounds = not all(record.exact for record in own)
        self.sound = True  # whether the bar read last is without fault

    @property
    def is_placed(self) -> bool:
        """Whether its forecasts depend on the bars of the other datas of a date."""
        indicator = self.signal.indicator
        return indicator is not None and indicator.is_placed

    def complete(self) -> bool:
        """Forecast the newest bar anew, where more of its date has come; whether it is another."""
        indicator = self.signal.indicator
        return indicator is not None and indicator.complete()

    def has_new_bar(self) -> bool:
        """Return True once for each new bar.

        Backtrader calls again when another feed moves, and after this one has ended.
        """
        number = len(self.data)
        grown, self._n_seen = number > self._n_seen, number
        return grown and number > -self.ago

    def read(self) -> Reading:
        """Return the reading of the newest complete bar; to be called once for each.

        The orders see the bar, too, and windows unlike those of training are counted.
        """
        self.sound = self.orders.broker.observe(self.ago)
        indicator = self.signal.indicator
        if self.live and not self.was_live:
            self.was_live = True
            self._describe_start()
        # NaN, where there is no window, is not above the limit.
        if indicator is not None and indicator.lines.out_of_range[self.ago] > MOST_OUT_OF_RANGE:
            if not self.n_out_of_range:
                warnings.warn(
                    f"data {self.name!r}: {indicator.out_of_range[self.ago]:.0%} of what the model "
                    "sees lies outside of its usual range in training, more than "
                    f"{MOST_OUT_OF_RANGE:.0%}. Train again, or find out what has become of the "
                    "bars. Further bars are counted",
                    TradingWarning,
                    stacklevel=2,
                )
            self.n_out_of_range += 1
        return self.signal.read(self.ago)

    @property
    def resting(self) -> str:
        """Why nothing may be ordered on the newest bar, "" where it may."""
        if not self.live:
            return NOT_LIVE
        early = self.trade_from is not None and self.signal.timestamp(self.ago) < self.trade_from
        return TOO_EARLY if early else ""

    def _describe_start(self) -> None:
        """Say at the first live bar whether there is a history for a forecast, and whose it is."""
        indicator = self.signal.indicator
        if indicator is None:
            return
        seen, needed = len(indicator.inputs()[0]), indicator.schedule.bars_needed
        reading = self.signal.read(self.ago)
        LOG.info(
            "data %r: live from %s, %d of %d bars of history, model %s, %d bar intervals old",
            self.name,
            day(self.signal.timestamp(self.ago)),
            seen,
            needed,
            reading.model[:12] or "none in force",
            reading.age,
        )
        if seen < needed:
            self._warn(
                f"{seen} of {needed} bars are there at the first live one, so the first forecast "
                f"comes in {needed - seen} bars. Let the feed fill in a longer history"
            )

    def decision_of(self, reading: Reading, wanted: int, reason: str) -> Decision:
        # The position held is as it will be when the working order is filled.
        number, timestamp = len(self.data) + self.ago, self.signal.timestamp(self.ago)
        return Decision(number, timestamp, reading, self.orders.held, wanted, reason)

    def carry_out(self, decision: Decision) -> None:
        # Ours and those that are exact keep every bit, whichever way the bars come.
        if self._rounds and is_near_threshold(decision.reading):
            self.refused[NEAR_THRESHOLD] += 1
        if not math.isnan(decision.reading.probability):
            if not self.n_forecasts and (reading := decision.reading).model:
                LOG.info(
                    "data %r: first forecast at %s, of model %s, %d bar intervals old",
                    self.name,
                    day(decision.timestamp),
                    reading.model[:12],
                    reading.age,
                )
            self.n_forecasts += 1
        self.filled, self._filling = self._filling, []
        self.decision = done = carried_out(decision, self.orders)
        # The bars of the history are decided on by nobody.
        level = logging.DEBUG if done.reason in RESTING else logging.INFO
        if not LOG.isEnabledFor(level):
            return
        probability = done.reading.probability
        barred = done.wanted and done.wanted != done.held and done.wanted == self.orders.barred
        idle = "not opened again until the signal leaves it" if barred else "nothing to do"
        LOG.log(
            level,
            "data %r: %s: %s, held %+d, wanted %+d%s: %s",
            self.name,
            day(done.timestamp),
            "no forecast" if math.isnan(probability) else f"probability of up {probability:.4f}",
            done.held,
            done.wanted,
            f" ({done.reason})" if done.reason else "",
            done.action or idle,
        )

    def note_fill(self, order: FilledOrder) -> None:
        """Take what was filled of an order of this data since the last notification of it."""
        size, money = self._executed.pop(order.ref, (0.0, 0.0))
        done = order.executed.size, order.executed.size * order.executed.price
        if direction(done[0] - size):
            self._filling.append((done[0] - size, (done[1] - money) / (done[0] - size)))
        if order.alive():
            self._executed[order.ref] = done

    def note_end(self, order: FilledOrder) -> None:
        """Take the end of an order, which is of this data.

        A fill on a bar that repeats the one before is warned of: nobody traded at its prices.
        Backtrader's broker cannot know that; a live one fills at real prices.
        """
        if LOG.isEnabledFor(logging.INFO):
            LOG.info(
                "data %r: order %d: %s, %+.8g at %.8g, commission %.8g",
                self.name,
                order.ref,
                order.getstatusname(),
                order.executed.size,
                order.executed.price,
                order.executed.comm,
            )
        close = self.data.lines.close
        # With exactbars=1 the host may keep but one bar. Most bars close elsewhere than the one
        # before: of those the rest need not be read.
        kept = min(len(self.data), len(close.array))
        if kept < 2 or close[0] != close[-1] or is_live(self.source):
            return
        bar = bar_of(self.data)
        # A settlement is no trade at the bar's prices.
        filled = order.executed.size and "settled" not in getattr(order, "info", ())
        if filled and bar[1] > bar[2] and bar == bar_of(self.data, -1):
            if not self.refused[REPEATED_FILL]:
                self._warn(
                    f"an order was filled on the bar of {day(self.signal.timestamp(0))}, which "
                    "repeats the one before: nobody traded at its prices. Leave such bars out, "
                    'with read_bars(..., repeats="drop"). Further ones are counted'
                )
            self.refused[REPEATED_FILL] += 1

    def counts(self) -> Counter[str]:
        """Return by reason how many bars and orders did not go their usual way."""
        counts = (
            Counter({UNLIKE_TRAINING: self.n_out_of_range})
            + self.refused
            + self.orders.counts
            + self.signal.faults
            + self.guard.counts
        )
        for usual in ("sent", "completed"):
            del counts[usual]
        return counts

    def warn_if_untraded(self) -> None:
        """Warn where no bar could be traded, and say why.

        Raises ValueError where the model has seen all of them: such a run proves nothing.
        """
        indicator = self.signal.indicator
        if indicator is not None and self.n_decided and not self.n_forecasts:
            schedule = indicator.schedule
            gaps = ""
            if schedule.max_gap is not None:
                gaps = (
                    f", or `max_gap`={schedule.max_gap} finds a gap in every window: of daily bars "
                    "a weekend is two missing ones and a long one three"
                )
            self._warn(
                f"none of its {self.n_decided} bars had a forecast, so none was traded: fewer than "
                f"{schedule.bars_needed} were sound{gaps}"
            )
        if self.refused[NOT_LIVE] and not self.n_decided:
            self._warn(
                f"the feed never reported LIVE, so none of its {self.refused[NOT_LIVE]} bars "
                "was traded. See that it connects and that its backfill ends; a feed that sends "
                "no such report must say False in islive()"
            )
        if self.refused[TOO_EARLY] and not self.n_decided:
            self._warn(
                f"all {self.refused[TOO_EARLY]} bars lie before `trade_from`, so none was traded. "
                "Give later bars, or an earlier date"
            )
        if indicator is not None and self.refused[NO_MODEL] and self.n_decided <= 1:
            self._warn(
                f"no model of {indicator.schedule.path} was in force before the last bar, so none "
                f"of its {self.refused[NO_MODEL]} bars was traded. Give later bars: a model may "
                "decide from the bar of its `trained_until` on"
            )
        if self.refused[IN_SAMPLE] and not self.n_decided:
            raise ValueError(
                f"data {self.name!r}: all {self.refused[IN_SAMPLE]} bars lie before the "
                "checkpoint's `trained_until`, so the model has seen them and none was traded. "
                'Give later bars, or in_sample="trade" to trade them all the same.'
            )

    def _warn(self, what: str) -> None:
        warnings.warn(f"data {self.name!r}: {what}", TradingWarning, stacklevel=3)


def carried_out(decision: Decision, orders: OrderManager) -> Decision:
    """Order what a decision wants, and return it with what came of it.

    Trading and its replay both do it here, so that they cannot come apart.
    """
    position = orders.broker.size
    if decision.reason in (*RESTING, AT_FAULT, LATE):
        action = orders.rest()
    elif decision.units is not None:
        action = orders.move_to(decision.units)
    else:
        action = orders.move(decision.wanted, decision.has_forecast)
    ends = tuple(orders.ends)
    orders.ends.clear()
    return decision._replace(position=position, aim=orders.aim, action=action, ends=ends)


class ModelInForce:
    """A checkpoint with the thresholds by which it is traded.

    The strategy's come before the checkpoint's own. name: of its file, for the ValueError where
    they do not fit each other.
    """

    def __init__(
        self, checkpoint: Checkpoint, enter: float | None, exit: float | None, name: str
    ) -> None:
        self.checkpoint = checkpoint
        self._thresholds = thresholds(
            enter, exit, own=(checkpoint.enter, checkpoint.exit), source=name
        )
        self._trained_until = checkpoint.trained_until.as_unit("ns").value
        self._interval = checkpoint.bar_interval.as_unit("ns").value

    def reading(
        self, timestamp: int, probability: float, disagreement: float, behind: int = 0
    ) -> Reading:
        # behind: by how many nanoseconds the bar may be older than its timestamp says.
        # The age goes by time, not by bars counted: a run that starts later must find the same.
        age = max(0, (timestamp - self._trained_until) // self._interval)
        in_sample = timestamp - behind < self._trained_until
        digest = self.checkpoint.digest
        return Reading(probability, self._thresholds, digest, age, in_sample, disagreement)


class ModelSignal:
    """The lines of a DirectionProbability, and the checkpoint in force.

    finished_after: seconds from a bar's timestamp to its end, None where no clock can tell.
    daily: whether timestamps are dates. zone: that of the feed's times where they are not those of
    training. faults: bars that the model was not shown, by fault.
    """

    def __init__(
        self, indicator: DirectionProbability, enter: float | None, exit: float | None
    ) -> None:
        self.indicator, self.faults = indicator, indicator.faults
        self.timestamp = indicator.timestamp
        self._schedule = indicator.schedule
        self._enter, self._exit = enter, exit
        self._model: ModelInForce | None = None
        # Of every checkpoint at once, not at the bar where it comes into force.
        self._schedule.require(self._model_of)
        first = self._schedule.checkpoints[0]
        seconds = first.bar_interval.total_seconds()
        self.daily, self.zone = self._schedule.whole_days, indicator.zone
        self.finished_after: float | None = None
        # A clock can tell within the day, and with timestamps in UTC.
        if first.timezone is not None and seconds < 86_400:
            by_open = (indicator.p.stamp or first.stamp) == "open"
            self.finished_after = seconds if by_open else 0.0

    def probability(self, ago: int) -> float:
        return float(self.indicator.lines.probability[ago])

    def read(self, ago: int) -> Reading:
        timestamp = self.timestamp(ago)
        checkpoint = self._schedule.at(timestamp)
        if checkpoint is None:
            return NO_READING
        if self._model is None or checkpoint is not self._model.checkpoint:
            self._model = self._model_of(checkpoint, self._schedule.name(checkpoint))
        disagreement = self.indicator.lines.disagreement[ago]
        behind = self.indicator.behind(ago)
        return self._model.reading(timestamp, self.probability(ago), disagreement, behind)

    def _model_of(self, checkpoint: Checkpoint, name: str) -> ModelInForce:
        return ModelInForce(checkpoint, self._enter, self._exit, name)


class LineSignal:
    """Probabilities that a data feed brings along, from whatever model."""

    indicator = None
    finished_after = None
    daily = False
    zone = ""

    def __init__(self, data: Feed, enter: float | None, exit: float | None) -> None:
        if not hasattr(data, "probability"):
            raise ValueError(
                f"`checkpoint` is empty, so data {data._name!r} must have a line named "
                f"probability, got {', '.join(data.getlinealiases())}. Give a checkpoint, or a "
                "feed class with such a line."
            )
        if enter is None or exit is None:
            raise ValueError(
                f"`enter` and `exit` must be given where `checkpoint` is empty, got enter={enter} "
                f"and exit={exit}. A feed of probabilities has no thresholds of its own."
            )
        self.faults: Counter[str] = Counter()
        self._data, self._line = data, data.probability
        self._thresholds = thresholds(enter, exit)

    def timestamp(self, ago: int) -> int:
        return nanoseconds(self._data.lines.datetime[ago])

    def probability(self, ago: int) -> float:
        """Return the probability at a bar; ValueError where it is none."""
        probability = float(self._line[ago])
        if probability < 0 or probability > 1:
            raise ValueError(
                f"data {self._data._name!r}: a probability must lie between 0 and 1 or be nan, got "
                f"{probability} at {day(self.timestamp(ago))}. Give shares of one."
            )
        return probability

    def read(self, ago: int) -> Reading:
        return Reading(self.probability(ago), self._thresholds)


def datas_to_trade(datas: Sequence[Feed], names: str, context: str = "") -> list[Feed]:
    """Return the datas named, separated by commas, or all with the first one's timeframe.

    context: the names of datas that are other series, traded only where they are named.

    Raises ValueError for a name that is none of them, or stands twice.
    """
    if not names:
        first, others = datas[0], {name.strip() for name in context.split(",") if name.strip()}
        return [
            data
            for data in datas
            if (data._timeframe, data._compression) == (first._timeframe, first._compression)
            and data._name not in others
        ]
    wanted = [name.strip() for name in names.split(",")]
    known = {data._name: data for data in datas}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(
            f"`names` must be among the datas {', '.join(known)}, got {', '.join(missing)}. "
            "Name a feed with adddata(feed, name=...)."
        )
    if len(set(wanted)) < len(wanted):
        raise ValueError(
            f"`names` must name each data once, got {names!r}: one position cannot be traded twice."
        )
    return [known[name] for name in wanted]


def names_of(datas: Sequence[Feed]) -> list[str]:
    """Return the datas' names, with a number for those that have none or that of another."""
    names = [data._name for data in datas]
    return [
        name if name and names.count(name) == 1 else f"{name or 'data'}{number}"
        for number, name in enumerate(names)
    ]
