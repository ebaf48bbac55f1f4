"""Windows of feature rows with their labels, as torch takes them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from model.features.table import cut_windows
from model.training.preprocessor import Integers


class Windows:
    """Windows of a table of feature rows, in an order of their own: none is copied before its turn.

    rows: (n, 86). starts: the first row of each window, (m,); default: a window from each row on.
    """

    def __init__(
        self, rows: NDArray[np.float32], sequence_length: int, starts: Integers | None = None
    ) -> None:
        self.rows, self.sequence_length = rows, sequence_length
        # Of every row a window, (n - sequence_length + 1, sequence_length, 86): a view.
        self.every = torch.from_numpy(cut_windows(rows, sequence_length))
        self.starts = np.arange(len(self.every)) if starts is None else starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, batch: slice | Integers, /) -> Tensor:
        """Return some of the windows, (k, sequence_length, 86), by their places in the order."""
        # A run of windows is a view of the rows; any other choice must be copied.
        starts = self.starts[batch]
        run = as_run(starts)
        return self.every[torch.from_numpy(starts) if run is None else run]

    @property
    def last_rows(self) -> NDArray[np.float32]:
        """The newest row of each window: (m, 86)."""
        ends = self.starts + self.sequence_length - 1
        run = as_run(ends)
        return self.rows[ends if run is None else run]


def as_run(places: Integers) -> slice | None:
    """Return places that follow each other as a slice, which takes views where others copy."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return None


class TimeSeriesDataset(Dataset[tuple[Tensor, Tensor]]):
    """Windows of scaled rows with their labels, in time order, for torch's DataLoader.

    Parameters
    ----------
    rows
        Scaled feature rows: (n, 86).
    labels
        Label j belongs to window j: (m,).
    sequence_length
        Rows per window.
    starts
        The first row of each window: (m,); default: a window from each row on. The rows of several
        instruments stand one instrument after the other, and their windows in any order.

    Attributes
    ----------
    windows : Tensor
        (n - sequence_length + 1, sequence_length, 86), those from each row on, a view of the rows.
    labels : Tensor
        The labels as float32.

    Raises
    ------
    ValueError
        Where the labels are not as many as the windows.

    Examples
    --------
    >>> dataset = TimeSeriesDataset(np.zeros((60, 86), dtype=np.float32), np.ones(11))
    >>> dataset.windows.shape
    torch.Size([11, 50, 86])
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[np.float64],
        sequence_length: int = 50,
        starts: Integers | None = None,
    ) -> None:
        self._windows = Windows(rows, sequence_length, starts)
        if len(labels) != len(self._windows):
            raise ValueError(
                f"{len(rows)} rows hold {len(self._windows)} windows of {sequence_length}, "
                f"got {len(labels)} labels."
            )
        self.windows = self._windows.every
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.windows[self._windows.starts[position]], self.labels[position]

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Fetch a whole batch, as one slice where the windows follow each other.

        DataLoader calls this in place of __getitem__ where it exists.
        """
        chosen = np.asarray(positions)
        labels = self.labels[torch.from_numpy(chosen)]
        return list(zip(self._windows[chosen], labels, strict=True))


class DateBatches(Sampler[list[int]]):
    """Batches of whole dates: the next ones, until a batch holds `batch_size` windows or more.

    dates: when each window decides, not decreasing, (n,).
    """

    def __init__(self, dates: pd.DatetimeIndex, batch_size: int) -> None:
        values = dates.to_numpy()
        # A date ends where the next window decides later.
        ends = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
        self._borders = [0]
        for end in ends:
            # A date is never cut in two: its names are compared with each other, and share its
            # news.
            if end - self._borders[-1] >= batch_size or end == len(values):
                self._borders.append(end)

    def __len__(self) -> int:
        return len(self._borders) - 1

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(start, stop)) for start, stop in pairwise(self._borders))
