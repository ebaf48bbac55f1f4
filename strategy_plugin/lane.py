"""One data's way through the strategy: its signal, its orders, what was refused on it."""
from collections import Counter
from typing import Any

from strategy_plugin.guard import BarGuard
from strategy_plugin.orders import Desk
from strategy_plugin.signals import LineSignal, ModelSignal, Reading


class Lane:
    """live: whether decisions may become orders; a live feed says when. A feed that does not move is not acted on."""

    def __init__(self, data: Any, signal: ModelSignal | LineSignal, desk: Desk, guard: BarGuard) -> None:
        self.data, self.signal, self.desk, self.guard = data, signal, desk, guard
        self.live = not data.islive()
        self.refused: Counter[str] = Counter()
        self.decided = 0
        self._seen = 0
        # A replayed feed grows its newest bar: the last complete one is the one before.
        self._ago = -1 if data.replaying else 0

    @property
    def indicator(self) -> Any:
        """The DirectionProbability of this data, None where the feed brings the probabilities along."""
        return getattr(self.signal, "indicator", None)

    def moved(self) -> bool:
        """True once for each new bar: hosts call again when another feed moves, and after this one has ended."""
        number = len(self.data)
        grown, self._seen = number > self._seen, number
        return grown and number > -self._ago

    def read(self) -> Reading:
        return self.signal.read(self._ago)

    def counts(self) -> Counter[str]:
        """Return what was refused, not filled or kept out, with why."""
        return self.refused + self.desk.counts + self.signal.faults + self.guard.counts
