"""What decides a result, as digests by which finished work is found again."""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from model.bars.read import digest_bars
from model.bars.universe import Bars, universe_of
from model.features.joining import context_of
from model.provenance import code_digest, machine
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# The source that trains a fold and chooses its thresholds. What only judges or reports is left out:
# a change of it must not train all folds again.
CODE = (
    "model",
    "backtests.walk_forward.folds",
    "backtests.walk_forward.thresholds",
    "backtests.walk_forward.importance",
    "backtests.simulation.vectorised",
    "strategy_plugin.decision",
)

ATTRIBUTES = ("instrument", "timezone", "stamp", "flags")  # of bars, that a result depends on


def all_versions() -> dict[str, str]:
    """Return what made a result: `machine`, and the libraries that judged it."""
    judges = {name: version(name) for name in ("arch", "backtrader", "plotly", "scipy")}
    return machine() | judges


def key_of(bars: Bars, *settings: "DataclassInstance") -> str:
    """Return the digest of all that decides a result: equal keys, equal results.

    These are what was asked, code, libraries and processor.
    """
    return _digest(_asked(bars, *settings) | {"code": code_digest(*CODE), "machine": machine()})


def asked_of(bars: Bars, *settings: "DataclassInstance") -> str:
    """Return the digest of what was asked, whichever program and processor answer it."""
    return _digest(_asked(bars, *settings))


def _asked(bars: Bars, *settings: "DataclassInstance") -> dict[str, Any]:
    """Return the bars with their attributes, and the settings.

    The class of each of the settings counts too: two of them may have fields of the same name.
    """
    return {
        "bars": {
            name: [digest_bars(own), {each: own.attrs.get(each) for each in ATTRIBUTES}]
            for name, own in universe_of(bars).items()
        },
        "context": str(context_of(bars)),
        "settings": [{type(one).__name__: _described(one)} for one in settings],
    }


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _described(settings: "DataclassInstance") -> dict[str, Any]:
    """Return settings by name; of a training, wherever it stands in them, what decides it.

    That is with the digests of features and labels of one's own, whose names say little.
    """
    if isinstance(settings, TrainConfig):
        return settings.described()
    nested = {
        name: value.described()
        for name, value in vars(settings).items()
        if isinstance(value, TrainConfig)
    }
    return asdict(settings) | nested
