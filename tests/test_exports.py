"""The public names, and what importing a package loads."""

import importlib
import json
import subprocess
import sys

import pytest

import model
import strategy_plugin

PACKAGES = [model, strategy_plugin]
HEAVY = {"torch", "sklearn", "arch", "backtrader", "matplotlib", "cyclopts", "model.training"}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    command = [
        sys.executable,
        "-c",
        f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))",
    ]
    return set(
        json.loads(
            subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[
                -1
            ]
        )
    )


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_can_be_imported_from_its_package(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert sorted(names) == list(dir(package)) == sorted(set(names))
    assert all(getattr(package, name) is not None for name in names)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_name_that_is_none_of_the_package_is_an_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        getattr(package, "Nothing")


def test_the_names_that_the_readers_are_promised_are_public() -> None:
    promised = {
        "read_bars",
        "sample_bars",
        "FeatureEngineer",
        "FEATURE_NAMES",
        "make_labels",
        "DataPreprocessor",
        "TimeSeriesDataset",
        "BiLSTMClassifier",
        "NetworkConfig",
        "TrainConfig",
        "fit",
        "Checkpoint",
        "CheckpointError",
        "BarsError",
        "BarsWarning",
    }
    assert promised <= set(model.__all__)
    assert {"BiLSTMStrategy", "DirectionProbability"} <= set(strategy_plugin.__all__)


def test_the_names_of_the_plugin_are_its_own() -> None:
    assert all(
        getattr(strategy_plugin, name).__module__.startswith("strategy_plugin.")
        for name in strategy_plugin.__all__
    )


@pytest.mark.parametrize(
    "statement, heavy",
    [
        ("import model; import strategy_plugin", HEAVY | {"pandas"}),
        ("from model import BarsError", HEAVY),
    ],
)
def test_importing_a_package_loads_nothing_heavy(statement: str, heavy: set[str]) -> None:
    assert not loaded_by(statement) & heavy


def test_serving_a_model_loads_neither_training_nor_its_libraries() -> None:
    loaded = loaded_by("from strategy_plugin import *; from model import Checkpoint")
    assert {"backtrader", "torch", "strategy_plugin.strategy"} <= loaded
    assert not loaded & {
        "model.training",
        "model.windows",
        "model.sample",
        "arch",
        "sklearn",
        "matplotlib",
        "cyclopts",
    }


def test_training_loads_no_backtrader() -> None:
    loaded = loaded_by("from model import *; import model.train, model.predict")
    assert {"model.training", "arch", "sklearn"} <= loaded
    assert not {
        name
        for name in loaded
        if name.split(".")[0] in ("backtrader", "strategy_plugin", "backtests")
    }


@pytest.mark.parametrize("module", ["model.train", "model.predict"])
def test_importing_a_command_runs_nothing(module: str) -> None:
    assert callable(importlib.import_module(module).app)
