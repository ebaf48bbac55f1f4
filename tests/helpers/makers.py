"""What the tests of the plugin are made of.

Random bars, and small networks with random weights that need no training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.matching import matched
from model.checkpoint.member import Member
from model.checkpoint.record import Golden
from model.checkpoint.scaler import Scaler
from model.features.table import FeatureEngineer
from model.networks.bilstm import NetworkConfig
from model.networks.registry import make_network
from model.networks.transformer import TransformerConfig
from model.training.fitting import golden_window

# Several bars as one.
MERGED: dict[Any, Any] = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "volume": "sum",
}
COLUMNS = ["open", "high", "low", "close", "volume"]
SMALL = NetworkConfig(hidden=6, layers=2)
SMALLS: Mapping[str, Any] = {
    "bilstm": SMALL,
    "transformer": TransformerConfig(width=8, layers=2, heads=2, feed_forward=12),
}


def random_bars(
    count: int = 400, seed: int = 0, start: str = "2020-01-01", freq: str = "D"
) -> pd.DataFrame:
    """A random walk with gaps between the bars, wicks and volume."""
    draw = np.random.default_rng(seed)
    gaps, bodies = draw.normal(0, 0.01, count), draw.normal(0, 0.01, count)
    # Each open starts from the close before, as traded prices do.
    opens = 100 * np.exp(np.cumsum(gaps + bodies) - bodies)
    return _with_wicks(opens, bodies, draw, start, freq)


def walking_opens(
    count: int = 400, seed: int = 0, start: str = "2020-01-01", freq: str = "D"
) -> pd.DataFrame:
    """Bars whose opens alone walk: each close is forgotten by the next open, as no market does."""
    draw = np.random.default_rng(seed)
    opens = 100 * np.exp(np.cumsum(draw.normal(0, 0.01, count)))
    return _with_wicks(opens, draw.normal(0, 0.01, count), draw, start, freq)


def _with_wicks(
    open: np.ndarray, bodies: np.ndarray, draw: np.random.Generator, start: str, freq: str
) -> pd.DataFrame:
    count, close = len(open), open * np.exp(bodies)
    high = np.maximum(open, close) * np.exp(draw.exponential(0.004, count))
    low = np.minimum(open, close) * np.exp(-draw.exponential(0.004, count))
    values = np.column_stack((open, high, low, close, draw.integers(1_000, 9_000, count)))
    return pd.DataFrame(
        values,
        index=pd.date_range(start, periods=count, freq=freq, unit="ns", name="date"),
        columns=COLUMNS,
    )


def random_checkpoint(
    bars: pd.DataFrame,
    trained_until: Any = None,
    *,
    seed: int = 0,
    members: Sequence[str | Member] = ("bilstm",),
    golden: bool = True,
    **changes: Any,
) -> Checkpoint:
    """Networks with random weights.

    Small ones of these architectures, whose probabilities on these bars spread around one half, or
    members as they are.
    """
    # Checkpoint.engineer, before there is one.
    own = matched(changes.get("features", ()))
    only, context = changes.get("only", False), changes.get("context")
    features = FeatureEngineer(own, only=only, context=context).transform(bars).to_numpy()
    mean, scale = features.mean(axis=0).tolist(), np.maximum(features.std(axis=0), 1e-3).tolist()
    scaler = Scaler(tuple(mean), tuple(scale), (True,) * features.shape[1])
    fields: dict[str, Any] = dict(
        members=(),
        scaler=scaler,
        label="open",
        horizon=1,
        sequence_length=50,
        enter=0.5,
        exit=0.5,
        trained_until=pd.Timestamp(trained_until or bars.index[0]),
        instrument=None,  # a test may show it bars of any name
        bar_interval=bars.index[1] - bars.index[0],
        timezone=None,
        stamp="open",
        parts={},
        metrics={},
        config={},
        versions={},
    )

    def centred(member: Member) -> Member:
        logits = Checkpoint(**fields | {"members": (member,)}).logits(features)
        # No bar at exactly one half.
        member.weights["head.bias"] -= float(np.median(logits) + 0.01 * logits.std())
        return replace(member, temperature=float(logits.std()))

    made = tuple(
        given
        if isinstance(given, Member)
        else centred(random_member(given, seed + number, wide(given, features.shape[1])))
        for number, given in enumerate(members)
    )
    checkpoint = Checkpoint(**(fields | {"members": made} | changes))
    return replace(checkpoint, golden=golden_of(checkpoint, bars)) if golden else checkpoint


def wide(architecture: str, features: int) -> Any:
    """The config of a small network that reads so many columns."""
    return replace(SMALLS[architecture], features=features)


def random_member(
    architecture: str = "bilstm", seed: int = 0, network: Any = None, **changes: Any
) -> Member:
    """A network of a few cells with random weights."""
    torch.manual_seed(seed)
    config = network or SMALLS[architecture]
    fields: dict[str, Any] = dict(
        architecture=architecture,
        network=config,
        weights=make_network(architecture, config).state_dict(),
        seed=seed,
        temperature=1.0,
        metrics={},
        history=[],
    )
    return Member(**fields | changes)


def with_member(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    """The checkpoint with its first member changed."""
    first, *others = checkpoint.members
    return replace(checkpoint, members=(replace(first, **changes), *others))


def golden_of(checkpoint: Checkpoint, bars: pd.DataFrame) -> Golden:
    """The way of the first whole window, through the training side's code."""
    return golden_window(checkpoint, bars.iloc[: checkpoint.bars_needed])


def with_spoilt_golden(checkpoint: Checkpoint, part: str) -> Checkpoint:
    """The checkpoint with a part of its golden window off by twice what is allowed."""
    assert checkpoint.golden is not None
    value = getattr(checkpoint.golden, part)
    spoilt = value + 2e-5 if part == "probability" else (value[0] + 2e-5, *value[1:])
    changes: dict[str, Any] = {part: spoilt}
    return replace(checkpoint, golden=replace(checkpoint.golden, **changes))


def fed(bars: pd.DataFrame, numbers: Sequence[int] | None = None) -> FeatureBuffer:
    """A buffer that has seen the bars, numbered from 1 unless said otherwise."""
    buffer = FeatureBuffer()
    stamps, rows = bars.index.as_unit("ns").asi8.tolist(), bars.to_numpy().tolist()
    for number, stamp, row in zip(numbers or range(1, len(bars) + 1), stamps, rows):
        buffer.update(number, stamp, *row)
    return buffer
