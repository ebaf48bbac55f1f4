"""Several instruments judged as one."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

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
    reasons = judge_pool(found).reasons
    assert "None stands out of 5 markets." in reasons and "  " not in reasons
    assert abs(found.correlation) < 0.1 and found.independent == pytest.approx(5 * N, rel=0.3)


def test_the_one_instrument_with_skill_stands_out(mixed):
    assert mixed.outstanding == ["m0"] and mixed.series == 8
    assert "Hansen's test p = 0.00" in judge_pool(mixed).reasons
    assert "m0 stands out of 4 markets." in judge_pool(mixed).reasons
    assert f"the 4,000 decisions are worth {mixed.independent:,.0f}" in judge_pool(mixed).reasons


def test_the_same_instrument_twice_adds_nothing(skilled):
    """What the instruments have in common stays common in every resample."""
    one = decisions(0.2, 0)
    once, twice = quick_pool({"a": one}), quick_pool({"a": one, "b": one})
    assert twice.superiority == once.superiority and twice.correlation == pytest.approx(1)
    assert twice.independent == pytest.approx(once.independent) == N
    for name, interval in once.intervals.items():
        assert vars(twice.intervals[name]) == pytest.approx(vars(interval), abs=1e-12)


def test_an_instrument_without_forecasts_counts_in_money_alone():
    silent = replace(decisions(0.0, 1), probability=np.full(N, np.nan), strategy=np.zeros(N))
    found = quick_pool({"a": decisions(0.2, 10), "silent": silent})
    assert (
        found.intervals["auc"].value == quick_pool({"a": decisions(0.2, 10)}).intervals["auc"].value
    )
    assert judge_pool(quick_pool({"silent": silent})).word == "no edge"


def test_a_market_that_stands_out_forbids_no_edge(skilled):
    worthless = replace(skilled.intervals["auc"], lowest=0.48, highest=0.519)
    changed = replace(skilled, intervals=skilled.intervals | {"auc": worthless}, outstanding=[])
    assert judge_pool(changed).word == "no edge"
    assert judge_pool(replace(changed, outstanding=["m1"])).word == "cannot tell"


def test_of_many_names_the_first_are_said(skilled):
    many = replace(skilled, outstanding=[f"m{number}" for number in range(9)])
    assert "m0, m1, m2, m3, m4 and 4 more stand out of 3 markets." in judge_pool(many).reasons
