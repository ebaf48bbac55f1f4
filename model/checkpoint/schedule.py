"""A schedule: the checkpoints of a file or a folder, and which of them decides at a bar."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection
from numbers import Integral
from pathlib import Path
from typing import NamedTuple, get_args
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.intervals import EARLIEST, day
from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.format import checkpoint_errors
from model.checkpoint.matching import TOLERANCE, golden_differences, golden_rows
from model.checkpoint.member import Forecast
from model.errors import CheckpointError, CheckpointWarning
from model.features.series import ContextRecord
from model.features.table import FeatureEngineer
from model.precision import SLOW_BF16, bf16_support
from model.runtime import Precision
from model.settings import one_of, require

SUFFIX = ".ckpt"
CHUNK = 16_384  # bars whose feature rows are held at once: 11 MB, however long the history
NO_FORECAST = (np.nan,) * len(Forecast._fields)
# What all checkpoints of a folder must have in common.
SHARED = (
    "label",
    "horizon",
    "outcome",
    "bar_interval",
    "sequence_length",
    "feature_sets",
    "context",
    "timezone",
    "stamp",
)


class FileVersion(NamedTuple):
    """One content of a file: a file that was written anew has another time or size."""

    path: Path
    changed: int  # nanoseconds since 1970
    size: int


class Scheduled(NamedTuple):
    """A checkpoint, its file, and the first timestamp at which it may decide."""

    file: FileVersion
    checkpoint: Checkpoint
    since: int


# Weak: the weights are freed with the last schedule that serves them.
_loaded: WeakValueDictionary[FileVersion, Checkpoint] = WeakValueDictionary()


class Schedule:
    """The checkpoints of a file or a folder, each in force for its own bars.

    A single file is in force at every bar. Of a folder's files, the one in force at a bar is that
    with the greatest `trained_until` not after the bar's timestamp, so that none has seen what it
    decides on.

    Parameters
    ----------
    path
        A file, or a folder with files that end in .ckpt; hidden ones are passed over.
    max_gap
        Bars missing between two others beyond which no window that contains them is forecast; None
        for no limit.
    precision
        Of the networks' arithmetic.
    among
        Digests; where they are given, all other files are passed over, damaged ones too.

    Raises
    ------
    CheckpointError
        For a folder without a file, a file that cannot be used or forecasts otherwise than in
        training, and two files that cannot follow each other.
    ValueError
        For another setting that cannot be meant.

    Examples
    --------
    >>> schedule = Schedule("nasdaq.ckpt")
    >>> timestamps = bars.index.as_unit("ns").asi8
    >>> probabilities = schedule.probabilities(bars.to_numpy(), timestamps)
    >>> len(bars), int(np.isnan(probabilities).sum())  # the first 149 have no whole window
    (700, 149)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_gap: int | None = None,
        precision: Precision = "fp32",
        among: Collection[str] | None = None,
    ) -> None:
        require({"precision": precision}, {"precision": one_of(*get_args(Precision))})
        if precision == "bf16" and bf16_support() == "none":
            warnings.warn(
                f"{SLOW_BF16}: `precision` fp32 forecasts faster. "
                "The forecasts are valid all the same.",
                CheckpointWarning,
                stacklevel=2,
            )
        if max_gap is not None and (
            not isinstance(max_gap, Integral) or isinstance(max_gap, bool) or max_gap < 0
        ):
            raise ValueError(f"`max_gap` must be a whole number from 0 or None, got {max_gap!r}.")
        self.max_gap, self.precision = None if max_gap is None else int(max_gap), precision
        self.path = Path(path)
        self.folder = self.path.is_dir()
        self._refused: set[FileVersion] = set()
        self._missing_noted = False
        self._demands: list[Callable[[Checkpoint, str], object]] = []
        self._files = self._look() if among is None else self._with_digests(among)
        if not self._files:
            raise CheckpointError(
                f"{path} must hold at least one {SUFFIX} file, got none. "
                f"Train one with python -m model.train --deploy {path}."
            )
        self._scheduled = self._taken_up([])

    @property
    def sequence_length(self) -> int:
        """Feature rows of a window, the same for all checkpoints."""
        return self._scheduled[0].checkpoint.sequence_length

    @property
    def bars_needed(self) -> int:
        """How many bars make the first probability."""
        return self._scheduled[0].checkpoint.bars_needed

    @property
    def engineer(self) -> FeatureEngineer:
        """What turns bars into feature rows, the same for all checkpoints."""
        return self._scheduled[0].checkpoint.engineer

    @property
    def context(self) -> ContextRecord | None:
        """The other series that they need, the same for all checkpoints; None for none."""
        return self._scheduled[0].checkpoint.context

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, in the order in which they come into force."""
        return [one.checkpoint for one in self._scheduled]

    @property
    def whole_days(self) -> bool:
        """True where timestamps are dates.

        The time of day that a host gives to daily bars then means nothing.
        """
        last = self._scheduled[-1].checkpoint
        dated = last.trained_until == last.trained_until.normalize()
        return dated and last.bar_interval >= pd.Timedelta(days=1)

    def forecasts(
        self, values: NDArray[np.float64], timestamps: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the forecast decided at each bar's close by the checkpoint in force there.

        Parameters
        ----------
        values
            (n, 5): open, high, low, close, volume, and behind them the columns of other series
            that the checkpoints need.
        timestamps
            (n,), in nanoseconds since 1970.

        Returns
        -------
        array
            (3, n), the rows of a `Forecast`; NaN where no checkpoint is in force, the window is
            not whole, or more than `max_gap` bars are missing in it. Each column equals what
            `newest` makes of a FeatureBuffer fed bar by bar.
        """
        found = np.full((len(Forecast._fields), len(values)), np.nan)
        # The bars, start to stop, at which each checkpoint is in force.
        starts = np.searchsorted(timestamps, [one.since for one in self._scheduled]).tolist()
        stops = [*starts[1:], len(timestamps)]
        before = self.bars_needed - 1  # bars of a window before its newest
        engineer = self.engineer
        for one, start, stop in zip(self._scheduled, starts, stops, strict=True):
            # The window of a checkpoint's first bars lies in the time of the one before it.
            for low in range(max(start, before), stop, CHUNK):
                high = min(stop, low + CHUNK)
                reach = slice(low - before, high)
                features = engineer.rows(values[reach], timestamps[reach].view("datetime64[ns]"))
                self._note_missing(features)
                found[:, low:high] = one.checkpoint.forecast(features, self.precision)
        for last in np.flatnonzero(self._long_gaps(timestamps)).tolist():
            # The first window without the gap begins after it.
            found[:, last + 1 : last + 1 + before] = np.nan
        return found

    def probabilities(
        self, values: NDArray[np.float64], timestamps: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the probability of "up" decided at each bar's close: the first of `forecasts`.

        Parameters
        ----------
        values
            (n, 5): open, high, low, close, volume.
        timestamps
            (n,), in nanoseconds since 1970.

        Returns
        -------
        array
            (n,), NaN where there is no forecast.
        """
        return self.forecasts(values, timestamps)[0, :]

    def newest(self, checkpoint: Checkpoint | None, buffer: FeatureBuffer) -> tuple[float, ...]:
        """Return a checkpoint's forecast for the window of a buffer.

        Parameters
        ----------
        checkpoint
            One that `at` gives, None where none is in force.
        buffer
            The bars so far.

        Returns
        -------
        tuple of three floats
            Probability, disagreement and out_of_range of a `Forecast`; NaN without a checkpoint,
            without a whole window, and for a window with a gap that is too long.
        """
        if checkpoint is None or not buffer.ready or self._long_gaps(buffer.inputs()[1]).any():
            return NO_FORECAST
        self._note_missing(buffer.window[-1:])
        forecast = checkpoint.forecast(buffer.window, self.precision)
        return tuple(float(values[-1]) for values in forecast)

    def at(self, timestamp: int) -> Checkpoint | None:
        """Return the checkpoint in force at a bar.

        Parameters
        ----------
        timestamp
            The bar's, in nanoseconds since 1970.

        Returns
        -------
        Checkpoint or None
            None before the first of a folder.
        """
        newest = self._scheduled[-1]
        if newest.since <= timestamp:  # as nearly always where there is but one
            return newest.checkpoint
        index = bisect_right(self._scheduled, timestamp, key=lambda one: one.since) - 1
        return self._scheduled[index].checkpoint if index >= 0 else None

    def file(self, checkpoint: Checkpoint) -> Path:
        """Return the file of one of the checkpoints.

        Parameters
        ----------
        checkpoint
            One of `checkpoints` itself, not its equal.

        Returns
        -------
        Path
            As the schedule found it: below `path`, or `path` itself.
        """
        return next(one.file.path for one in self._scheduled if one.checkpoint is checkpoint)

    def name(self, checkpoint: Checkpoint) -> str:
        """Return the file name of one of the checkpoints.

        Parameters
        ----------
        checkpoint
            One of `checkpoints` itself, not its equal.

        Returns
        -------
        str
            Such as "2024-06-28.ckpt".
        """
        return self.file(checkpoint).name

    def require(self, demand: Callable[[Checkpoint, str], object]) -> None:
        """Show each checkpoint to a function, now and whenever one comes.

        Parameters
        ----------
        demand
            Called with the checkpoint and its file's name; raises ValueError to refuse it.
        """
        self._demands.append(demand)
        for one in self._scheduled:
            demand(one.checkpoint, one.file.path.name)

    def refresh(self) -> bool:
        """Look at the files again, and take up those that are new or were written anew.

        A file that cannot be used is refused with a `CheckpointWarning` and changes nothing.

        Returns
        -------
        bool
            True if other checkpoints are now in force.
        """
        files = self._look()
        if files == self._files:
            return False
        if set(self._files) - set(files):
            self._refused.clear()  # what one of them could not stand beside may be gone
        self._files = files
        if not files:
            warnings.warn(
                f"{self.path} holds no {SUFFIX} file any more, the old ones stay in force",
                CheckpointWarning,
                stacklevel=2,
            )
            return False
        before, self._scheduled = self._scheduled, self._taken_up(self._scheduled)
        return [one.file for one in before] != [one.file for one in self._scheduled]

    def _look(self) -> list[FileVersion]:
        """Return the files that are there now; a single one that is missing has a version too."""
        paths = [self.path]
        if self.folder:
            # A hidden file is a save in progress.
            found = self.path.glob(f"*{SUFFIX}")
            paths = sorted(path for path in found if not path.name.startswith("."))
        versions = []
        for path in paths:
            try:
                status = path.stat()
                versions.append(FileVersion(path, status.st_mtime_ns, status.st_size))
            except OSError:
                versions.append(FileVersion(path, 0, 0))
        return versions

    def _with_digests(self, digests: Collection[str]) -> list[FileVersion]:
        found, faults = [], []
        for file in self._look():
            try:
                if load_to_serve(file).digest in digests:
                    found.append(file)
            except CheckpointError as error:
                faults.append(str(error))  # told only where it may be the one that is wanted
        if not found:
            wanted = ", ".join(sorted(digest[:12] for digest in digests))
            message = f"{self.path} must hold a checkpoint with the digest {wanted}, got none."
            raise CheckpointError(" ".join((message, *faults)))
        return found

    def _taken_up(self, known: list[Scheduled]) -> list[Scheduled]:
        """Return the checkpoints of the files seen last, in the order of coming into force.

        At the start, with none `known`, a file that cannot be used is an error. Later it is refused
        with a warning, once: what is known of it stays in force.
        """
        paths = {file.path for file in self._files}
        kept = [one for one in known if one.file.path in paths]
        for file in self._files:
            if file in self._refused or any(one.file == file for one in kept):
                continue
            others = [one for one in kept if one.file.path != file.path]
            try:
                kept = [*others, self._admitted(file, others)]
            except ValueError as error:  # a CheckpointError, or what somebody demands
                if not known:
                    raise
                self._refused.add(file)  # told once, until it is written anew
                warnings.warn(
                    f"a new checkpoint is refused, the old ones stay in force: {error}",
                    CheckpointWarning,
                    stacklevel=3,
                )
        # Where the last good file has gone and the new one is refused, the old ones stay in force.
        return sorted(kept or known, key=lambda one: one.since)

    def _admitted(self, file: FileVersion, others: list[Scheduled]) -> Scheduled:
        """Return the checkpoint of a file that meets all demands and can follow the others.

        Raises CheckpointError naming both files where it cannot, or what a demand raises.
        """
        checkpoint = load_to_serve(file)
        for demand in self._demands:
            demand(checkpoint, file.path.name)
        for other in others:
            files, theirs = f"{other.file.path} and {file.path}", other.checkpoint
            for name in SHARED:
                ours, wanted = getattr(checkpoint, name), getattr(theirs, name)
                if ours != wanted:
                    raise CheckpointError(
                        f"{files} must have the same {name}, got {wanted} and {ours}. "
                        "Give each its own folder."
                    )
            if checkpoint.trained_until == theirs.trained_until:
                raise CheckpointError(
                    f"{files} must not both have trained_until {day(checkpoint.trained_until)}: "
                    "which is in force would be left to chance. Remove one."
                )
        # A single file is the user's own choice; a folder holds what was known at each time.
        since = checkpoint.trained_until.as_unit("ns").value if self.folder else EARLIEST
        return Scheduled(file, checkpoint, since)

    def _note_missing(self, rows: NDArray[np.float64]) -> None:
        """Warn once where a feature of one's own gives no number: there is no forecast then.

        Of other series that is said by whoever joins them.
        """
        others = len(self.context.names) if self.context else 0
        rows = rows[:, : rows.shape[1] - others]
        if self._missing_noted or not np.isnan(rows).any():
            return
        self._missing_noted = True
        names = self._scheduled[0].checkpoint.layout.names[: rows.shape[1]]
        faulty = np.array(names)[np.isnan(rows).any(axis=0)]
        warnings.warn(
            f"features must be finite numbers, got none in {', '.join(faulty[:3])} at some bars: "
            "nothing is forecast from windows that contain them. Let their transform say what "
            "stands there",
            CheckpointWarning,
            stacklevel=3,
        )

    def _long_gaps(self, timestamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return after which bars more than `max_gap` others are missing, (n - 1,).

        Nights and weekends are among them: the interval is all that a checkpoint knows.
        """
        if self.max_gap is None:
            return np.zeros(max(0, len(timestamps) - 1), np.bool_)
        interval = self._scheduled[0].checkpoint.bar_interval.as_unit("ns").value
        return np.diff(timestamps) > (self.max_gap + 1) * interval


def load_to_serve(file: FileVersion) -> Checkpoint:
    """Return the checkpoint of a file that computes here what it computed in training.

    It is shared with all who use the same file, as long as somebody does.
    """
    checkpoint = _loaded.get(file)
    if checkpoint is None:
        # Kept only once it is found to serve: a second try is refused like the first.
        checkpoint = Checkpoint.load(file.path)
        require_golden(checkpoint, str(file.path))
        _loaded[file] = checkpoint
    return checkpoint


def require_golden(checkpoint: Checkpoint, name: str) -> None:
    """Compute the golden window here and compare it with what training computed.

    Raises CheckpointError with the name where it comes out otherwise: the features are others, or
    this processor or library computes otherwise.
    """
    golden = checkpoint.golden
    if golden is None:
        return
    with checkpoint_errors(name):  # numbers that no bars can have are damage too
        rows = golden_rows(golden, checkpoint.engineer)
        scale = np.array(checkpoint.scaler.scale)
        scores = checkpoint.scaler.transform(rows[-1:])[0]
        off = {
            "features": golden_differences(golden, rows[-1], scale),
            "scores": np.abs(np.array(golden.scores) - scores),
            "probability": np.abs(golden.probability - checkpoint.predict(rows)),
        }
    for part, differences in off.items():
        # nan compares false with everything, and is refused too.
        difference = float(differences.max())
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{name} does not serve as it was trained: its golden {part} come out "
                f"{difference:.2g} off, at most {TOLERANCE:.0e} is allowed. "
                "Use the version that wrote it, or train again."
            )
