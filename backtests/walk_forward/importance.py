"""What a model looks at: how much its log loss on validation grows when a group of features is moved in time."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.checkpoint.checkpoint import Checkpoint
from model.features.table import FEATURE_NAMES, FeatureEngineer
from model.labels import make_labels
from model.metrics import log_loss_of_logits
from model.runtime import Precision

# The groups of FEATURE_NAMES, by the first name of each.
FIRST_NAMES = {
    "bar": "bar_open_z",
    "returns": "ret_z_2",
    "trend": "ma_dist_5",
    "momentum": "rsi_7",
    "volatility": "vol_ratio_5_20",
    "volume": "volu_ratio_5_20",
    "candle": "body_share",
    "calendar": "tod_sin",
    "statistical": "acf1_20",
}


def groups() -> dict[str, slice]:
    """Return the columns of each group."""
    firsts = [FEATURE_NAMES.index(name) for name in FIRST_NAMES.values()]
    return {
        group: slice(first, last)
        for group, first, last in zip(FIRST_NAMES, firsts, [*firsts[1:], len(FEATURE_NAMES)])
    }


def importance(
    checkpoint: Checkpoint, past: pd.DataFrame, precision: Precision = "fp32"
) -> dict[str, float]:
    """Return by group how much the log loss on validation grows when its columns move by half the part.

    past: the bars that the checkpoint was trained on. precision: of the arithmetic, which counts
    here: it takes ten forecasts of the whole part. Moved round the end rather than shuffled, a
    column keeps its own course and loses only its relation to the rest and to what comes.
    """
    part = checkpoint.parts["validation"]
    first, last = (
        int(past.index.searchsorted(pd.Timestamp(str(part[side])))) for side in ("first", "last")
    )
    rows = (
        FeatureEngineer()
        .transform(past.iloc[first - checkpoint.bars_needed + 1 : last + 1])
        .to_numpy()
    )
    labels = (
        make_labels(past, checkpoint.label, checkpoint.horizon)
        .shift(-1)
        .to_numpy()[first : last + 1]
    )

    def loss(features: NDArray[np.float64]) -> float:
        return log_loss_of_logits(checkpoint.logits(features, precision), labels)

    found, whole = {}, loss(rows)
    for group, columns in groups().items():
        moved = rows.copy()
        moved[:, columns] = np.roll(rows[:, columns], len(rows) // 2, axis=0)
        found[group] = loss(moved) - whole
    return found
