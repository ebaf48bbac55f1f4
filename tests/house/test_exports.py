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
    assert {"model.training.fitting", "sklearn"} <= loaded
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
# Errors and warnings say in their docstring when they come.
CLASSES = [one for one in PUBLIC if inspect.isclass(one) and not issubclass(one, Exception)]
HOSTED = [one for one in CLASSES if hasattr(one, "params")]  # Backtrader's: Params instead
ARRAY = re.compile(r"ndarray|NDArray|ArrayLike|SupportsArray|Tensor\b")
SHAPE = re.compile(r"\(\w[^()]*,[^()]*\)")  # (n, 86) or (n,)


def methods(public: type) -> Iterator[object]:
    """Yield the public methods of a class that are its own, not the host's with its docstring."""
    for name, member in vars(public).items():
        method = getattr(member, "__func__", member)
        hosts = [base for base in public.__mro__[1:] if not base.__module__.startswith(OURS)]
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        if method.__doc__ or not any(hasattr(base, name) for base in hosts):
            yield getattr(public, name)


OURS = ("model.", "strategy_plugin.")
METHODS = [method for public in CLASSES for method in methods(public)]


def section(text: str, heading: str) -> str:
    found = re.search(rf"^{heading}\n-+\n(.*?)(?:^[^\n]+\n-+\n|\Z)", text, re.M | re.S)
    return found[1] if found else ""


def parameters(text: str) -> dict[str, str]:
    """Return what a docstring says of each parameter."""
    parts = re.split(r"^(\w[\w, ]*)$", section(text, "Parameters"), flags=re.M)[1:]
    described = zip(parts[::2], parts[1::2], strict=True)
    return {name: words for names, words in described for name in names.split(", ")}


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS], ids=lambda one: one.__qualname__)
def test_a_public_function_documents_what_it_takes_gives_and_raises(function) -> None:
    text, signature = inspect.getdoc(function), inspect.signature(function)
    described, taken = parameters(text), dict(signature.parameters)
    taken.pop("self", None), taken.pop("cls", None)
    assert sorted(described) == sorted(taken)
    for name, parameter in taken.items():
        assert not ARRAY.search(str(parameter.annotation)) or SHAPE.search(described[name])
    given = section(text, "Returns") or section(text, "Yields")
    if signature.return_annotation not in (None, "None"):
        assert given and (not ARRAY.search(str(signature.return_annotation)) or SHAPE.search(given))
    if re.search(r"^ +raise \w", inspect.getsource(function), re.M):
        assert section(text, "Raises")


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_a_public_function_documents_an_example(function) -> None:
    assert ">>> " in section(inspect.getdoc(function), "Examples")


@pytest.mark.parametrize("public", CLASSES, ids=lambda one: one.__name__)
def test_a_public_class_documents_its_parameters_and_an_example(public) -> None:
    text = inspect.getdoc(public)
    assert re.search(r"^(Examples\n-+|Examples?::?)$", text, re.M)
    if public in HOSTED:
        host = next(base for base in public.__mro__ if not base.__module__.startswith(OURS))
        own = set(public.params._getkeys()) - set(host.params._getkeys())
        named = re.findall(r"^  - ([\w, ]+):", text.partition("Params:")[2], re.M)
        assert named and own <= {name for names in named for name in names.split(", ")}
    else:
        assert set(inspect.signature(public).parameters) <= set(parameters(text))
