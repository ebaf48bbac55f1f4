"""Synthetic markets: their bars are bars, their probabilities are the exact ones, and nothing else
gives them away.
"""

from collections.abc import Callable
from functools import cache
from math import asin, pi, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, stdtr
from scipy.stats import chi2, kstest
from sklearn.metrics import log_loss, roc_auc_score

from backtests.synthetic import optimum as filters
from backtests.synthetic.markets import MARKETS, Market, correlated_walks, market, parse_market
from backtests.synthetic.optimum import Array
from model.bars.read import check_bars

KINDS = list(MARKETS)
N_BARS = 100_000
# What a market shows at a close; each but the first asks whether p leaves something unsaid.
SIGHTS: dict[str, Callable[[Market], pd.Series]] = {
    "probability": lambda sample: sample.probability,
    "last move": lambda sample: sample.bars["close"] / sample.bars["open"],
    "range": lambda sample: sample.bars["high"] / sample.bars["low"],
    "upper shadow": lambda sample: sample.bars["high"] / sample.bars["close"],
    "range of 20": lambda sample: (
        (sample.bars["high"] / sample.bars["low"]).rolling(20, min_periods=1).mean()
    ),
    "volume": lambda sample: sample.bars["volume"],
    "age": lambda sample: pd.Series(filters.latest_key(sample.bars, 4)[1], sample.bars.index),
}
# Accuracy, AUC, log loss and gross Sharpe per bar of the best possible forecast.
OPTIMUM = {
    "regime": (0.592, 0.612, 0.6735, 0.229),
    "volrev": (0.743, 0.826, 0.5085, 0.568),
    "echo": (0.8564, 0.937, 0.313, 1.03),
    "latch": (0.757, 0.846, 0.482, 0.715),
    "magecho": (0.977, 0.977, 0.107, 2.00),
    "shared": (0.6015, 0.639, 0.6625, 0.26),
    "leader": (0.6667, 0.730, 0.6065, 0.435),
    "weekly": (0.6385, 0.639, 0.6540, 0.352),
    "walkdrift": (0.529, 0.5, 0.6914, 0.056),
    "ar1": (0.5804, 0.614, 0.673, 0.207),
}
CLOSED_FORM = {
    ("echo", 0.9): 0.5 + asin(0.9) / pi,
    ("echo", 0.5): 0.5 + asin(0.5) / pi,
    ("leader", 0.5): 0.5 + asin(0.5) / pi,
    ("weekly", 0.35): float(ndtr(0.35)),
    ("ar1", 0.25): 0.5 + asin(0.25) / pi,
    ("magecho", 2): float(ndtr(2)),
    ("magecho", 0.5): float(ndtr(0.5)),
    ("walkdrift", 0.06): float(stdtr(5, 0.06 * sqrt(5 / 3))),
}
STRENGTH = {"magecho": "m", "walkdrift": "drift", "regime": "delta", "weekly": "delta"}


@cache
def sample(name: str, strength: float | None = None) -> Market:
    return market(
        name, N_BARS, 7, **({} if strength is None else {STRENGTH.get(name, "strength"): strength})
    )


def outcome(sample: Market) -> Array:
    """Whether the next bar closed up, for every bar but the last."""
    return (sample.bars["close"] > sample.bars["open"]).to_numpy()[1:].astype(float)


def scores(sample: Market) -> tuple[float, float, float, float]:
    up, probability = outcome(sample), sample.probability.to_numpy()[:-1]
    earned = (
        np.sign(probability - 0.5) * (sample.bars["close"] / sample.bars["open"] - 1).to_numpy()[1:]
    )
    accuracy = np.mean((probability > 0.5) == up)
    return (
        accuracy,
        roc_auc_score(up, probability),
        log_loss(up, probability),
        earned.mean() / earned.std(),
    )


def surprise(up: Array, probability: Array, groups: Array) -> float:
    """The chi-square tail probability of the counts of "up" in each group, were `probability`
    exact.
    """
    off = [(up - probability)[groups == group].sum() for group in np.unique(groups)]
    variance = [
        (probability * (1 - probability))[groups == group].sum() for group in np.unique(groups)
    ]
    return float(chi2.sf(sum(np.square(off) / variance), len(off)))


# The bars


