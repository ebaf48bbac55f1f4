"""The probability of backtest overfitting, held against an implementation of its own."""

import math
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.overfitting import out_of_sample_logits, overfitting_probability


def naive_logits(returns, blocks):
    """By the words of the paper: each split's returns are joined, ratios and ranks taken anew."""
    n, trials = returns.shape
    borders = [number * n // blocks for number in range(blocks + 1)]
    parts = [returns[start:stop] for start, stop in pairwise(borders)]
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = naive_ratios([parts[number] for number in chosen])
        outside = naive_ratios([parts[number] for number in range(blocks) if number not in chosen])
        ranks = [
            sum(other < own for other in outside) + (outside.count(own) + 1) / 2
            for own, ratio in zip(outside, inside)
            if ratio == max(inside)
        ]
        relative = sum(ranks) / len(ranks) / (trials + 1)
        logits.append(math.log(relative / (1 - relative)))
    return logits


def naive_ratios(parts):
    joined = np.concatenate(parts)
    deviations = joined.std(axis=0, ddof=1)
    means = joined.mean(axis=0)
    return [mean / std if std else 0.0 for mean, std in zip(means.tolist(), deviations.tolist())]


def noise(seed, n=320, trials=12, skill=0.0):
    """Returns of 1 % a date without skill, but for the first trial."""
    returns = 0.01 * np.random.default_rng(seed).standard_normal((n, trials))
    returns[:, 0] += 0.01 * skill
    return returns


def of(returns, first="2020-01-01"):
    dates = pd.date_range(first, periods=len(returns), freq="D")
    return overfitting_probability([pd.Series(column, dates) for column in returns.T])


def without_trades(returns):
    returns[:, 1] = 0.0
    returns[100:, 2] = 0.0
    return returns


def with_twins(returns):
    """Two trials that are one, the best of all, and two that differ on the last date alone."""
    returns[:, 1] = returns[:, 0]
    returns[:-1, 3] = returns[:-1, 2]
    return returns


@pytest.mark.parametrize(
    "returns, blocks",
    [
        (noise(1), 4),
        (noise(2, n=333, trials=17), 10),
        (noise(3, skill=0.1), 8),
        (noise(4, n=163, trials=10), 16),
        (without_trades(noise(5)), 8),
        (with_twins(noise(6, skill=0.2)), 8),
    ],
    ids=["four blocks", "uneven blocks", "skill", "sixteen blocks", "flat", "ties"],
)
def test_the_logits_are_those_of_another_implementation(returns, blocks):
    expected = naive_logits(returns, blocks)
    assert out_of_sample_logits(returns, blocks) == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_probability_is_that_of_another_implementation():
    returns = noise(7, n=250, skill=0.05)
    expected = np.mean([logit <= 0 for logit in naive_logits(returns, 16)])
    assert of(returns).probability == pytest.approx(expected, rel=0, abs=1e-12)


def test_of_pure_noise_the_best_is_luck():
    found = [
        np.mean(out_of_sample_logits(noise(seed, n=400, trials=20), 8) <= 0) for seed in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_a_trial_that_is_better_everywhere_is_no_luck():
    assert of(noise(8, skill=1.0)).probability == 0.0


def test_returns_that_do_not_vary_have_a_ratio_of_nought():
    """They would else have the highest of all, by what rounding leaves of their variance."""
    returns = noise(15, skill=1.0)
    constant = np.full_like(returns[:, :1], 0.01)
    with_constant = out_of_sample_logits(np.hstack([returns, constant]), 8)
    with_nought = out_of_sample_logits(np.hstack([returns, 0 * constant]), 8)
    assert with_constant.tolist() == with_nought.tolist()


def test_the_order_of_the_trials_does_not_matter():
    returns = with_twins(noise(9, skill=0.2))
    assert of(returns[:, ::-1]) == of(returns)


def test_a_split_and_its_mirror_are_both_there():
    """The best trial of one half is the worst of the other: overfitting itself."""
    returns = noise(10, n=160)
    returns -= returns.mean(axis=0)
    assert of(returns).probability == 1.0


@pytest.mark.parametrize(
    "trials, words", [(1, "1 trial; ten are needed"), (9, "9 trials; ten are needed")]
)
def test_from_ten_trials_on(trials, words):
    found = of(noise(11, trials=trials))
    assert found.probability is None and found.blocks == 0
    assert found.sentence == f"probability of backtest overfitting: {words}"


def test_of_few_dates_the_blocks_are_fewer_and_that_is_said():
    found = of(noise(12, n=95))
    assert (found.blocks, found.dates, found.trials) == (8, 95, 12)
    assert found.sentence.endswith("(the dates are few: 8 blocks instead of 16)")
    assert "instead" not in of(noise(12, n=160)).sentence


def test_the_dates_are_those_that_all_trials_have():
    returns = noise(13, n=400)
    dates = pd.date_range("2020-01-01", periods=400, freq="D")
    series = [pd.Series(column, dates) for column in returns.T]
    shifted = [series[0][:-40], series[1][30:], *series[2:]]
    assert overfitting_probability(shifted) == of(returns[30:-40], first="2020-01-31")


def test_too_few_common_dates_are_said():
    dates = pd.date_range("2020-01-01", periods=100, freq="D")
    series = [pd.Series(column, dates) for column in noise(14, n=100).T]
    found = overfitting_probability([series[0][:60], series[1][40:], *series[2:]])
    assert found.probability is None
    assert "12 trials have 20 dates in common; 40 are needed" in found.sentence
