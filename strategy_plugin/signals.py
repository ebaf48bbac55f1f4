"""What the strategy reads at a bar: a probability with the thresholds it goes by, and what is known of its model."""
from collections import Counter
from typing import Any, NamedTuple

from strategy_plugin.clock import nanoseconds
from strategy_plugin.decision import Thresholds, thresholds


class Reading(NamedTuple):
    """model: the digest of the checkpoint in force, "" for none. age: bars since the model last saw prices. disagreement: of its
    members, NaN where nobody says."""

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
        self._schedule.require(self._thresholds)  # of every checkpoint at once, not at the bar where it comes into force

    @property
    def finished_after(self) -> float | None:
        """Seconds from a bar's stamp to its end, where the clock can tell: within the day, and with stamps in UTC."""
        checkpoint = self._schedule.checkpoints[0]
        seconds: float = checkpoint.bar_interval.total_seconds()
        if checkpoint.timezone is None or seconds >= 86_400:
            return None
        return seconds if (self.indicator.p.stamp or checkpoint.stamp) == "open" else 0.0

    @property
    def faults(self) -> Counter[str]:
        """The bars that the model was not shown, by fault."""
        faults: Counter[str] = self.indicator.faults
        return faults

    def stamp(self, ago: int) -> int:
        """Return the stamp that the model goes by, in nanoseconds."""
        stamp: int = self.indicator.stamp(ago)
        return stamp

    def read(self, ago: int) -> Reading:
        """Return the reading of a bar that is complete; to be called once for each."""
        stamp = self.stamp(ago)
        checkpoint = self._schedule.at(stamp)
        if checkpoint is None:
            return NOTHING
        if checkpoint is not self._checkpoint:
            self._take(checkpoint, stamp)
        elif stamp > self._until:
            self._age += 1
        return Reading(self.indicator.probability[ago], self._current, checkpoint.digest, self._age, stamp < self._until,
                       self.indicator.disagreement[ago])

    def _take(self, checkpoint: Any, stamp: int) -> None:
        self._checkpoint, self._current = checkpoint, self._thresholds(checkpoint, self._schedule.name(checkpoint))
        self._until = checkpoint.trained_until.as_unit("ns").value
        # Bars before the first one shown here were not counted; their number follows from the time that passed.
        self._age = max(0, (stamp - self._until) // checkpoint.bar_interval.as_unit("ns").value)

    def _thresholds(self, checkpoint: Any, name: str) -> Thresholds:
        return thresholds(*self._given, own=(checkpoint.enter, checkpoint.exit), source=name)


class LineSignal:
    """Reads probabilities that a feed brings along, from whatever model."""

    finished_after = None

    def __init__(self, data: Any, enter: float | None, exit: float | None) -> None:
        if not hasattr(data, "probability"):
            raise ValueError(f"`checkpoint` is empty, so data {data._name!r} must have a line named probability, got "
                             f"{', '.join(data.getlinealiases())}. Give a checkpoint, or a feed class with such a line.")
        if enter is None or exit is None:
            raise ValueError(f"`enter` and `exit` must be given where `checkpoint` is empty, got enter={enter} and exit={exit}. "
                             "A feed of probabilities has no thresholds of its own.")
        self.faults: Counter[str] = Counter()
        self._data, self._line = data, data.probability
        self._thresholds = thresholds(enter, exit)

    def stamp(self, ago: int) -> int:
        """Return the bar's stamp in nanoseconds."""
        return nanoseconds(self._data.datetime[ago])

    def read(self, ago: int) -> Reading:
        """Return the reading of a bar that is complete."""
        return Reading(self._line[ago], self._thresholds)


NOTHING = Reading(float("nan"), Thresholds(0.5, 0.5))