@pytest.mark.parametrize("name", KINDS)
def test_bars_satisfy_the_invariants_of_bars(name: str) -> None:
    bars = market(name, 3_000).bars
    pd.testing.assert_frame_equal(check_bars(bars), bars)
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars[["low", "volume"]] > 0).all(axis=None)


@pytest.mark.parametrize("name", KINDS)
def test_bars_have_the_form_of_the_house(name: str) -> None:
    bars = market(name, 60).bars
    assert list(bars.columns) == ["open", "high", "low", "close", "volume"] and set(
        bars.dtypes
    ) == {np.dtype(float)}
    assert bars.index.name == "date" and bars.index.tz is None and bars.index.is_unique
    assert set(np.diff(bars.index)) == {np.timedelta64(1, "h")}
    assert bars.attrs == {"instrument": name, "timezone": "UTC", "stamp": "open"}


@pytest.mark.parametrize("name", KINDS)
def test_every_bar_opens_at_the_last_close(name: str) -> None:
    bars = market(name, 500).bars
    np.testing.assert_array_equal(bars["open"].to_numpy()[1:], bars["close"].to_numpy()[:-1])


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_gives_the_same_market_and_another_seed_another(name: str) -> None:
    first, again, other = market(name, 300, 3), market(name, 300, 3), market(name, 300, 4)
    pd.testing.assert_frame_equal(first.bars, again.bars, check_exact=True)
    pd.testing.assert_series_equal(first.probability, again.probability, check_exact=True)
    assert not np.isclose(first.bars, other.bars, rtol=1e-9).all(axis=1)[1:].any()


def test_two_markets_of_one_seed_share_no_noise() -> None:
    returns = {name: filters.moves(market(name, 10_000, 1).bars) for name in KINDS}
    correlation = np.corrcoef(list(returns.values())) - np.eye(len(KINDS))
    assert np.abs(correlation).max() < 0.05


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"magecho", "regime", "weekly"}))
def test_returns_have_the_standard_deviation_sigma(name: str) -> None:
    assert np.std(filters.moves(sample(name).bars)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["echo", "ar1"])
def test_the_first_bars_are_as_wide_as_the_later_ones(name: str) -> None:
    early = [filters.moves(market(name, 50, seed).bars) for seed in range(200)]
    assert np.std(early) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"volrev", "walk", "walkdrift", "weekly"}))
def test_high_and_low_follow_the_law_of_a_brownian_bridge(name: str) -> None:
    bars = sample(name).bars
    bars = bars[filters.latest_key(bars, 4)[1] > 0] if name == "latch" else bars
    x, high, low = (
        filters.log_ratio(bars[column], bars["open"]) for column in ("close", "high", "low")
    )
    above, below = np.exp(-2 * high * (high - x)), np.exp(-2 * low * (low - x))
    assert kstest(above, "uniform").pvalue > 0.001 and kstest(below, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(above, below)[0, 1]) < 4 / sqrt(len(x))


@pytest.mark.parametrize("name", KINDS)
def test_volume_is_persistent_and_blind_to_its_own_and_the_next_move(name: str) -> None:
    bars = sample(name).bars
    volume, moves = np.log(bars["volume"].to_numpy()), filters.moves(bars)
    rest = volume[1:] - 0.8 * volume[:-1]
    assert np.corrcoef(volume[1:], volume[:-1])[0, 1] == pytest.approx(0.8, abs=0.01)
    assert rest.std() == pytest.approx(0.3, abs=0.005)
    for seen in (moves[1:], np.abs(moves[1:]), moves[:-1]):
        assert abs(np.corrcoef(rest, seen)[0, 1]) < 4 / sqrt(N_BARS)


def test_keys_come_every_40_to_50_bars_with_a_small_body_and_a_wick_of_4_sigma() -> None:
    bars = sample("latch").bars
    direction, age = filters.latest_key(bars, 4)
    key = bars[age == 0]
    gaps = np.diff(np.flatnonzero(age == 0))
    assert set(gaps) == set(range(40, 51)) and (np.abs(filters.moves(key)) <= 0.3 + 1e-9).all()
    assert abs(direction[age == 0].mean()) < 4 / sqrt(len(key))
    upper = filters.log_ratio(key["high"], key[["open", "close"]].max(axis=1))
    lower = filters.log_ratio(key[["open", "close"]].min(axis=1), key["low"])
    np.testing.assert_allclose(np.where(direction[age == 0] > 0, lower, upper), 4, rtol=1e-9)


