"""The rolling window that a model sees, fed bar by bar; knows features, has never heard of Backtrader."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.features.table import FEATURE_NAMES, LOOKBACK, FeatureEngineer

SPARE = 8  # a tail moves to the front once in SPARE - 1 times its length


class Tail:
    """The last rows appended, always contiguous: when the store is full, they move to its front."""

    def __init__(self, length: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.length = length
        self._store = np.empty((SPARE * length, *shape), dtype)
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, self.length)

    def append(self, row: Any) -> None:
        if self._end == len(self._store):
            kept = self.length - 1
            self._store[:kept] = self._store[-kept:]
            self._end = kept
        self._store[self._end] = row
        self._end += 1

    def drop(self) -> None:
        """Forget the newest row."""
        self._end -= 1

    def last(self, count: int) -> NDArray[Any]:
        """Return the last `count` rows, oldest first: a view that the next append may change."""
        return self._store[max(0, self._end - count) : self._end]


class FeatureBuffer:
    """The last bars and their feature rows, keyed by bar number.

    A host may show one bar many times: a replayed bar grows, a slower feed repeats its last bar whenever another moves.
    So a number seen before overwrites and a larger one appends; what was shown how often leaves no trace.
    """

    def __init__(self, sequence_length: int = 50) -> None:
        self.sequence_length = sequence_length
        self.bars_needed = LOOKBACK + sequence_length - 1
        self.number = 0
        self._bar: tuple[float, ...] = ()
        self._values = Tail(
            self.bars_needed + 1, (5,), np.float64
        )  # one more: while a bar grows, the one before is wanted
        self._stamps = Tail(self.bars_needed + 1, (), np.int64)
        self._rows = Tail(sequence_length, (len(FEATURE_NAMES),), np.float64)
        self._missing = 0  # newest bars whose feature rows are not computed yet
        self._engineer = FeatureEngineer()

    @property
    def ready(self) -> bool:
        """True once there are bars for a whole window."""
        return len(self._values) >= self.bars_needed

    @property
    def window(self) -> NDArray[np.float64]:
        """The feature rows of the last bars, oldest first: (50, 86), fewer until `ready`; a view, valid until the next bar."""
        missing = min(self._missing, self.sequence_length, len(self._values) - LOOKBACK + 1)
        if missing > 0:
            reach = LOOKBACK - 1 + missing
            for row in self._engineer.rows(
                self._values.last(reach), self._stamps.last(reach).view("datetime64[ns]")
            ):
                self._rows.append(row)
            self._missing = 0
        return self._rows.last(self.sequence_length)

    def inputs(self, ago: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the raw bars that the window depends on, values (150, 5) and stamps (150,); with ago=-1 one bar earlier."""
        values, stamps = (
            self._values.last(self.bars_needed - ago),
            self._stamps.last(self.bars_needed - ago),
        )
        return values[: len(values) + ago], stamps[: len(stamps) + ago]

    def update(
        self,
        number: int,
        stamp: int,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float,
    ) -> bool:
        """Take bar `number`, stamped in nanoseconds since 1970; True if this changed the window.

        Raises ValueError for a number lower than the last one: time does not run backwards.
        """
        bar = (stamp, open, high, low, close, volume)
        if number < self.number:
            raise ValueError(
                f"`number` must not fall: got bar {number} after bar {self.number}. Give each feed its own buffer."
            )
        if number == self.number:
            if bar == self._bar:
                return False
            self._forget_last()
        self.number, self._bar = number, bar
        self._values.append(bar[1:])
        self._stamps.append(stamp)
        self._missing += 1
        return True

    def _forget_last(self) -> None:
        self._values.drop()
        self._stamps.drop()
        if self._missing:
            self._missing -= 1
        else:
            self._rows.drop()
