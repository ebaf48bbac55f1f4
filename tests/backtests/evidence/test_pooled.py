"""Several instruments judged as one."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.bootstrap import Interval
from backtests.evidence.pooled import in_equal_parts, pool
from backtests.evidence.verdict import judge_pool
from tests.helpers.decisions import planted_decisions

N = 1_000
TIMESTAMPS = pd.date_range("2020-01-01", periods=N, freq="D")


# A tenth of the resamples: enough for effects as clear as these.
quick_pool = partial(pool, resamples=200)


def decisions(skill, seed, n=N, start=0):
    timestamps = TIMESTAMPS[start : start + n]
    return planted_decisions(skill, seed=seed, n=n, timestamps=timestamps)


def instruments(*skills):
    return {f"m{number}": decisions(skill, 10 + number) for number, skill in enumerate(skills)}


@pytest.fixture(scope="module")
def skilled():
    return quick_pool(instruments(0.2, 0.2, 0.2))


@pytest.fixture(scope="module")
def mixed():
    return quick_pool(instruments(0.5, 0.0, 0.0, 0.0))


def test_equal_parts_are_the_mean_of_the_instruments_that_decide_there():
    two = {"a": decisions(0.0, 1), "b": decisions(0.0, 2, n=500, start=500)}
    both = in_equal_parts(two, "strategy")
    assert both.index.equals(TIMESTAMPS)
    assert both.iloc[0] == two["a"].returns["strategy"][0]
    assert both.iloc[-1] == pytest.approx(
        (two["a"].returns["strategy"][-1] + two["b"].returns["strategy"][-1]) / 2
    )


def test_a_skill_on_all_instruments_is_an_edge_and_surer_than_on_one(skilled):
    one = quick_pool(instruments(0.2))
    assert judge_pool(skilled).word == "edge"
    assert (
        skilled.intervals["auc"].high - skilled.intervals["auc"].low
        < one.intervals["auc"].high - one.intervals["auc"].low
    )


def test_luck_on_many_instruments_is_none():
    found = quick_pool(instruments(*[0.0] * 5))
    assert judge_pool(found).word != "edge" and found.outstanding == [] and found.series == 10
    assert "no single market stands out" in judge_pool(found).reasons


def test_the_one_instrument_with_skill_stands_out(mixed):
    assert mixed.outstanding == ["m0"]
    assert (
        "test for superior predictive ability over all 8 series p < 0.001;"
        in judge_pool(mixed).reasons
    )
    assert "standing out: m0; 4000 decisions on 4 markets." in judge_pool(mixed).reasons


def test_the_same_instrument_twice_adds_nothing(skilled):
    """What the instruments have in common stays common in every resample."""
    one = decisions(0.2, 0)
    once, twice = quick_pool({"a": one}), quick_pool({"a": one, "b": one})
    assert twice.intervals == once.intervals and twice.superiority == once.superiority


def test_an_instrument_without_forecasts_counts_in_money_alone():
    silent = replace(decisions(0.0, 1), probability=np.full(N, np.nan), strategy=np.zeros(N))
    found = quick_pool({"a": decisions(0.2, 10), "silent": silent})
    assert (
        found.intervals["auc"].value == quick_pool({"a": decisions(0.2, 10)}).intervals["auc"].value
    )
    assert (
        judge_pool(quick_pool({"silent": silent})).sentence
        == "cannot tell: no forecast could be judged."
    )


@pytest.mark.parametrize(
    "auc, gain, p, names, word",
    [
        ((0.501, 0.53), 1e-6, 0.04, [], "edge"),
        ((0.499, 0.53), 1e-6, 0.04, [], "cannot tell"),
        ((0.501, 0.53), -1e-6, 0.04, [], "cannot tell"),
        ((0.501, 0.53), 1e-6, 0.05, [], "cannot tell"),
        ((0.48, 0.519), 0.0, 0.5, [], "no edge"),
        ((0.48, 0.519), 0.0, 0.5, ["m1"], "cannot tell"),
    ],
)
def test_the_rule_is_the_one_written_down(skilled, auc, gain, p, names, word):
    intervals = {
        "auc": Interval(0.51, *auc, *auc),
        "less buy and hold": Interval(0.0, gain, 1e-3, gain, 1e-3),
    }
    assert (
        judge_pool(replace(skilled, intervals=intervals, superiority=p, outstanding=names)).word
        == word
    )


def test_of_many_names_the_first_are_said(skilled):
    many = replace(skilled, outstanding=[f"m{number}" for number in range(9)])
    assert "standing out: m0, m1, m2, m3, m4 and 4 more;" in judge_pool(many).reasons
