"""A checkpoint's features of one's own, matched with those that the user supplies.

The file says what they are called and how they are told apart. What it names is never imported:
whoever serves the checkpoint supplies the features, and what differs is refused.
"""

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from model.checkpoint.record import Golden
from model.checkpoint.scaler import Scaler
from model.errors import CheckpointError, CheckpointWarning, FeatureError
from model.features.own import FeatureRecord, KnownFeature
from model.features.registry import served_feature
from model.features.table import FeatureEngineer
from model.features.trailing import Array

TOLERANCE = 1e-5  # of a golden window: torch sums differently on another processor
FIELDS = ("parameters", "lookback", "exact", "columns")


def matched(records: Sequence[FeatureRecord]) -> list[KnownFeature]:
    """Return the known features that a file states, in its order.

    Raises one CheckpointError with all that are missing or are not those of training.
    """
    found, faults = [], []
    for record in records:
        one = served_feature(record)
        if one is None:
            faults.append(f"{record} of training is not given")
            continue
        found.append(one)
        for field in FIELDS:
            theirs, ours = getattr(record, field), getattr(one.record, field)
            if theirs != ours:
                faults.append(f"{record.name} had the {field} {_told(theirs)}, got {_told(ours)}")
    if faults:
        raise CheckpointError(
            f"it needs features of your own: {'; '.join(faults)}. Give `features` with the file "
            "that defines them, as my_features.py:Momentum, or call model.register_feature before "
            "loading."
        )
    return found


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Matched(Protocol):
    """What is asked of a checkpoint, of which this is a part."""

    @property
    def features(self) -> Sequence[FeatureRecord]: ...
    @property
    def golden(self) -> Golden | None: ...
    @property
    def scaler(self) -> Scaler: ...
    @property
    def engineer(self) -> FeatureEngineer: ...


def require_same_values(checkpoint: Matched, known: Sequence[KnownFeature]) -> None:
    """Compare features whose source has changed since training with the file's golden values.

    Raises CheckpointError where they come out otherwise, or nothing is there to compare with, and
    warns where they are the same.
    """
    golden = checkpoint.golden
    changed = [
        record.name
        for record, one in zip(checkpoint.features, known, strict=True)
        if record.source != one.record.source
    ]
    # The same source, the same values: no window need be computed at every load.
    if not changed:
        return
    names = ", ".join(changed)
    if golden is None:
        raise CheckpointError(
            f"the source of {names} is another than in training, and the file has no golden "
            "window to compare it by. Give the source of training, or train again."
        )
    engineer = checkpoint.engineer
    faulty = []
    try:
        rows = golden_rows(golden, engineer)
    except FeatureError as error:
        raise CheckpointError(f"the source of {names} has changed, and {error}") from error
    off = golden_differences(golden, rows[-1], np.array(checkpoint.scaler.scale))
    for name in changed:
        columns = engineer.groups[f"own {name}"]
        worst = off[columns].max()
        # "not", as a difference of NaN is no small one.
        if not worst <= TOLERANCE:
            column = engineer.names[columns][int(off[columns].argmax())]
            faulty.append(f"{column!r} is {worst:.2g} deviations off")
    if faulty:
        raise CheckpointError(
            f"the source of {names} is another than in training, and so are its values: "
            f"{', '.join(faulty)}, at most {TOLERANCE:.0e} is allowed. "
            "Give the source of training, or train again."
        )
    warnings.warn(
        f"the source of {names} has changed since training, its golden values have not: it serves. "
        "Train again, so that the checkpoint knows it",
        CheckpointWarning,
        stacklevel=3,
    )


def golden_rows(golden: Golden, engineer: FeatureEngineer) -> Array:
    """Return the feature rows of a golden window: (sequence_length, features)."""
    timestamps = np.array(golden.stamps, dtype=np.int64).view("datetime64[ns]")
    return engineer.rows(np.array(golden.bars), timestamps)


def golden_differences(golden: Golden, row: Array, scale: Array) -> Array:
    """Return how far each feature of the golden window's last row is off, (features,).

    In units of its own, and where its scale is large, as that of a volume, in such.
    """
    # Small features in units of their own: their scale would make of rounding a fault.
    off: Array = np.abs(np.array(golden.features) - row) / np.maximum(1.0, scale)
    return np.where(np.isnan(off), np.inf, off)
