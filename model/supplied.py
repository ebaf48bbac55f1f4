"""Classes that a user supplies, by file, module or installed package, and how they are known again.

Only what a user names is imported.
"""

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from importlib.abc import ExecutionLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import decode_source, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, NamedTuple, Protocol

from model.errors import FeatureError, LabelError, did_you_mean

LARGEST = 1e15  # number among the parameters; neither NaN nor infinity is below

Scalar = str | int | float | bool | None


class Named(Protocol):
    """What all that is supplied has."""

    @property
    def name(self) -> str: ...


class Kind(NamedTuple):
    """What is supplied, as messages call it.

    word, setting: "feature", and the setting that names it. group: of the entry points by which
    packages offer theirs, as `name = package.module:Momentum`.
    """

    word: str
    setting: str
    group: str
    error: type[ValueError]


FEATURE = Kind("feature", "features", "backtrader_bilstm.features", FeatureError)
LABEL = Kind("label", "label", "backtrader_bilstm.labels", LabelError)


def named_in_module(text: str, kind: Kind) -> tuple[ModuleType, str]:
    """Return the module and the name in it that stand before and after a colon."""
    place, _, name = text.rpartition(":")
    module = _load_file(Path(place), kind) if place.endswith(".py") else _load_module(place, kind)
    if not hasattr(module, name):
        # Not what it has imported itself: a DataFrame has a transform, too.
        offered = [
            key
            for key, value in vars(module).items()
            if hasattr(value, "transform") and getattr(value, "__module__", "") == module.__name__
        ]
        there = (
            f"Name one of those that it defines, as {place}:{offered[0]}: {', '.join(offered)}."
            if offered
            else "It defines no class with a transform: write one."
        )
        raise kind.error(
            f"{place} must define the {kind.word} {name!r}, got none.{did_you_mean(name, offered)} "
            f"{there}"
        )
    return module, name


def admit_installed(name: str, kind: Kind, admit: Callable[[object], object]) -> None:
    """Admit what installed packages offer by a name, and refuse what cannot be admitted."""
    for point in entry_points(group=kind.group, name=name):
        try:
            admit(point.load())
        except MemoryError:
            raise
        except Exception as error:  # whatever a package of somebody else's raises
            raise kind.error(
                f"the {kind.word} {name!r} must be one that can be registered, got {point.value} "
                f"of an installed package: {str(error).rstrip('.')}. Mend that package."
            ) from error


def _load_file(path: Path, kind: Kind) -> ModuleType:
    """Return the module that a file holds, executed once for each content of it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.error(
            f"`{kind.setting}` must name a file that can be read, got {path}: {error.strerror}. "
            "Give its path from this folder."
        ) from error
    digest = hashlib.sha256(str(path.resolve()).encode() + content).hexdigest()
    # Under a name of its own: a file must not hide a module that is called like it.
    stem = re.sub(r"\W", "_", path.stem)  # a dot would make it a part of a package
    name = f"own_{kind.setting}_{stem}_{digest[:12]}"
    if name not in sys.modules:
        load_content(name, str(path), content, kind)
    return sys.modules[name]


_contents: dict[str, tuple[str, bytes]] = {}


class _Content(ExecutionLoader):
    """Loads a module from what its file held when it was read, which may change meanwhile."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path, self.content = path, content

    def get_filename(self, _: str) -> str:
        return self.path

    def get_source(self, _: str) -> str:
        return decode_source(self.content)


def load_content(name: str, path: str, content: bytes, kind: Kind) -> None:
    """Make a module of a file's content. Raises FeatureError, or LabelError, where it fails."""
    loader = _Content(path, content)
    _execute(spec_from_file_location(name, path, loader=loader), path, kind)
    _contents[name] = path, content


def contents_loaded() -> Mapping[str, tuple[str, bytes]]:
    """Return path and content of the files that modules were made of, by names of modules."""
    return _contents


def _execute(spec: ModuleSpec | None, place: str, kind: Kind) -> None:
    assert spec is not None and spec.loader is not None  # the place ends in .py
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[spec.name]
        if isinstance(error, MemoryError) or not isinstance(error, Exception | SystemExit):
            raise
        raise _not_imported(place, error, kind) from error


def _load_module(name: str, kind: Kind) -> ModuleType:
    try:
        return importlib.import_module(name)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        raise _not_imported(name, error, kind) from error


