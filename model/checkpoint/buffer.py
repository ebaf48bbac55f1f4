"""The rolling window that a model sees, fed bar by bar; it has never heard of Backtrader."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.features.table import FeatureEngineer

SPARE = 8  # a tail moves to the front once in SPARE - 1 times its length

Scalar = TypeVar("Scalar", bound=np.generic)


class FeatureBuffer:
    """The last bars and their feature rows, keyed by bar number.

    A host may show one bar many times: a replayed bar grows, a slower feed repeats its last bar
    whenever another moves. So a number seen before overwrites and a larger one appends; what was
    shown how often leaves no trace.

    Parameters
    ----------
    sequence_length
        Rows of a window: `Schedule.sequence_length`.
    engineer
        What makes rows of bars: `Schedule.engineer`; default: our 86 features.

    Examples
    --------
    >>> buffer = FeatureBuffer(sequence_length=50)
    >>> timestamps = bars.index.as_unit("ns").asi8.tolist()
    >>> for number, (timestamp, bar) in enumerate(zip(timestamps, bars.to_numpy()), start=1):
    ...     changed = buffer.update(number, timestamp, *bar)
    >>> buffer.ready, buffer.window.shape
    (True, (50, 86))
    """

    def __init__(self, sequence_length: int = 50, engineer: FeatureEngineer | None = None) -> None:
        self.sequence_length = sequence_length
        self._engineer = engineer or FeatureEngineer()
        self.bars_needed = self._engineer.lookback + sequence_length - 1
        self.number = 0  # of the newest bar
        self._bar: tuple[float, ...] = ()
        # One bar more than needed: while a bar grows, the window before it is wanted too.
        self._values = Tail(self.bars_needed + 1, (len(self._engineer.columns),), np.float64)
        self._timestamps = Tail(self.bars_needed + 1, (), np.int64)
        self._rows = Tail(sequence_length, (len(self._engineer.names),), np.float64)
        self._missing = 0  # newest bars whose feature rows are not computed yet

    @property
    def ready(self) -> bool:
        """True once there are bars for a whole window."""
        return len(self._values) >= self.bars_needed

    @property
    def window(self) -> NDArray[np.float64]:
        """The feature rows of the last bars, oldest first: (50, 86), fewer until `ready`.

        A view, valid until the next bar.
        """
        # Rows are computed when they are asked for: a bar that grows, or one of the history,
        # costs nothing until then.
        before = self._engineer.lookback - 1
        missing = min(self._missing, self.sequence_length, len(self._values) - before)
        if missing > 0:
            count = before + missing
            timestamps = self._timestamps.last(count).view("datetime64[ns]")
            for row in self._engineer.rows(self._values.last(count), timestamps):
                self._rows.append(row)
            self._missing = 0
        return self._rows.last(self.sequence_length)

    def inputs(self, ago: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the raw bars that the window depends on.

        Parameters
        ----------
        ago
            0 for the newest window, -1 for the one a bar earlier.

        Returns
        -------
        values
            (150, 5): open, high, low, close, volume, and the columns of other series; fewer rows
            until `ready`.
        timestamps
            (150,), in nanoseconds since 1970.
        """
        count = self.bars_needed - ago
        values, timestamps = self._values.last(count), self._timestamps.last(count)
        return values[: len(values) + ago], timestamps[: len(timestamps) + ago]

    def update(
        self,
        number: int,
        timestamp: int,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        *others: float,
    ) -> bool:
        """Take a new bar, or the newest one as it has grown.

        Parameters
        ----------
        number
            That of the newest bar, which is then overwritten, or a larger one.
        timestamp
            In nanoseconds since 1970.
        open, high, low, close, volume
            The bar, finished or as far as it has grown: prices in the units of training.
        others
            The columns of other series, as `ContextBuffer.row` gives them.

        Returns
        -------
        bool
            True if this changed the window, False if the bar was shown before just so.

        Raises
        ------
        ValueError
            For a number lower than the last one: time does not run backwards.
        """
        bar = (timestamp, open, high, low, close, volume, *others)
        if number < self.number:
            raise ValueError(
                f"`number` must not fall: got bar {number} after bar {self.number}. "
                "Give each feed its own buffer."
            )
        if self._bar and number == self.number:
            if bar == self._bar:
                return False
            # The bar has grown: what it was before leaves no trace.
            self._values.drop()
            self._timestamps.drop()
            if self._missing:
                self._missing -= 1
            else:
                self._rows.drop()
        self.number, self._bar = number, bar
        self._values.append(bar[1:])
        self._timestamps.append(timestamp)
        self._missing += 1
        return True


class Tail(Generic[Scalar]):
    """The last rows appended, always contiguous: when the store is full, they move to its front.

    A window is then a view, and a bar costs one row, however long the history.
    """

    def __init__(self, length: int, shape: tuple[int, ...], dtype: type[Scalar]) -> None:
        self.length = length
        self._store = np.empty((SPARE * length, *shape), dtype)
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, self.length)

    def append(self, row: ArrayLike) -> None:
        if self._end == len(self._store):
            kept = self.length - 1
            self._store[:kept] = self._store[-kept:]
            self._end = kept
        self._store[self._end] = row
        self._end += 1

    def drop(self) -> None:
        self._end -= 1

    def last(self, count: int) -> NDArray[Scalar]:
        """Return the last `count` rows, oldest first: a view that the next append may change."""
        # Fewer while there are not so many: a negative start would count from the store's end.
        return self._store[max(0, self._end - count) : self._end]
