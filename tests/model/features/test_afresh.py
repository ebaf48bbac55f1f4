"""What a feature keeps from call to call is found by a process that begins without it."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from model.errors import FeatureError
from model.features.own import known_feature
from model.features.registry import register_feature
from model.features.stability import require_stable, tolerances
from model.supplied import FEATURE, named_in_module
from tests.helpers.makers import random_bars
from tests.model.features.test_stability import DAYS, Remembers, refusal, returns

# A week's close, looked up once and kept: tomorrow's, wherever all bars were shown at once.
CLOSE_OF_A_WEEK = """
from functools import cached_property, lru_cache

import pandas as pd

from closes import close_of, remembered, shown

print("loaded")


class Week:
    name, lookback = "week", 10

    def transform(self, bars):
        weeks = bars.index.to_period("W")
        for week, close in bars["close"].groupby(weeks).last().items():
            remembered.setdefault(week, close)
        return pd.DataFrame({"to_week": [remembered[week] for week in weeks]}, bars.index)


class Cached(Week):
    name = "cached"

    def transform(self, bars):
        shown[:] = [bars["close"]]
        weeks = bars.index.to_period("W").astype(str)
        return pd.DataFrame({"to_week": [close_of(week) for week in weeks]}, bars.index)


class Exact(Cached):
    name, exact = "exact", True


class Slotted(Week):
    name = "slotted"
    __slots__ = ("_kept",)

    def __init__(self):
        self._kept = {}

    def transform(self, bars):
        weeks = bars.index.to_period("W")
        for week, close in bars["close"].groupby(weeks).max().items():
            self._kept.setdefault(week, close)
        return pd.DataFrame({"to_week": [self._kept[week] for week in weeks]}, bars.index)


class Last:
    name, lookback = "last", 10

    @lru_cache
    def weight(self, bars):
        return 1 / bars

    @cached_property
    def bars(self):
        return 5

    def transform(self, bars):
        return pd.DataFrame({"mean": bars["close"].rolling(5).sum() * self.weight(self.bars)})


slotted = Slotted()
"""
BESIDE = """
from functools import lru_cache

remembered, shown = {}, []


@lru_cache
def close_of(week):
    [closes] = shown
    return float(closes[closes.index.to_period("W").astype(str) == week].iloc[-1])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "weeks.py").write_text(CLOSE_OF_A_WEEK)
    (tmp_path / "closes.py").write_text(BESIDE)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["Week", "Cached", "Exact", "Slotted", "slotted"])
def test_a_cache_in_which_the_first_value_stays_is_found(folder: Path, name: str) -> None:
    module, _ = named_in_module(f"{folder / 'weeks.py'}:{name}", FEATURE)
    with pytest.raises(FeatureError, match="in a fresh process .* keeps something from call to"):
        require_stable([known_feature(getattr(module, name))], {"": DAYS})


def test_a_cache_that_one_instrument_fills_for_another_is_found(folder: Path) -> None:
    module, _ = named_in_module(f"{folder / 'weeks.py'}:Week", FEATURE)
    known = known_feature(module.Week)
    # Without its own week's close: what is left is that of the other instrument.
    module.remembered.update(DAYS["close"].groupby(DAYS.index.to_period("W")).last().to_dict())
    with pytest.raises(FeatureError, match="keeps something"):
        require_stable([known], {"a": DAYS, "b": random_bars(300, seed=5)})


def test_a_cache_of_what_is_always_the_same_is_no_leak(folder: Path) -> None:
    module, _ = named_in_module(f"{folder / 'weeks.py'}:Last", FEATURE)
    require_stable([known_feature(module.Last)], {"": DAYS})


@pytest.mark.parametrize("far", [1e9, 1e160, 1e308])
def test_an_outlier_hides_no_leak(far: float) -> None:
    """Of which the deviation of all values would be so large that nothing else differs."""

    def leak(bars: pd.DataFrame) -> pd.Series:
        return returns(bars).shift(-1).where(bars.index != DAYS.index[250], far)

    assert "looks 1 bar ahead" in refusal(leak)


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_a_column_of_flags_is_measured_by_its_flags(share: float) -> None:
    flags = np.random.default_rng(1).random((1_000, 1)) < share
    assert 5e-8 < tolerances(flags.astype(float))[0] <= 1.5e-6


def test_what_a_script_has_used_before_must_hold_nothing_of_it(folder: Path) -> None:
    module, _ = named_in_module(f"{folder / 'weeks.py'}:Week", FEATURE)

    class Own(module.Week):  # type: ignore[misc,name-defined]
        seen: ClassVar[dict[object, float]] = {}

        def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
            weeks = bars.index.to_period("W")
            for week, close in bars["close"].groupby(weeks).last().items():
                self.seen.setdefault(week, close)
            return pd.DataFrame({"x": [self.seen[week] for week in weeks]}, bars.index)

    Own().transform(DAYS)  # as who looks at it first
    with pytest.raises(FeatureError, match="hold nothing that its calls change, .*py:Own"):
        register_feature(Own)


def test_what_no_fresh_process_can_make_is_refused_with_a_way_out() -> None:
    class Locked(Remembers):
        def __init__(self) -> None:
            self._lock = threading.Lock()

    known = known_feature(Locked())
    with pytest.raises(
        FeatureError, match=r"must be one that a fresh process .* got TypeError: ca"
    ):
        require_stable([known], {"": DAYS})
