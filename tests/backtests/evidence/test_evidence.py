from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import Trials, evidence_of
from backtests.evidence.verdict import judge, p_words
from tests.helpers.decisions import planted_decisions

# A fifth of the resamples: enough for effects as clear as these.
quick_evidence = partial(evidence_of, resamples=400)


@pytest.fixture(scope="module")
def skilled():
    return quick_evidence(planted_decisions(0.3))


@pytest.fixture(scope="module")
def lucky():
    return quick_evidence(planted_decisions(0.0))


def test_skill_is_an_edge(skilled):
    verdict = judge(skilled)
    assert verdict.word == "edge"
    assert verdict.sentence.startswith("edge: AUC 0.6") and "2000 decisions." in verdict.sentence


def test_outcomes_that_overlap_are_resampled_in_blocks_as_long():
    assert quick_evidence(replace(planted_decisions(0.0), horizon=30)).block == 30


@pytest.mark.parametrize(
    "p, words", [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.0005, "= 0.001"), (0.05, "= 0.050")]
)
def test_no_p_is_said_to_be_zero(p, words):
    assert p_words(p) == words


def test_luck_is_not(lucky):
    assert judge(lucky).word in ("no edge", "cannot tell")
    assert lucky.luck > 0.01


def test_many_decisions_without_skill_are_no_edge():
    assert judge(quick_evidence(planted_decisions(0.0, n=12_000, seed=3))).word == "no edge"


@pytest.mark.parametrize(
    "skill, drift, cost", [(0.3, 0.0, 0.01), (0.1, 0.5, 1e-4), (0.3, 2.0, 1e-4)]
)
def test_a_forecast_that_earns_no_more_than_holding_is_no_edge(skill, drift, cost):
    assert (
        judge(quick_evidence(planted_decisions(skill, drift=drift, cost=cost))).word
        == "cannot tell"
    )


@pytest.mark.parametrize(
    "name, bounds, p, word",
    [
        ("auc", (0.501, 0.53), 0.04, "edge"),
        ("auc", (0.499, 0.53), 0.04, "cannot tell"),
        ("auc", (0.48, 0.519), 0.04, "no edge"),
        ("auc", (0.501, 0.519), 0.05, "no edge"),
        ("auc", (0.501, 0.53), None, "cannot tell"),
        ("less buy and hold", (-1e-9, 1e-3), 0.04, "cannot tell"),
    ],
)
def test_the_rule_is_the_one_written_down(skilled, name, bounds, p, word):
    interval = replace(skilled.intervals[name], lowest=bounds[0], highest=bounds[1])
    changed = replace(skilled, superiority=p, intervals=skilled.intervals | {name: interval})
    assert judge(changed).word == word


def test_without_forecasts_nothing_can_be_told():
    silent = replace(
        planted_decisions(0.3), probability=np.full(2000, np.nan), strategy=np.zeros(2000)
    )
    evidence = quick_evidence(silent)
    assert judge(evidence).sentence == "cannot tell: no forecast could be judged."
    assert evidence.sharpe is None and evidence.direction is None and evidence.break_even is None


@pytest.mark.parametrize("n", [48, 49, 55, 70])
def test_few_decisions_leave_everything_open(n):
    assert judge(quick_evidence(planted_decisions(0.0, n=n))).word == "cannot tell"


def test_the_break_even_cost_eats_all_of_the_gross_return(skilled):
    at_break_even = quick_evidence(planted_decisions(0.3, cost=skilled.break_even * 1e-4))
    assert at_break_even.net == pytest.approx(0, abs=1e-12)
    assert at_break_even.gross == skilled.gross


def test_the_cost_grid_falls_from_gross(skilled):
    assert [row.cost for row in skilled.costs] == [0, 1, 2, 5, 10, 20]
    assert skilled.costs[0].mean == pytest.approx(skilled.gross)
    assert skilled.costs[1].mean == pytest.approx(skilled.net)
    assert all(np.diff([row.total for row in skilled.costs]) < 0)


def test_every_benchmark_has_its_figures_and_its_difference(skilled):
    assert list(skilled.rivals) == [STRATEGY, "buy and hold", "last return"]
    for name in ("buy and hold", "last return"):
        difference = skilled.rivals[STRATEGY]["mean"] - skilled.rivals[name]["mean"]
        assert skilled.intervals[f"less {name}"].value == pytest.approx(difference)


def test_the_tests_against_luck_find_skill(skilled):
    assert skilled.luck == pytest.approx(1 / 201)
    assert skilled.direction[1] < 1e-6 and skilled.losses["logistic"][0] < -5
    assert skilled.superiority < 0.01 and skilled.superiority_to_cash < 0.01


def test_more_trials_deflate_the_sharpe_ratio():
    alone, among_many = (
        quick_evidence(planted_decisions(0.05), Trials(others))
        for others in ((), tuple(np.linspace(-0.05, 0.05, 99)))
    )
    assert alone.sharpe.deflated == alone.sharpe.probable > among_many.sharpe.deflated
    assert (alone.sharpe.trials, among_many.sharpe.trials) == (1, 100)


def test_a_strategy_worse_than_holding_by_its_interval_is_said_to_be(skilled):
    gain = replace(skilled.intervals["less buy and hold"], lowest=-9e-4, highest=-1.2e-5)
    worse = replace(skilled, intervals=skilled.intervals | {"less buy and hold": gain})
    words = "worse than buy-and-hold: its 99 % upper bound is -0.12 bp per bar; test"
    assert words in judge(worse).sentence
    assert "worse" not in judge(skilled).sentence
