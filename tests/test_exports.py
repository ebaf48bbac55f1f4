"""The public names, and what importing a package loads."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
        "Epoch",
        "OneClassError",
        "OutputError",
        "Resumption",
        "resumption",
    }
    assert promised <= set(model.__all__)
    assert {"BiLSTMStrategy", "DirectionProbability"} <= set(strategy_plugin.__all__)


def classes(package: object) -> set[str]:
    """Return the names of all classes that a package defines, private ones aside."""
    [folder] = package.__path__  # type: ignore[attr-defined]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name for node in nodes if not node.name.startswith("_")}


def docstrings(package: object) -> Iterator[str]:
    """Yield the docstrings of a package's public names, and of their public methods."""
    for name in package.__all__:  # type: ignore[attr-defined]
        public = getattr(package, name)
        if callable(public):  # a tuple's own docstring is Python's
            yield inspect.getdoc(public) or ""
            members = vars(public).items() if inspect.isclass(public) else ()
            yield from (
                inspect.getdoc(member) or "" for own, member in members if not own.startswith("_")
            )


def documented(text: str) -> set[str]:
    """Return the names in backticks, and those of the paragraphs that say what is raised."""
    raised = " ".join(re.findall(r"(?<=Raises)\b(?:.|\n(?!\n))*", text))
    return {*re.findall(r"`(?:\w+\.)*(\w+)`", text), *re.findall(r"\b[A-Z]\w+", raised)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("With an `Epoch`, or `model.Resumption`; a Window.", {"Epoch", "Resumption"}),
        (
            "Raises BarsError for few,\nOneClassError.\n\nAnd so Forth.",
            {"BarsError", "OneClassError"},
        ),
    ],
)
def test_what_a_docstring_names_is_found(text: str, names: set[str]) -> None:
    assert documented(text) == names


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_class_that_a_public_docstring_names_is_public(package: object) -> None:
    own = {name for each in PACKAGES for name in classes(each)}
    public = {name for each in PACKAGES for name in each.__all__}
    named = {name for text in docstrings(package) for name in documented(text)} & own
    assert named and sorted(named - public) == []


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
