"""Any sequence of bars, spoilt in any way: the account does what it does on the sound ones."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checkpoint.checkpoint import Checkpoint
from strategy_plugin.guard import JUMP, LATE, REPEATED, REVISED
from tests.helpers.hosts import Watched, host, series, traded
from tests.helpers.live import Tick, live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

PRICES = ("open", "high", "low", "close")
NAN, INF = float("nan"), float("inf")


class Spoilt(NamedTuple):
    """A bar at fault that arrives after a sound one: why, and how it comes of its neighbours."""

    kind: str
    field: str
    number: float
    back: int

    def tick(self, sound: list[Tick], at: int) -> Tick:
        """Return the bar as it arrives after bar `at` of the sound ones."""
        last, later = (
            sound[at],
            sound[at]._replace(timestamp=sound[at].timestamp + pd.Timedelta(minutes=5)),
        )
        return {
            "a number that is none": lambda: later._replace(**{self.field: self.number}),
            "high below low": lambda: later._replace(high=last.low * 0.99),
            "times": lambda: Tick(later.timestamp, *(price * self.number for price in last[1:])),
            "again": lambda: last,
            "revised": lambda: last._replace(volume=last.volume + 1),
            "old": lambda: sound[max(0, at - self.back)]._replace(
                timestamp=last.timestamp - pd.Timedelta(minutes=self.back)
            ),
            "without a timestamp": lambda: last._replace(timestamp=pd.NaT),
        }[self.kind]()


KINDS = {
    "again": REPEATED,
    "revised": REVISED,
    "old": LATE,
    "without a timestamp": LATE,
    "times": JUMP,
    "high below low": "high below low",
}
NO_PRICES = st.sampled_from([NAN, INF, -INF]) | st.floats(-1e9, 0)
NO_VOLUMES = st.sampled_from([NAN, INF, -INF]) | st.floats(-1e9, -1e-9)
FACTORS = st.floats(12, 1e6) | st.floats(1e-6, 1 / 12)
FAULTS = st.one_of(
    st.builds(
        Spoilt, st.just("a number that is none"), st.sampled_from(PRICES), NO_PRICES, st.just(0)
    ),
    st.builds(Spoilt, st.just("a number that is none"), st.just("volume"), NO_VOLUMES, st.just(0)),
    st.builds(Spoilt, st.just("times"), st.just(""), FACTORS, st.just(0)),
    st.builds(
        Spoilt,
        st.sampled_from(sorted(KINDS.keys() - {"times"})),
        st.just(""),
        st.just(0.0),
        st.integers(1, 40),
    ),
)


class Sequence(NamedTuple):
    """Which bars are missing, and what arrives after which of the others."""

    missing: frozenset[int]
    spoilt: list[tuple[int, Spoilt]]

    def sound(self, bars: list[Tick]) -> list[Tick]:
        return [tick for number, tick in enumerate(bars) if number not in self.missing]

    def delivered(self, bars: list[Tick]) -> list[Tick]:
        sound, found = self.sound(bars), []
        for at, tick in enumerate(sound):
            found += [tick, *(fault.tick(sound, at) for place, fault in self.spoilt if place == at)]
        return found


def sequences(count: int, first: int = 1) -> st.SearchStrategy[Sequence]:
    """Any sequence of `count` bars, sound up to number `first`."""
    numbers = st.integers(first, count - 1)
    return st.builds(
        Sequence,
        st.frozensets(numbers, max_size=6),
        st.lists(st.tuples(numbers, FAULTS), max_size=12),
    )


class ToldFeed(type(live([]))):  # type: ignore[misc]
    """A live feed that brings its probabilities along: many runs in little time."""

    lines = ("probability",)

    def _show(self, tick: Tick) -> bool:
        self.lines.probability[0] = (
            0.9 if tick.timestamp is pd.NaT else 0.5 + 0.4 * math.sin(0.4 * tick.timestamp.hour)
        )
        return super()._show(tick)


FEW = ticks(random_bars(30, freq="h"))


def account(events: list[Tick]) -> Watched:
    """Trade bars of which every one is live."""
    return traded(
        host(ToldFeed(dataname=["LIVE", *events], name="live")),
        enter=0.55,
        exit=0.5,
        allow_short=True,
        stop_loss="4%",
    )


@cache
def sound_account(missing: frozenset[int]) -> Watched:
    return account(Sequence(missing, []).sound(FEW))


def require_the_same(found: Watched, clean: Watched) -> None:
    assert found.fills == clean.fills
    assert (found.broker.getvalue(), found.broker.getcash()) == (
        clean.broker.getvalue(),
        clean.broker.getcash(),
    )
    assert np.isfinite([found.broker.getvalue(), found.broker.getcash()]).all()


def require_guarded(sequence: Sequence) -> None:
    sound, delivered = sequence.sound(FEW), sequence.delivered(FEW)
    found = account(delivered)
    require_the_same(found, sound_account(sequence.missing))
    counts = found.traded[0].guard.counts
    assert sum(counts.values()) == len(delivered) - len(sound)
    for kind, fault in KINDS.items():
        places = [at for at, spoilt in sequence.spoilt if spoilt.kind == kind and at < len(sound)]
        assert counts[fault] >= len(places)


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=100, deadline=None)
@given(sequences(len(FEW)))
def test_no_sequence_of_bars_spoils_the_account(sequence: Sequence) -> None:
    require_guarded(sequence)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=10_000, deadline=None)
@given(sequences(len(FEW)))
def test_no_sequence_of_ten_thousand_spoils_the_account(sequence: Sequence) -> None:
    require_guarded(sequence)


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
def test_without_the_guard_such_bars_do_spoil_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategy_plugin.guard.BarGuard.__call__", lambda *_: False)
    events = Sequence(
        frozenset(),
        [(at, Spoilt("a number that is none", "open", NAN, 0)) for at in range(len(FEW))],
    ).delivered(FEW)
    assert np.isnan(account(events).broker.getvalue())


MANY = random_bars(215, freq="h")
MAX_GAP = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return random_checkpoint(MANY, seed=3)


@pytest.fixture(scope="module")
def path(model: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guarded") / "model.ckpt"
    model.save(path)
    return path


def require_whole_windows(sequence: Sequence, model: Checkpoint, path: Path) -> None:
    """Each probability is that of 150 sound bars without a long gap, and all such bars have one."""
    bars = ticks(MANY)
    sound = MANY.drop(MANY.index[sorted(sequence.missing)])
    found = traded(
        host(live(["LIVE", *sequence.delivered(bars)])),
        checkpoint=str(path),
        max_gap=MAX_GAP,
        enter=0.5,
        exit=0.5,
    )
    torn = np.r_[False, np.diff(sound.index) > (MAX_GAP + 1) * model.bar_interval]
    whole = np.array(
        [end >= 150 and not torn[end - 149 : end].any() for end in range(1, len(sound) + 1)]
    )
    expected = np.full(len(sound), NAN)
    expected[149:] = model.probabilities(sound)
    np.testing.assert_allclose(
        series(found.shown["live"], len(sound)), np.where(whole, expected, NAN), rtol=0, atol=1e-6
    )
    # Decided at the close of the bar before.
    assert all(whole[fill.bar - 2] for fill in found.fills["live"])


@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=4, deadline=None)
@given(sequence=sequences(len(MANY)))
def test_no_window_holds_a_bar_at_fault_or_a_long_gap(
    sequence: Sequence, model: Checkpoint, path: Path
) -> None:
    require_whole_windows(sequence, model, path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::strategy_plugin.TradingWarning")
@settings(max_examples=300, deadline=None)
@given(sequence=sequences(len(MANY)))
def test_no_window_of_three_hundred_runs_holds_a_bar_at_fault(
    sequence: Sequence, model: Checkpoint, path: Path
) -> None:
    require_whole_windows(sequence, model, path)


def test_a_run_of_missing_bars_silences_the_windows_across_it(
    model: Checkpoint, path: Path
) -> None:
    require_whole_windows(Sequence(frozenset(range(160, 165)), []), model, path)
