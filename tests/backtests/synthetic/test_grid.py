"""The verdict on decisions of known truth: how often it is wrong, and how often it sees."""

from dataclasses import replace

import numpy as np
import pytest

from backtests.evidence.alpha import figures_of
from backtests.synthetic.grid import CellResult, judge_cells
from backtests.synthetic.skills import CELLS, DAYS, Cell, decisions_in, truth_of

BY_NAME = {cell.name: cell for cell in CELLS}


def long_where_known(moves, draw):
    return (moves.known > 0).astype(float)


STRONG = Cell("strong", long_where_known, skill=0.2, drift=0.0003)


def test_the_truth_of_a_coin_is_none_and_of_full_holding_too():
    for name in ("coin", "coin under drift", "always long", "always short"):
        truth = truth_of(BY_NAME[name], n=200_000)
        assert DAYS * truth.alpha == pytest.approx(0, abs=1e-3), name
        assert truth.auc == 0.5


def test_a_timer_of_volatility_has_an_alpha_and_no_timing():
    """Low volatility is held under drift: beta falls by more than the mean."""
    truth = truth_of(BY_NAME["volatility timer"], n=200_000)
    assert DAYS * truth.alpha > 0.01 and abs(DAYS * truth.timing) < 1e-3 and truth.auc is None


def test_costs_are_in_the_truth():
    free, paid = (
        truth_of(BY_NAME[name], 200_000) for name in ("skill .1", "skill .1 that pays 2 bp")
    )
    # A position that is taken anew on every other decision pays two basis points each time.
    assert free.alpha - paid.alpha == pytest.approx(1e-4, rel=0.02)
    assert free.auc == paid.auc == pytest.approx(0.55, abs=0.01)


def test_a_long_history_has_the_figures_of_the_truth():
    found = figures_of(decisions_in(STRONG, 100_000, seed=4).record, resamples=50).intervals
    truth = truth_of(STRONG, 200_000)
    assert found["alpha"].value == pytest.approx(truth.alpha, rel=0.1)
    assert found["timing at close"].value == pytest.approx(truth.timing, rel=0.1)
    assert found["auc"].value == pytest.approx(truth.auc, abs=0.005)


def test_the_same_seed_gives_the_same_decisions():
    one, same, other = (decisions_in(STRONG, 50, seed).moves for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.fixture(scope="module")
def results() -> list[CellResult]:
    names = ("coin under drift", "always long", "volatility timer")
    # A tenth of the resamples: enough for effects as clear as these.
    return judge_cells(60, (600,), [*(BY_NAME[name] for name in names), STRONG], resamples=200)


def test_promises_are_held(results):
    assert [result.faults for result in results] == [[], [], [], []]
    assert [result.runs for result in results] == [60] * 4


def test_full_holding_is_no_edge_and_strong_skill_mostly_one(results):
    _, holding, _, strong = results
    assert holding.words["no edge"] == 60
    assert strong.words["edge"] > 30 and strong.promised == pytest.approx(
        strong.words["edge"] / 60, abs=0.2
    )


def test_whatever_the_processes_the_words_are_the_same(results):
    cells = (BY_NAME["coin under drift"],)
    again = judge_cells(60, (600,), cells, jobs=2, resamples=200)
    assert again[0].words == results[0].words


def test_a_broken_promise_is_named(results):
    strong = results[-1]
    silent = replace(strong, words={"edge": 0, "worse": 0, "no edge": 0, "cannot tell": 60})
    assert '"edge" in 0 of 60, promised' in silent.faults[0]
    wrong = replace(strong, words={"edge": 40, "worse": 20, "no edge": 0, "cannot tell": 0})
    assert "a wrong word in 20 of 60" in wrong.faults[0]
    alarm = replace(results[0], words={"edge": 20, "worse": 0, "no edge": 0, "cannot tell": 40})
    assert alarm.wrong == 20
