"""One data's way through the strategy: its signal, its orders, its last decision, what was refused on it."""

import math
import warnings
from collections import Counter
from typing import Any, NamedTuple

from model.checkpoint.scaler import MOST_OUT_OF_RANGE
from strategy_plugin.decision import NOT_LIVE, NOTHING, LineSignal, ModelSignal, Reading
from strategy_plugin.feeds import source_of
from strategy_plugin.guard import BarGuard, TradingWarning
from strategy_plugin.orders import Desk, End

STRANGE = "inputs unlike those of training"


class Decision(NamedTuple):
    """What was decided on a bar. wanted: the direction, held: the one before. reason: why nothing may be decided or no
    position opened, "" where all is free. position: units held; aim: units an order was sent for, None without one;
    action: what the desk did; ends: what became of orders since the decision before."""

    number: int = 0
    stamp: int = 0
    reading: Reading = NOTHING
    held: int = 0
    wanted: int = 0
    reason: str = ""
    position: float = 0.0
    aim: float | None = None
    action: str = ""
    ends: tuple[End, ...] = ()


class Lane:
    """One data with its signal, its desk and its guard; a feed that does not move is not acted on.

    live: whether decisions may become orders; a live feed says when. refused: bars by the reason why they were not traded freely.
    decided: bars of which the probability counted; heard: those that had one. strange: bars whose window is unlike those of
    training, traded all the same.
    """

    def __init__(
        self, data: Any, name: str, signal: ModelSignal | LineSignal, desk: Desk, guard: BarGuard
    ) -> None:
        self.data, self.name, self.signal, self.desk, self.guard = data, name, signal, desk, guard
        self.source = source_of(data)
        self.live = not self.source.islive()
        self.refused: Counter[str] = Counter()
        self.decided = self.heard = self.strange = 0
        self.decision = Decision()
        # A replayed feed grows its newest bar: the last complete one is the one before.
        self.ago = -1 if data.replaying else 0
        self._seen = 0

    @property
    def indicator(self) -> Any:
        """The DirectionProbability of this data, None where the feed brings the probabilities along."""
        return getattr(self.signal, "indicator", None)

    def moved(self) -> bool:
        """True once for each new bar: hosts call again when another feed moves, and after this one has ended."""
        number = len(self.data)
        grown, self._seen = number > self._seen, number
        return grown and number > -self.ago

    def act(self, decision: Decision) -> None:
        """Hand a decision to the desk and remember what came of it."""
        position, sent = self.desk.venue.size, self.desk.counts["sent"]
        heard = not decision.reason and not math.isnan(decision.reading.probability)
        self.heard += not math.isnan(decision.reading.probability)
        action = (
            self.desk.rest()
            if decision.reason == NOT_LIVE
            else self.desk.move(decision.wanted, heard)
        )
        aim = self.desk.aim if self.desk.counts["sent"] > sent else None
        self.decision = decision._replace(
            position=position, aim=aim, action=action, ends=tuple(self.desk.ends)
        )
        self.desk.ends.clear()

    def read(self) -> Reading:
        """Take the newest complete bar; to be called once for each."""
        self.desk.venue.observe(self.ago)
        self._watch_inputs()
        return self.signal.read(self.ago)

    def _watch_inputs(self) -> None:
        """Count the bars whose window is not like those of training, and say it once."""
        if (
            self.indicator is None or not self.indicator.out_of_range[self.ago] > MOST_OUT_OF_RANGE
        ):  # NaN: no window
            return
        if not self.strange:
            warnings.warn(
                f"data {self.name!r}: {self.indicator.out_of_range[self.ago]:.0%} of what the model sees lies outside of "
                f"its usual range in training, more than {MOST_OUT_OF_RANGE:.0%}. Train again, or find out what has become of the "
                "bars. Further bars are counted",
                TradingWarning,
                stacklevel=2,
            )
        self.strange += 1

    def counts(self) -> Counter[str]:
        """Return what was refused, not filled, kept out or strange, by why."""
        return (
            Counter({STRANGE: self.strange})
            + self.refused
            + self.desk.counts
            + self.signal.faults
            + self.guard.counts
        )
