"""What decides a result.

Digests of code, libraries, bars and settings, by which finished work is found again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch

from model.bars.read import digest_bars
from model.provenance import code_digest, library_versions

# The source that trains a fold and chooses its thresholds.
CODE = (
    "model",
    "backtests.walk_forward.folds",
    "backtests.walk_forward.thresholds",
    "backtests.walk_forward.importance",
    "backtests.simulation.vectorised",
    "strategy_plugin.decision",
)


def machine() -> dict[str, str]:
    """Return what, beside the code, can change the bits of a result.

    Libraries and the processor's instructions.
    """
    return {**library_versions(), "processor": torch.backends.cpu.get_cpu_capability()}


def all_versions() -> dict[str, str]:
    """Return what made a result.

    What can change a model's bits, and the libraries that judged it.
    """
    return {
        **machine(),
        **{name: version(name) for name in ("arch", "backtrader", "plotly", "scipy")},
    }


def key_of(bars: pd.DataFrame, *settings: Any) -> str:
    """Return the digest of bars, settings (dataclasses), code, libraries and processor.

    Equal keys, equal results.
    """
    attributes = {name: bars.attrs.get(name) for name in ("instrument", "timezone", "stamp")}
    return _digest(
        {
            "bars": digest_bars(bars),
            "attributes": attributes,
            "settings": [_plain(part) for part in settings],
            "code": code_digest(*CODE),
            "machine": machine(),
        }
    )


def _plain(part: Any) -> Any:
    return (
        {type(part).__name__: asdict(part)}
        if is_dataclass(part) and not isinstance(part, type)
        else part
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
