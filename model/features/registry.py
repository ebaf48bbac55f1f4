"""The features of one's own by name, and the doors by which they come in.

Only what a user names is imported. A checkpoint names its features, and nothing is imported for
that: they must be known already.
"""

import hashlib
import importlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pandas as pd

from model.errors import FeatureError, did_you_mean
from model.features.own import FeatureRecord, KnownFeature, OwnFeature, known_feature
from model.features.stability import require_stable
from model.features.table import FEATURE_NAMES

# Entry points of an installed package: `name = package.module:Momentum`.
GROUP = "backtrader_bilstm.features"

_known: dict[str, KnownFeature] = {}


def register_feature(
    feature: OwnFeature | type[OwnFeature], bars: pd.DataFrame | None = None
) -> None:
    """Make a feature known by its name, to be trained on, saved, loaded and traded.

    This holds for this process. An installed package offers its features to all processes and
    commands by entry points of the group `backtrader_bilstm.features`.

    Parameters
    ----------
    feature
        An object with `name`, `lookback` and `transform(bars)`, which returns a DataFrame of any
        columns on the index of the bars; or its class, which is then made without arguments. What
        an instance was made with (its attributes) must be numbers and texts.
    bars
        Where they are given, the feature must give the same values of them whichever bars it is
        shown together, as training requires in any case: (n, 5 or more), as `read_bars` gives them.

    Raises
    ------
    FeatureError
        For what is no such feature, a name that is taken, and one that looks ahead or further back
        than it says, with the bar, both values and what to change.

    Examples
    --------
    >>> from my_momentum import Momentum  # a file of yours
    >>> register_feature(Momentum, bars)
    >>> TrainConfig(features="momentum").lookback
    101
    """
    _admit(known_feature(feature), bars)


def _admit(found: KnownFeature, bars: pd.DataFrame | None = None) -> KnownFeature:
    """Put a feature among the known ones and return it, or the equal one that is there."""
    record = found.record
    if reserved := [name for name in record.columns if name in FEATURE_NAMES]:
        raise FeatureError(
            f"the columns of the feature {record.name!r} must not be called like one of our "
            f"{len(FEATURE_NAMES)}, got {', '.join(reserved)}. Rename them."
        )
    known = _known.get(record.name, found)
    if known.record != record:
        raise FeatureError(
            f"`name` must be free, got {record.name!r}, which is {known.record} already, "
            f"{_difference(known.record, record)}. Choose another, or start a new process."
        )
    if bars is not None:
        require_stable([known], bars)
    return _known.setdefault(record.name, known)


def _difference(known: FeatureRecord, given: FeatureRecord) -> str:
    """Say in what two features of one name differ."""
    for field in ("parameters", "lookback", "exact", "columns"):
        before, now = getattr(known, field), getattr(given, field)
        if before != now:
            return f"with the {field} {before!r} and not {now!r}"
    return "of another source"


def own_features(text: str) -> list[KnownFeature]:
    """Return the features that a user names.

    text: names of known ones, files as `my_features.py:Momentum` or modules as
    `package.module:Momentum`, separated by commas; what stands after the colon is a class or an
    instance. Raises FeatureError where one cannot be had.
    """
    return [_own_feature(part.strip()) for part in text.split(",") if part.strip()]


def served_feature(record: FeatureRecord) -> KnownFeature | None:
    """Return the known feature of the name that a checkpoint states, None where there is none.

    Nothing is imported: neither a module nor an installed package is looked for.
    """
    return _known.get(record.name)


def _own_feature(text: str) -> KnownFeature:
    if ":" not in text:
        return _by_name(text)
    place, _, name = text.rpartition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    if not hasattr(module, name):
        offered = [key for key, value in vars(module).items() if hasattr(value, "transform")]
        raise FeatureError(
            f"{place} must define the feature {name!r}, got none.{did_you_mean(name, offered)} "
            f"It defines {', '.join(offered) or 'no class with a transform'}."
        )
    return _defined(module, name)


@cache
def _defined(module: ModuleType, name: str) -> KnownFeature:
    """Return what a module defines. Once for each: another content of a file is another module."""
    return _admit(known_feature(getattr(module, name)))


def _by_name(name: str) -> KnownFeature:
    if name not in _known:
        for point in entry_points(group=GROUP, name=name):
            try:
                _admit(known_feature(point.load()))
            except MemoryError:
                raise
            except Exception as error:  # whatever a package of somebody else's raises
                raise FeatureError(
                    f"the feature {name!r} must be one that can be registered, got {point.value} "
                    f"of an installed package: {str(error).rstrip('.')}. Mend that package."
                ) from error
    if name not in _known:
        raise FeatureError(
            f"`features` must name known ones, got {name!r}.{did_you_mean(name, _known)} "
            "Give a file as my_features.py:Momentum, or call model.register_feature before."
        )
    return _known[name]


def _load_file(path: Path) -> ModuleType:
    """Return the module that a file holds, executed once for each content of it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FeatureError(
            f"`features` must name a file that can be read, got {path}: {error.strerror}. "
            "Give its path from this folder."
        ) from error
    digest = hashlib.sha256(str(path.resolve()).encode() + content).hexdigest()
    # Under a name of its own: a file must not hide a module that is called like it.
    name = f"own_features_{path.stem}_{digest[:12]}"
    if name not in sys.modules:
        _execute(spec_from_file_location(name, path), str(path))
    return sys.modules[name]


def _execute(spec: ModuleSpec | None, place: str) -> None:
    assert spec is not None and spec.loader is not None  # the place ends in .py
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[spec.name]
        if isinstance(error, MemoryError) or not isinstance(error, Exception | SystemExit):
            raise
        raise _not_imported(place, error) from error


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except MemoryError:
        raise
    except Exception as error:  # whatever a module of somebody else's raises
        raise _not_imported(name, error) from error


def _not_imported(place: str, error: BaseException) -> FeatureError:
    return FeatureError(
        f"{place} must be a module that can be imported, got {type(error).__name__}: "
        f"{str(error).rstrip('.')}{_line_of(error, place)}. Mend it."
    )


def _line_of(error: BaseException, place: str) -> str:
    """Return the line of a file at which an error was raised, in words."""
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith(Path(place).name):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    line = error.lineno if isinstance(error, SyntaxError) else line
    return "" if line is None else f", in line {line}"


def identities(known: Sequence[KnownFeature]) -> str:
    """Return the text that stands for features in keys and records: equal texts, equal features."""
    return ", ".join(f"{one.record} {one.record.source[:16]}" for one in known)