def _not_imported(place: str, error: BaseException, kind: Kind) -> ValueError:
    return kind.error(
        f"{place} must be a module that can be imported, got {type(error).__name__}: "
        f"{str(error).rstrip('.')}{line_of(error, place)}. {_remedy(place, error, kind)}"
    )


def _remedy(place: str, error: BaseException, kind: Kind) -> str:
    """Return what to do about a module that cannot be imported."""
    if not (isinstance(error, ModuleNotFoundError) and error.name):
        return "Mend it."
    missing, folder = error.name.partition(".")[0], Path(place).parent
    if not place.endswith(".py") and place.partition(".")[0] == missing:
        return f"Give a file as my_{kind.word}s.py:Name, or a module that is installed."
    if (folder / f"{missing}.py").is_file() or (folder / missing).is_dir():
        return f"It lies beside the file: start with PYTHONPATH={folder}."
    return f"Install {missing}, or mend the import."


def line_of(error: BaseException, place: str) -> str:
    """Return the line of a file at which an error was raised, in words; "" where it was not.

    place: of the file, or a dotted name of its module.
    """
    file = Path(place).name if place.endswith(".py") else f"{place.rpartition('.')[2]}.py"
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith(file):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    if isinstance(error, SyntaxError) and error.lineno is not None:
        where = Path(error.filename or file).name
        return f", in line {error.lineno}" + ("" if where == file else f" of {where}")
    return "" if line is None else f", in line {line}"


def told(error: BaseException, given: object) -> str:
    """Return an error that a user's object raised, in words, with the line of its file."""
    try:
        file = inspect.getfile(type(given))
    except (OSError, TypeError):  # made in a notebook
        file = ""
    line = line_of(error, file) if file else ""
    where = f"{line} of {Path(file).name}" if line else ""
    return f"{type(error).__name__}: {str(error).rstrip('.')}{where}"


def made(given: object, kind: Kind) -> object:
    """Return the object, made without arguments where its class is given."""
    if not isinstance(given, type):
        return given
    try:
        found: object = given()
    except Exception as error:  # whatever a class of somebody else's raises
        raise kind.error(
            f"{given.__name__} must be made without arguments, got {type(error).__name__}: "
            f"{str(error).rstrip('.')}. Give its arguments defaults, or name an instance of it."
        ) from error
    return found


def held_by(given: object) -> dict[str, Any]:
    """Return the attributes of an instance, those of its slots too."""
    slots = [vars(kind).get("__slots__", ()) for kind in type(given).__mro__]
    names = [name for own in slots for name in ([own] if isinstance(own, str) else own)]
    held = {name: getattr(given, name) for name in names if hasattr(given, name)}
    return held | getattr(given, "__dict__", {})


def parameters_of(given: Named, kind: Kind, *besides: str) -> dict[str, Scalar]:
    """Return what an instance was made with: its attributes, without those named besides."""
    parameters = {
        key: value
        for key, value in held_by(given).items()
        if not key.startswith("_") and key not in ("name", *besides)
    }
    for key, value in parameters.items():
        # Of their own types: what a file gives back must be equal.
        if type(value) not in (str, int, float, bool, NoneType) or (
            isinstance(value, int | float) and not abs(value) < LARGEST
        ):
            raise kind.error(
                f"`{key}` of the {kind.word} {given.name!r} must be a number or a text, by which a "
                f"checkpoint knows it again, got {value!r}. Make it from such."
            )
    return parameters


def called(name: str, parameters: Mapping[str, Scalar]) -> str:
    """Return the name by which messages call it: as it would be made, momentum(bars=20)."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items())})"


def source_of(given: Named, kind: Kind) -> str:
    """Return the SHA-256 of class name and module; in a notebook of the class alone."""
    made_by = type(given)
    try:
        try:
            source = Path(inspect.getfile(made_by)).read_bytes()
        except (OSError, TypeError):
            source = inspect.getsource(made_by).encode()
    except (OSError, TypeError) as error:
        raise kind.error(
            f"the source of the {kind.word} {given.name!r} must be readable, so that a checkpoint "
            f"knows it again, got {made_by.__name__} without one. Put it in a file of its own."
        ) from error
    return hashlib.sha256(made_by.__qualname__.encode() + b"\n" + source).hexdigest()
