"""From OHLCV bars to a trained direction network: features, windows, training, checkpoints.

Names are resolved when they are first used, so that serving a model loads neither the training code nor scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.architectures import register
    from model.bars import BarsError, BarsWarning, read_bars
    from model.checkpoint import Checkpoint, CheckpointError
    from model.course import Epoch
    from model.features import FEATURE_NAMES, FeatureEngineer
    from model.files import OutputError
    from model.interruption import Interrupted
    from model.labels import make_labels
    from model.network import BiLSTMClassifier, DirectionNetwork, NetworkConfig
    from model.resume import OutputInUse, Resumption, resumption
    from model.sample import sample_bars
    from model.training import (
        OneClassError,
        TrainConfig,
        TrainingDiverged,
        combine,
        fit,
        member_configs,
    )
    from model.transformer import TransformerClassifier, TransformerConfig
    from model.windows import DataPreprocessor, TimeSeriesDataset

__all__ = [
    "BarsError",
    "BarsWarning",
    "BiLSTMClassifier",
    "Checkpoint",
    "CheckpointError",
    "DataPreprocessor",
    "DirectionNetwork",
    "Epoch",
    "FEATURE_NAMES",
    "FeatureEngineer",
    "Interrupted",
    "NetworkConfig",
    "OneClassError",
    "OutputError",
    "OutputInUse",
    "Resumption",
    "TimeSeriesDataset",
    "TrainConfig",
    "TrainingDiverged",
    "TransformerClassifier",
    "TransformerConfig",
    "combine",
    "fit",
    "make_labels",
    "member_configs",
    "read_bars",
    "register",
    "resumption",
    "sample_bars",
]

_HOMES = {
    "architectures": ("register",),
    "bars": ("BarsError", "BarsWarning", "read_bars"),
    "checkpoint": ("Checkpoint", "CheckpointError"),
    "course": ("Epoch",),
    "features": ("FEATURE_NAMES", "FeatureEngineer"),
    "files": ("OutputError",),
    "interruption": ("Interrupted",),
    "labels": ("make_labels",),
    "network": ("BiLSTMClassifier", "DirectionNetwork", "NetworkConfig"),
    "resume": ("OutputInUse", "Resumption", "resumption"),
    "sample": ("sample_bars",),
    "training": (
        "OneClassError",
        "TrainConfig",
        "TrainingDiverged",
        "combine",
        "fit",
        "member_configs",
    ),
    "transformer": ("TransformerClassifier", "TransformerConfig"),
    "windows": ("DataPreprocessor", "TimeSeriesDataset"),
}
_HOME_OF = {name: f"model.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
