"""The features of one's own by name, and the doors by which they come in.

Only what a user names is imported. A checkpoint names its features, and nothing is imported for
that: they must be known already.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import pandas as pd

from model.errors import FeatureError, did_you_mean
from model.features.own import FeatureRecord, KnownFeature, OwnFeature, known_feature
from model.features.stability import require_stable
from model.features.table import FEATURE_NAMES
from model.supplied import FEATURE, admit_installed, named_in_module

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
    known = known_feature(feature)
    known.beginning.require_kept(feature)
    _admit(known, bars)


def _admit(found: KnownFeature, bars: pd.DataFrame | None = None) -> KnownFeature:
    """Put a feature among the known ones and return it, or the equal one that is there."""
    record = found.record
    if reserved := [name for name in record.columns if name in FEATURE_NAMES]:
        raise FeatureError(
            f"the columns of the feature {record.name!r} must not be called like one of our "
            f"{len(FEATURE_NAMES)}, got {', '.join(reserved)}. Rename them."
        )
    known = _known.get(record.name, found)
    if known.record != record or known.probe != found.probe:
        raise FeatureError(
            f"`name` must be free, got {record.name!r}, which is {known.record} already, "
            f"{_difference(known.record, record)}. Give each instance a name of its own, as "
            "self.name = f'slope_{days}' in `__init__`; what was changed needs a new process."
        )
    if bars is not None:
        require_stable([known], {"": bars})
    return _known.setdefault(record.name, known)


def _difference(known: FeatureRecord, given: FeatureRecord) -> str:
    """Say in what two features of one name differ."""
    for field in ("parameters", "lookback", "exact", "columns"):
        before, now = getattr(known, field), getattr(given, field)
        if before != now:
            return f"with the {field} {before!r} and not {now!r}"
    # As where it holds what it was made with under names that begin with "_".
    return "of another source" if known.source != given.source else "with other values"


def own_features(text: str) -> list[KnownFeature]:
    """Return the features that a user names.

    text: names of known ones, files as `my_features.py:Momentum` or modules as
    `package.module:Momentum`, separated by commas; what stands after the colon is a class or an
    instance. Raises FeatureError where one cannot be had.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    return [
        _defined(*named_in_module(name, FEATURE)) if ":" in name else _by_name(name)
        for name in names
    ]


def served_feature(record: FeatureRecord) -> KnownFeature | None:
    """Return the known feature of the name that a checkpoint states, None where there is none.

    Nothing is imported: neither a module nor an installed package is looked for.
    """
    return _known.get(record.name)


@cache
def _defined(module: ModuleType, name: str) -> KnownFeature:
    """Return what a module defines. Once for each: another content of a file is another module."""
    return _admit(known_feature(getattr(module, name)))


def _by_name(name: str) -> KnownFeature:
    if name not in _known:
        admit_installed(name, FEATURE, lambda one: _admit(known_feature(one)))
    if name not in _known:
        raise FeatureError(
            f"`features` must name known ones, got {name!r}.{did_you_mean(name, _known)} "
            "Give a file as my_features.py:Momentum, or call model.register_feature before."
        )
    return _known[name]


def identities(known: Sequence[KnownFeature]) -> str:
    """Return the text that stands for features in keys and records: equal texts, equal features."""
    return ", ".join(f"{one.record} {one.record.source[:16]}" for one in known)
