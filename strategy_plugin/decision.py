"""When it trades: from a probability to the position wanted. Pure functions, no Backtrader."""

import math
from collections import Counter
from typing import Any, NamedTuple

from model.bars.faults import day
from strategy_plugin.feeds import nanoseconds

NEUTRAL = 0.5  # the threshold where neither the user nor training chose one


class Thresholds(NamedTuple):
    """Probabilities of "up" from which a long position is opened and kept; shorts mirror them at one half."""

    enter: float
    exit: float


def thresholds(
    enter: float | None,
    exit: float | None,
    *,
    own: tuple[float | None, float | None] = (None, None),
    source: str = "",
) -> Thresholds:
    """Return the thresholds in force: the given ones, else the model's `own`, else one half.

    Raises ValueError, naming `source` where the model's own take part, unless .5 <= exit <= enter < 1.
    """
    chosen = Thresholds(_first(enter, own[0]), _first(exit, own[1]))
    if not 0.5 <= chosen.exit <= chosen.enter < 1:
        where = f" (with those of {source})" if source and None in (enter, exit) else ""
        raise ValueError(
            "`enter` and `exit` must satisfy 0.5 <= exit <= enter < 1, got "
            f"enter={chosen.enter} and exit={chosen.exit}{where}. Give both, or neither to use the checkpoint's own."
        )
    return chosen


def target(
    probability: float, held: int, *, enter: float, exit: float, allow_short: bool = False
) -> int:
    """Return the position wanted, -1, 0 or 1, for the probability of "up" and the position held.

    Levels, not edges: a signal that could not be traded on one bar is still there on the next. NaN keeps what is held.
    """
    if math.isnan(probability):
        return held
    if probability >= enter or (held == 1 and probability >= exit):
        return 1
    if allow_short and (probability <= 1 - enter or (held == -1 and probability <= 1 - exit)):
        return -1
    return 0


def _first(*candidates: float | None) -> float:
    return next((candidate for candidate in candidates if candidate is not None), NEUTRAL)


NOT_LIVE, IN_SAMPLE, NO_MODEL = "not live", "in sample", "no model in force"
TOO_OLD, DISAGREED = "model too old", "members disagree"
DECIDED = ("", TOO_OLD, DISAGREED)  # of these bars the probability counted


class Reading(NamedTuple):
    """What is known at a bar. model: the digest of the checkpoint in force, "" for none. age: bar intervals since
    the model last saw prices, closed hours included. in_sample: whether it has seen this one. disagreement: that of its
    members, NaN where there are none."""

    probability: float
    thresholds: Thresholds
    model: str = ""
    age: int = 0
    in_sample: bool = False
    disagreement: float = float("nan")


class ModelSignal:
    """Reads a DirectionProbability indicator and the checkpoint in force there."""

    def __init__(self, indicator: Any, enter: float | None, exit: float | None) -> None:
        self.indicator = indicator
        self._schedule = indicator.schedule
        self._given = (enter, exit)
        self._checkpoint: Any = None
        self._schedule.require(
            self._thresholds
        )  # of every checkpoint at once, not at the bar where it comes into force

    @property
    def finished_after(self) -> float | None:
        """Seconds from a bar's stamp to its end, where the clock can tell: within the day, and with stamps in UTC."""
        checkpoint = self._schedule.checkpoints[0]
        seconds: float = checkpoint.bar_interval.total_seconds()
        if checkpoint.timezone is None or seconds >= 86_400:
            return None
        return seconds if (self.indicator.p.stamp or checkpoint.stamp) == "open" else 0.0

    @property
    def daily(self) -> bool:
        """Whether stamps are dates."""
        whole_days: bool = self._schedule.whole_days
        return whole_days

    @property
    def faults(self) -> Counter[str]:
        """The bars that the model was not shown, by fault."""
        faults: Counter[str] = self.indicator.faults
        return faults

    def stamp(self, ago: int) -> int:
        """Return the stamp that the model goes by, in nanoseconds."""
        stamp: int = self.indicator.timestamp(ago)
        return stamp

    def read(self, ago: int) -> Reading:
        """Return the reading of a bar that is complete; to be called once for each."""
        stamp = self.stamp(ago)
        checkpoint = self._schedule.at(stamp)
        if checkpoint is None:
            return NOTHING
        if checkpoint is not self._checkpoint:
            self._take(checkpoint)
        # By the clock, not by bars counted: a run that starts later must find the same.
        age = max(0, (stamp - self._until) // checkpoint.bar_interval.as_unit("ns").value)
        return Reading(
            self.indicator.probability[ago],
            self._current,
            checkpoint.digest,
            age,
            stamp < self._until,
            self.indicator.disagreement[ago],
        )

    def _take(self, checkpoint: Any) -> None:
        self._checkpoint, self._current = (
            checkpoint,
            self._thresholds(checkpoint, self._schedule.name(checkpoint)),
        )
        self._until = checkpoint.trained_until.as_unit("ns").value

    def _thresholds(self, checkpoint: Any, name: str) -> Thresholds:
        return thresholds(*self._given, own=(checkpoint.enter, checkpoint.exit), source=name)


class LineSignal:
    """Reads probabilities that a feed brings along, from whatever model."""

    finished_after = None
    daily = False

    def __init__(self, data: Any, enter: float | None, exit: float | None) -> None:
        if not hasattr(data, "probability"):
            raise ValueError(
                f"`checkpoint` is empty, so data {data._name!r} must have a line named probability, got "
                f"{', '.join(data.getlinealiases())}. Give a checkpoint, or a feed class with such a line."
            )
        if enter is None or exit is None:
            raise ValueError(
                f"`enter` and `exit` must be given where `checkpoint` is empty, got enter={enter} and exit={exit}. "
                "A feed of probabilities has no thresholds of its own."
            )
        self.faults: Counter[str] = Counter()
        self._data, self._line = data, data.probability
        self._thresholds = thresholds(enter, exit)

    def stamp(self, ago: int) -> int:
        """Return the bar's stamp in nanoseconds."""
        return nanoseconds(self._data.datetime[ago])

    def read(self, ago: int) -> Reading:
        """Return the reading of a bar that is complete."""
        probability = self._line[ago]
        if probability < 0 or probability > 1:
            raise ValueError(
                f"data {self._data._name!r}: a probability must lie between 0 and 1 or be nan, got {probability} at "
                f"{day(self.stamp(ago))}. Give shares of one."
            )
        return Reading(probability, self._thresholds)


NOTHING = Reading(float("nan"), Thresholds(NEUTRAL, NEUTRAL))


def decide(reading: Reading, held: int, params: Any, live: bool = True) -> tuple[int, str]:
    """Return the direction wanted by the rules of a strategy's params, and why it is not the signal's, "" where it is.

    What is held stays where nothing may be decided; a model that is too old, or at odds with itself, opens nothing.
    """
    if not live:
        return held, NOT_LIVE
    if reading.in_sample and params.in_sample == "refuse":
        return held, IN_SAMPLE
    if reading is NOTHING:
        return held, NO_MODEL
    wanted = target(
        reading.probability, held, **reading.thresholds._asdict(), allow_short=params.allow_short
    )
    if (
        params.max_model_age is not None
        and reading.age > params.max_model_age
        and wanted not in (0, held)
    ):
        return 0, TOO_OLD
    if (
        params.max_disagreement is not None
        and reading.disagreement > params.max_disagreement
        and wanted not in (0, held)
    ):
        return 0, DISAGREED
    return wanted, ""