# The probability


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", KINDS)
def test_what_happens_agrees_with_the_probability_whatever_one_looks_at(
    name: str, sight: str
) -> None:
    seen = SIGHTS[sight](sample(name)).to_numpy()[:-1]
    groups = np.searchsorted(np.unique(np.quantile(seen, np.linspace(0.05, 0.95, 19))), seen)
    assert surprise(outcome(sample(name)), sample(name).probability.to_numpy()[:-1], groups) > 0.001


def test_a_wrong_probability_would_have_been_noticed() -> None:
    probability = sample("volrev", 0.68).probability.to_numpy()[:-1]
    groups = np.digitize(probability, np.linspace(0.05, 0.95, 19))
    assert (
        surprise(
            outcome(sample("volrev")), np.clip(0.5 + 1.05 * (probability - 0.5), 0.01, 0.99), groups
        )
        < 0.001
    )


@pytest.mark.parametrize("name", OPTIMUM)
def test_the_optimum_is_that_of_the_table(name: str) -> None:
    assert scores(sample(name)) == pytest.approx(OPTIMUM[name], abs=0.008)


@pytest.mark.parametrize("name, strength", CLOSED_FORM)
def test_the_accuracy_is_the_one_the_closed_form_gives(name: str, strength: float) -> None:
    assert scores(sample(name, strength))[0] == pytest.approx(
        CLOSED_FORM[name, strength], abs=4 * 0.5 / sqrt(N_BARS)
    )


@pytest.mark.parametrize(
    "name, strength, auc", [("echo", 0.5, 0.732), ("volrev", 0.45, 0.70), ("latch", 0.4, 0.68)]
)
def test_a_weaker_market_has_a_lower_optimum(name: str, strength: float, auc: float) -> None:
    assert scores(sample(name, strength))[1] == pytest.approx(auc, abs=0.01)


def test_a_walk_is_a_fair_coin_and_a_drifting_one_the_same_coin_at_every_bar() -> None:
    assert (market("walk", 100).probability == 0.5).all()
    assert market("walkdrift", 100).probability.nunique() == 1
    assert market("walkdrift", 100, drift=-0.06).probability.iloc[0] == pytest.approx(
        1 - 0.5293, abs=1e-3
    )


@pytest.mark.parametrize(
    "name, strength",
    [(name, 0) for name in ("echo", "volrev", "latch", "regime", "magecho", "shared", "leader")],
)
def test_without_strength_nothing_can_be_known(name: str, strength: float) -> None:
    np.testing.assert_allclose(sample(name, strength).probability, 0.5, rtol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_longer_market_begins_with_the_shorter_one(name: str) -> None:
    longer, shorter = market(name, 2_000), market(name, 700)
    np.testing.assert_allclose(longer.bars[:700], shorter.bars, rtol=1e-12)
    np.testing.assert_allclose(longer.probability[:700], shorter.probability, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name, strengths",
    [
        ("regime", {"delta": 30.0}),
        ("regime", {"delta": 5.0, "flip": 0.0}),
        ("volrev", {"strength": 0.999, "ratio": 100.0}),
        ("volrev", {"stay": 0.0}),
        ("echo", {"strength": 0.999, "lag": 4_000}),
        ("magecho", {"m": 8.0}),
        ("latch", {"shortest": 1, "longest": 1}),
        ("shared", {"common": 0.999, "strength": 0.999, "lag": 4_000}),
        ("walkdrift", {"drift": 3.0}),
    ],
)
def test_extreme_arguments_give_probabilities(name: str, strengths: dict[str, float]) -> None:
    assert market(name, 3_000, **strengths).probability.between(0, 1).all()


# How it is named


@pytest.mark.parametrize(
    ("text", "name", "strengths"),
    [
        ("echo", "echo", {}),
        ("echo:strength=0.5", "echo", {"strength": 0.5}),
        ("echo:strength=.5,lag=35", "echo", {"strength": 0.5, "lag": 35}),
    ],
)
def test_a_market_is_named_with_its_settings(
    text: str, name: str, strengths: dict[str, float]
) -> None:
    assert parse_market(text) == (name, strengths)


# What is refused


def test_an_unknown_market_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown market: 'ecko'\. Did you mean 'echo'\? Choose from: regime, volrev",
    ):
        market("ecko")


