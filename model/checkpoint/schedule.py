"""A folder of checkpoints as a schedule: which files belong together, and which one decides at a stamp."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.bars.faults import day
from model.bars.intervals import EARLIEST
from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint, Forecast
from model.errors import CheckpointError, CheckpointWarning
from model.features.table import FeatureEngineer
from model.runtime import SLOW_BF16, Precision, bf16_here, require_precision

SUFFIX = ".ckpt"
TOLERANCE = 1e-5  # of a golden vector: torch sums differently on another processor
SHARED = (
    "label",
    "horizon",
    "bar_interval",
    "sequence_length",
    "timezone",
    "stamp",
)  # what all of a folder must have in common

CheckpointFile = tuple[Path, Checkpoint]


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoint files of a folder by name; temporary files of a save in progress are not among them."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def load_schedule(path: str | Path) -> list[CheckpointFile]:
    """Return the checkpoints of a file or a folder by `trained_until`, the earliest first.

    Raises CheckpointError for a file that cannot be used, an empty folder, or two that cannot follow each other.
    """
    path = Path(path)
    files = checkpoint_files(path) if path.is_dir() else [path]
    if not files:
        raise CheckpointError(
            f"{path} must hold at least one {SUFFIX} file, got none. Train one with model.train --deploy {path}"
        )
    found = sorted(
        ((file, load_to_serve(file)) for file in files), key=lambda file: file[1].trained_until
    )
    for one, other in pairwise(found):
        require_companions(one, other)
    return found


def load_to_serve(path: str | Path) -> Checkpoint:
    """Return the checkpoint of a file that computes here what it computed in training.

    Raises CheckpointError for a file that cannot be used, or whose golden window comes out otherwise.
    """
    checkpoint = Checkpoint.load(path)
    require_golden(checkpoint, str(path))
    return checkpoint


def require_golden(checkpoint: Checkpoint, name: str) -> None:
    """Replay the golden window through the serving path; CheckpointError where it comes out otherwise."""
    golden = checkpoint.golden
    if golden is None:
        return
    stamps = np.array(golden.stamps).view("datetime64[ns]")
    rows = FeatureEngineer().rows(np.array(golden.bars), stamps)  # (sequence_length, 86)
    found = {
        "features": rows[-1:],
        "scores": checkpoint.scaler.transform(rows[-1:]),
        "probability": checkpoint.predict(rows),
    }
    for part, values in found.items():
        difference = float(np.abs(np.asarray(getattr(golden, part)) - values).max())
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{name} does not serve as it was trained: its golden {part} come out "
                f"{difference:.2g} off, at most {TOLERANCE:.0e} is allowed. "
                "Use the version that wrote it, or train again."
            )


def in_force(files: list[CheckpointFile], stamp: pd.Timestamp) -> CheckpointFile:
    """Return the one with the greatest `trained_until` not after the stamp; a single one is in force everywhere."""
    due = [file for file in files if file[1].trained_until <= stamp]
    if due or len(files) == 1:
        return due[-1] if due else files[0]
    first = files[0]
    raise CheckpointError(
        f"no checkpoint may decide at {day(stamp)}: the earliest, {first[0]}, has seen prices until "
        f"{day(first[1].trained_until)}. Give newer bars or an older checkpoint."
    )


def require_companions(one: CheckpointFile, other: CheckpointFile) -> None:
    """Refuse two checkpoints that cannot follow each other, with a CheckpointError that names both files."""
    for name in SHARED:
        ours, theirs = getattr(one[1], name), getattr(other[1], name)
        if ours != theirs:
            raise CheckpointError(
                f"{one[0]} and {other[0]} must have the same {name}, got {ours} and {theirs}. "
                "Give each its own folder."
            )
    if one[1].trained_until == other[1].trained_until:
        raise CheckpointError(
            f"{one[0]} and {other[0]} must not both have trained_until {day(one[1].trained_until)}: "
            "which is in force would be left to chance. Remove one."
        )


CHUNK = 16_384  # bars whose feature rows are held at once: 11 MB, however long the history

NO_FORECAST = (np.nan,) * len(Forecast._fields)

Signature = tuple[str, int, int]  # path, time of the last change, size
_loaded: WeakValueDictionary[Signature, Checkpoint] = WeakValueDictionary()


class Scheduled(NamedTuple):
    """A checkpoint, where it came from, and the first stamp at which it may decide."""

    signature: Signature
    checkpoint: Checkpoint
    since: int

    @property
    def path(self) -> str:
        return self.signature[0]


class Schedule:
    """The checkpoints of a file or a folder. A single file is in force at every bar; of a folder's, at each bar the one with
    the greatest `trained_until` not after the bar's stamp, so that none has seen what it decides on."""

    def __init__(
        self,
        path: str,
        *,
        max_gap: int | None = None,
        precision: Precision = "fp32",
        among: Collection[str] | None = None,
    ) -> None:
        """max_gap: bars missing between two others beyond which no window that contains them is predicted; None for no limit.
        precision: of the networks' arithmetic. among: digests; where they are given, all other files are passed over,
        damaged ones too."""
        require_precision(precision)
        if precision == "bf16" and bf16_here() == "none":
            warnings.warn(
                f"{SLOW_BF16}: `precision` fp32 forecasts faster. The forecasts are valid all the same.",
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
        self._signatures = self._look() if among is None else self._named(among)
        self._refused: set[Signature] = set()
        self._demands: list[Callable[[Checkpoint, str], object]] = []
        self._scheduled = self._sorted([])
        if not self._scheduled:
            raise CheckpointError(
                f"{path} must hold at least one {SUFFIX} file, got none. "
                f"Train one with model.train --deploy {path}."
            )

    @property
    def sequence_length(self) -> int:
        return self._scheduled[0].checkpoint.sequence_length

    @property
    def bars_needed(self) -> int:
        """How many bars make the first probability."""
        return self._scheduled[0].checkpoint.bars_needed

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, in the order in which they come into force."""
        return [one.checkpoint for one in self._scheduled]

    @property
    def whole_days(self) -> bool:
        """True where stamps are dates: the time of day that a host gives to daily bars then means nothing."""
        until = self._scheduled[-1].checkpoint.trained_until
        return (
            self._scheduled[-1].checkpoint.bar_interval >= pd.Timedelta(days=1)
            and until == until.normalize()
        )

    def at(self, stamp: int) -> Checkpoint | None:
        """Return the checkpoint in force at a stamp in nanoseconds; None before the first of a folder."""
        index = bisect_right(self._starts, stamp) - 1
        return self._scheduled[index].checkpoint if index >= 0 else None

    def require(self, demand: Callable[[Checkpoint, str], object]) -> None:
        """Show each checkpoint, now and when it comes, with its file's name to a function that raises ValueError to refuse."""
        self._demands.append(demand)
        for one in self._scheduled:
            demand(one.checkpoint, Path(one.path).name)

    def name(self, checkpoint: Checkpoint) -> str:
        """Return the file name of one of the checkpoints."""
        return next(Path(one.path).name for one in self._scheduled if one.checkpoint is checkpoint)

    def probabilities(
        self, values: NDArray[np.float64], stamps: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the probability of "up" decided at each bar's close, (n, 5) and (n,) -> (n,); NaN where none is in force,
        the window is not whole, or more than `max_gap` bars are missing in it. Each equals what a
        FeatureBuffer fed bar by bar makes of the checkpoint in force."""
        probabilities: NDArray[np.float64] = self.forecasts(values, stamps)[0]
        return probabilities

    def forecasts(
        self, values: NDArray[np.float64], stamps: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the rows of a Forecast by the checkpoint in force at each bar: (3, n)."""
        found = np.full((len(Forecast._fields), len(values)), np.nan)
        for checkpoint, start, stop in self._segments(stamps):
            before = checkpoint.bars_needed - 1
            for low in range(max(start, before), stop, CHUNK):
                high = min(stop, low + CHUNK)
                reach = slice(low - before, high)
                features = FeatureEngineer().rows(
                    values[reach], stamps[reach].view("datetime64[ns]")
                )
                found[:, low:high] = checkpoint.forecast(features, self.precision)
        for gap in (np.flatnonzero(self._torn(stamps)) + 1).tolist():
            found[:, gap : gap + self.bars_needed - 1] = (
                np.nan
            )  # the first window without the gap begins after it
        return found

    def newest(self, checkpoint: Checkpoint | None, buffer: FeatureBuffer) -> tuple[float, ...]:
        """Return the Forecast of the buffer's window; NaN without a checkpoint, a whole window, or one without a long gap."""
        if checkpoint is None or not buffer.ready or self._torn(buffer.inputs()[1]).any():
            return NO_FORECAST
        return tuple(
            float(values[-1]) for values in checkpoint.forecast(buffer.window, self.precision)
        )

    def refresh(self) -> bool:
        """Look at the folder again; True if another set of checkpoints is now in force.

        A file that cannot be used is refused with a CheckpointWarning and changes nothing.
        """
        signatures = self._look()
        if signatures == self._signatures:
            return False
        self._signatures = signatures
        if not signatures:
            warnings.warn(
                f"{self.path} holds no {SUFFIX} file any more, the old ones stay in force",
                CheckpointWarning,
                stacklevel=2,
            )
            return False
        before, self._scheduled = self._scheduled, self._sorted(self._scheduled)
        return [one.signature for one in before] != [one.signature for one in self._scheduled]

    def _torn(self, stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return after which bars more than `max_gap` others are missing, (n - 1,)."""
        if self.max_gap is None:
            return np.zeros(max(0, len(stamps) - 1), np.bool_)
        return (
            np.diff(stamps)
            > (self.max_gap + 1) * self.checkpoints[0].bar_interval.as_unit("ns").value
        )

    def _look(self) -> list[Signature]:
        if not self.folder:
            return [signature(self.path)]
        return [signature(path) for path in checkpoint_files(self.path)]

    def _named(self, digests: Collection[str]) -> list[Signature]:
        found, faults = [], []
        for one in self._look():
            try:
                found += [one] if load(one).digest in digests else []
            except CheckpointError as error:
                faults.append(str(error))
        if not found:
            wanted = ", ".join(sorted(digest[:12] for digest in digests))
            raise CheckpointError(
                " ".join(
                    (
                        f"{self.path} must hold a checkpoint with the digest {wanted}, got none.",
                        *faults,
                    )
                )
            )
        return found

    def _sorted(self, known: list[Scheduled]) -> list[Scheduled]:
        """Return what the files seen last hold, in order; with some `known`, a faulty file is refused, not fatal."""
        current = {found[0]: found for found in self._signatures}
        kept = [one for one in known if one.path in current]
        for found in self._signatures:
            if found in self._refused or any(one.signature == found for one in kept):
                continue
            try:
                others = [one for one in kept if one.path != found[0]]
                kept = [*others, self._admitted(found, others)]
            except ValueError as error:  # a CheckpointError, or what somebody demands
                if not known:
                    raise
                self._refused.add(found)
                warnings.warn(
                    f"a new checkpoint is refused, the old ones stay in force: {error}",
                    CheckpointWarning,
                    stacklevel=2,
                )
        kept.sort(key=lambda one: one.since)
        self._starts = [one.since for one in kept]
        return kept

    def _admitted(self, found: Signature, others: list[Scheduled]) -> Scheduled:
        checkpoint = load(found)
        since = checkpoint.trained_until.as_unit("ns").value if self.folder else EARLIEST
        scheduled = Scheduled(found, checkpoint, since)
        for demand in self._demands:
            demand(checkpoint, Path(scheduled.path).name)
        for other in others:
            require_companions(
                (Path(other.path), other.checkpoint), (Path(scheduled.path), checkpoint)
            )
        return scheduled

    def _segments(self, stamps: NDArray[np.int64]) -> Iterator[tuple[Checkpoint, int, int]]:
        """Yield the checkpoints with the bars, start to stop, at which each is in force."""
        borders = [*np.searchsorted(stamps, self._starts, side="left").tolist(), len(stamps)]
        for one, start, stop in zip(self._scheduled, borders, borders[1:]):
            if stop > start:
                yield one.checkpoint, start, stop


def signature(path: Path) -> Signature:
    """Return what tells one content of a file from the next; a file that is missing has one too."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size


def load(found: Signature) -> Checkpoint:
    """Return the checkpoint of a file, checked against its golden vector; shared as long as anybody uses it."""
    checkpoint = _loaded.get(found)
    if checkpoint is None:
        checkpoint = _loaded[found] = load_to_serve(found[0])
    return checkpoint
