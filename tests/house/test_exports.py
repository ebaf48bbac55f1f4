"""The public names, and what importing a package loads."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pandas as pd
import pytest

import backtests
import model
import strategy_plugin
from tests.helpers.processes import ROOT

PACKAGES = [model, strategy_plugin]
REQUIRED = Path(pd.__file__).parents[1]  # where the dependencies lie
HEAVY = {
    "torch",
    "sklearn",
    "arch",
    "backtrader",
    "matplotlib",
    "cyclopts",
    "model.training.fitting",
}


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
    with pytest.raises(AttributeError, match="Nothing"):
        _ = package.Nothing  # type: ignore[attr-defined]


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


def test_the_names_of_the_plugin_are_its_own_but_those_that_serve_a_checkpoint() -> None:
    foreign = {
        name
        for name in strategy_plugin.__all__
        if not getattr(strategy_plugin, name).__module__.startswith("strategy_plugin.")
    }
    assert foreign == {"FeatureBuffer", "Schedule"}


def test_no_public_name_equals_a_module_beside_it() -> None:
    """On its second use a lazily imported name would be that module."""
    for package in PACKAGES:
        folder = Path(package.__file__).parent
        modules = {path.stem for path in folder.iterdir()}
        assert not modules & set(package.__all__)


def test_no_module_at_a_door_is_called_like_one_of_python_or_of_a_dependency() -> None:
    """The folder of a script leads the path.

    `python model/train.py` would import our module instead.
    """
    for package in (*PACKAGES, backtests):
        folder = Path(package.__file__).parent
        names = {path.stem for path in folder.iterdir() if path.suffix in (".py", "")}
        assert not (names - {"__init__"}) & set(sys.stdlib_module_names)
        assert not [
            name
            for name in names
            if (REQUIRED / name / "__init__.py").exists() or (REQUIRED / f"{name}.py").exists()
        ]


@pytest.mark.parametrize(
    "script",
    ["model/train.py", "model/doctor.py"],  # others start as scripts in the tests of the READMEs
)
def test_a_command_starts_as_a_script_too(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


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
        "model.training.fitting",
        "model.training.windows",
        "model.bars.sample",
        "arch",
        "sklearn",
        "matplotlib",
        "cyclopts",
    }


def test_training_loads_no_backtrader() -> None:
    loaded = loaded_by("from model import *; import model.train, model.predict")
    assert {"model.training.fitting", "arch", "sklearn"} <= loaded
    assert not {
        name
        for name in loaded
        if name.split(".")[0] in ("backtrader", "strategy_plugin", "backtests")
    }


@pytest.mark.parametrize("module", ["model.train", "model.predict"])
def test_importing_a_command_runs_nothing(module: str) -> None:
    assert callable(importlib.import_module(module).app)


PUBLIC = [getattr(package, name) for package in PACKAGES for name in package.__all__]
FUNCTIONS = [one for one in PUBLIC if inspect.isfunction(one)]
# Errors and warnings say in their docstring when they come; settings are what their fields say.
CLASSES = [
    one
    for one in PUBLIC
    if inspect.isclass(one) and not issubclass(one, Exception) and not is_dataclass(one)
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_a_public_function_documents_its_parameters_its_result_and_an_example(function) -> None:
    text, signature = inspect.getdoc(function), inspect.signature(function)
    parameters = re.search(r"^Parameters\n-+\n(.*?)(?:^\w+\n-+\n|\Z)", text, re.M | re.S)
    named = re.findall(r"^(\w[\w, ]*)$", parameters[1], re.M) if parameters else []
    described = [name for line in named for name in line.split(", ")]
    assert sorted(described) == sorted(signature.parameters)
    assert "Returns\n---" in text or "Yields\n---" in text or function is model.register
    assert re.search(r"^Examples\n-+\n(?:.*\n)*?>>> ", text, re.M)


@pytest.mark.parametrize("public", CLASSES, ids=lambda one: one.__name__)
def test_a_public_class_documents_an_example(public) -> None:
    assert re.search(r"^(Examples\n-+|Examples?::?)$", inspect.getdoc(public), re.M)


def test_settings_document_each_of_their_fields() -> None:
    settings = [one for one in PUBLIC if is_dataclass(one)]
    assert len(settings) >= 4
    for one in settings:
        for field in fields(one):
            assert re.search(rf"^{field.name}$|\b{field.name}\b", inspect.getdoc(one), re.M), one
