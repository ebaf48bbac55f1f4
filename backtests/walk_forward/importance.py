"""What a model looks at: how much worse it forecasts when a group of features is moved in time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.bars.universe import Bars, universe_of
from model.checkpoint.checkpoint import Checkpoint
from model.metrics import log_loss_of_logits
from model.training.config import TrainConfig
from model.training.outcomes import outcomes_of


class Validated(NamedTuple):
    """An instrument's windows of the validation part.

    rows: the raw feature rows that they reach, (n + sequence_length - 1, 86). decided, labels: when
    and what came, NaN where that is no label: (n,).
    """

    rows: NDArray[np.float64]
    decided: NDArray[np.int64]
    labels: NDArray[np.float64]


def importance(checkpoint: Checkpoint, past: Bars, config: TrainConfig) -> dict[str, float]:
    """Return by group how much the log loss on validation grows when its columns move.

    They move by half the part, those of each instrument by themselves. Moved round the end rather
    than shuffled, a column keeps its own path and loses only its relation to the rest and to what
    comes. Each date weighs the same, as in the calibration.

    past: the bars that the checkpoint was trained on, with these settings. Their precision counts
    here: it takes ten forecasts of the whole part.
    """
    parts = list(_validated(checkpoint, past, config))
    labels = np.concatenate([part.labels for part in parts])
    known = np.isfinite(labels)
    decided = np.concatenate([part.decided for part in parts])[known]
    _, date, counts = np.unique(decided, return_inverse=True, return_counts=True)

    def loss(columns: slice) -> float:
        logits = []
        for part in parts:
            moved = part.rows.copy()
            moved[:, columns] = np.roll(moved[:, columns], len(moved) // 2, axis=0)
            logits.append(checkpoint.logits(moved, config.precision))
        return log_loss_of_logits(np.concatenate(logits)[known], labels[known], 1 / counts[date])

    unmoved = loss(slice(0))
    return {group: loss(columns) - unmoved for group, columns in checkpoint.layout.groups.items()}


def _validated(checkpoint: Checkpoint, past: Bars, config: TrainConfig) -> Iterator[Validated]:
    """Yield the validation windows of each instrument that has any.

    Training learnt the rest by heart, and the test part is not to be looked at.
    """
    universe, older = universe_of(past), checkpoint.bars_needed - 1
    outcomes, _ = outcomes_of(universe, config)
    for name, own in outcomes.items():
        bars = universe[name]
        part = checkpoint.part_rows("validation", bars.index)
        # One of a universe may begin, or end, within the part; window i decides at bar i + older.
        first, stop = max(part.start, older), min(part.stop, older + len(own.labels))
        if first < stop:
            windows = slice(first - older, stop - older)
            rows = checkpoint.engineer.transform(bars.iloc[first - older : stop]).to_numpy()
            yield Validated(rows, own.decided[windows], own.labels[windows])