def test_an_unknown_market_like_none_is_refused_with_the_list() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown market: 'xyz'\. Choose from: regime, volrev, echo, latch, magecho",
    ):
        market("xyz")


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown argument of market 'echo': 'strenght'\. Did you mean 'strength'\?",
    ):
        market("echo", strenght=0.5)


@pytest.mark.parametrize(
    "name, argument, value, wanted",
    [
        ("echo", "strength", 1.0, "a number from 0 up to but not including 1"),
        ("ar1", "strength", -0.1, "a number from 0 up to but not including 1"),
        ("volrev", "strength", float("nan"), "a number from 0 up to but not including 1"),
        ("volrev", "ratio", 0.5, "a finite number from 1"),
        ("volrev", "stay", 1.0, "a number from 0 up to but not including 1"),
        ("regime", "delta", -1.0, "a finite number from 0"),
        ("regime", "flip", 1.0, "a number from 0 up to but not including 1"),
        ("magecho", "m", -2.0, "a finite number from 0"),
        ("latch", "wick", 1.0, "a finite number from 3"),
        ("latch", "body", -1.0, "a finite number from 0"),
        ("walk", "degrees", 2.0, "a finite number from 3"),
        ("walk", "beta", 0.95, "a number from 0 up to but not including 0.93"),
        ("walk", "alpha", 1.5, "a number from 0 up to but not including 1"),
        ("walkdrift", "drift", -np.inf, "a finite number"),
        ("echo", "lag", 0, "a whole number from 1"),
        ("magecho", "lag", 2.5, "a whole number from 1"),
        ("latch", "shortest", 0, "a whole number from 1"),
        ("shared", "common", 1.0, "a number from 0 up to but not including 1"),
        ("shared", "factor", -1, "a whole number from 0"),
        ("latch", "longest", 39, "a whole number from 40"),
        ("echo", "n_bars", 1, "a whole number from 2"),
        ("echo", "seed", -1, "a whole number from 0"),
    ],
)
def test_an_argument_out_of_range_is_refused(
    name: str, argument: str, value: float, wanted: str
) -> None:
    with pytest.raises(
        ValueError, match=rf"market '{name}': `{argument}` must be {wanted}, got {value!r}\."
    ):
        market(name, **{argument: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eccho", "unknown market: 'eccho'. Did you mean 'echo'?"),
        ("echo:strenght=0.5", "Did you mean 'strength'?"),
        (
            "echo:strength",
            "a market must be NAME or NAME:SETTING=NUMBER,..., got 'echo:strength'. "
            "Write it like echo:strength=0.5.",
        ),
        (
            "echo:strength=1.5",
            "market 'echo': `strength` must be a number from 0 up to but not including 1, got 1.5.",
        ),
        ("echo:lag=2.5", "market 'echo': `lag` must be a whole number from 1, got 2.5."),
    ],
)
def test_a_market_that_does_not_exist_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_market(text)
    assert message in str(refused.value)


def test_shared_markets_have_their_factor_in_common_and_their_echo_each_for_itself() -> None:
    moves = [filters.moves(market("shared", 20_000, seed, factor=9).bars) for seed in (1, 2, 3)]
    between = np.corrcoef(moves)[np.triu_indices(3, 1)]
    assert between == pytest.approx(0.5, abs=0.03)
    after = np.corrcoef([one[:-5] for one in moves], [one[5:] for one in moves])[:3, 3:]
    # Half of a move's variance is its own, of which it repeats .6 five bars later.
    assert after == pytest.approx(0.3 * np.eye(3), abs=0.03)


def test_correlated_walks_share_their_factor_and_nothing_else() -> None:
    universe = correlated_walks(5, 20_000, 3)
    moves = pd.DataFrame({name: np.log(bars["close"]).diff() for name, bars in universe.items()})
    between = moves.corr().to_numpy()[np.triu_indices(5, 1)]
    assert list(universe) == [f"walk-{place}" for place in range(1, 6)]
    assert between == pytest.approx(0.5, abs=0.03)
    # Nothing of a move is known before it, of its own or of another's.
    assert np.abs([moves[a].corr(moves[b].shift()) for a in moves for b in moves]).max() < 0.03
    longer = correlated_walks(5, 20_100, 3)["walk-2"].iloc[:20_000]
    pd.testing.assert_frame_equal(longer, universe["walk-2"])
