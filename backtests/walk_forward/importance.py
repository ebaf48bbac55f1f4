"""What a model looks at: how much worse it forecasts when a group of features is moved in time."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.checkpoint.checkpoint import Checkpoint
from model.labels import make_labels
from model.metrics import log_loss_of_logits
from model.runtime import Precision


def importance(
    checkpoint: Checkpoint, past: pd.DataFrame, precision: Precision = "fp32"
) -> dict[str, float]:
    """Return by group how much the log loss on validation grows when its columns move.

    They move by half the part. Moved round the end rather than shuffled, a column keeps its own
    path and loses only its relation to the rest and to what comes.

    past: the bars that the checkpoint was trained on. precision: of the arithmetic, which counts
    here: it takes ten forecasts of the whole part.
    """
    # Training learnt the rest by heart, and the test part is not to be looked at.
    part = checkpoint.part_rows("validation", past.index)
    bars = past.iloc[part.start - checkpoint.bars_needed + 1 : part.stop]
    rows = checkpoint.engineer.transform(bars).to_numpy()
    # A label stands at the entry; the decision fell at the close before.
    at_decision = make_labels(past, checkpoint.label, checkpoint.horizon).shift(-1)
    labels = at_decision.to_numpy()[part]

    def loss(features: NDArray[np.float64]) -> float:
        return log_loss_of_logits(checkpoint.logits(features, precision), labels)

    unmoved, growth = loss(rows), {}
    for group, columns in checkpoint.layout.groups.items():
        moved = rows.copy()
        moved[:, columns] = np.roll(rows[:, columns], len(rows) // 2, axis=0)
        growth[group] = loss(moved) - unmoved
    return growth
