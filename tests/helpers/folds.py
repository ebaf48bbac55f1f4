"""What the tests of the walk-forward share."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from backtests.reports.results import Results, TrainedConfiguration, evaluate_all
from backtests.walk_forward.folds import Fold, FoldModel, FoldTask, Settings, train_tasks
from backtests.walk_forward.thresholds import Search
from model.training.config import TrainConfig


def save(models: Sequence[FoldModel], folder: Path) -> Path:
    """Write the models' checkpoints into a folder."""
    for model in models:
        if model.checkpoint:
            model.checkpoint.save(folder / model.name)
    return folder


def trained(
    bars: pd.DataFrame, folds: Sequence[Fold], config: TrainConfig, search: Search, jobs: int = 1
) -> list[FoldModel]:
    """The folds' models in order."""
    tasks = [
        FoldTask(fold.past(bars), fold, config, search, f"fold {fold.number}") for fold in folds
    ]
    outcomes = dict(train_tasks(tasks, jobs=jobs))
    models = [outcomes[task].model for task in tasks]
    assert all(models)
    return [model for model in models if model]


def evaluate(
    bars: pd.DataFrame,
    models: Sequence[FoldModel],
    folder: Path,
    settings: Settings,
    *,
    best: pd.Series | None = None,
) -> Results:
    """The results of a single configuration."""
    return evaluate_all(bars, {"": TrainedConfiguration(models, folder, settings)}, best=best)[""]
