"""A folder of checkpoints as a schedule: which files belong together, and which one decides at a stamp."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from model.checkpoint import Checkpoint, CheckpointError
from model.faults import day
from model.features import FeatureEngineer

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
