"""Paper books: their track record, and the verdict at no cost and at the stated one."""

from dataclasses import replace

import numpy as np
import pytest

from backtests.evidence.books import Books, equity_of
from backtests.evidence.scores import BEST
from backtests.evidence.verdict import BOOK_RULE, NO_COST, PARTS_RULE, judge_book
from tests.helpers.panels import planted_panel

FEW = 500  # resamples


@pytest.fixture(scope="module")
def skilled():
    return Books(planted_panel(0.2))


def verdict(books, cost, words="net of costs"):
    return judge_book(books.figures(cost, resamples=FEW), books.panel.ranked, words)


def test_skill_is_an_edge_at_no_cost_and_none_at_a_cost_that_eats_it(skilled):
    free, dear = verdict(skilled, 0.0, NO_COST), verdict(skilled, 0.01)
    assert free.word == "edge" and free.rule == BOOK_RULE
    assert dear.word == "worse"
    assert "a year over cash (beta 0.00)" in free.reasons and "at no cost +" in free.reasons
    assert "within dates, 99 % bounds" in free.reasons and "net of costs -" in dear.reasons


def test_no_skill_is_no_edge():
    words = [verdict(Books(planted_panel(0.0, seed=seed)), 0.0).word for seed in range(8)]
    assert words.count("edge") == 0


def test_a_common_move_pays_nobody_who_is_long_and_short_as_much():
    """In the drift of all names a relative forecast has no part."""
    calm, rising = (Books(planted_panel(0.2, drift=drift)) for drift in (0.0, 1.0))
    assert rising.returns(0.0)["strategy"] == pytest.approx(calm.returns(0.0)["strategy"])


def test_whether_a_move_came_is_not_known_when_its_name_is_ranked(skilled):
    panel = skilled.panel
    best = panel.scores["strategy"][7].argmax()
    moves = panel.moves["open"].copy()
    moves[7, best] = np.nan
    books = Books(replace(panel, moves=panel.moves | {"open": moves}))
    assert books.weights["strategy"][7].tolist() == skilled.weights["strategy"][7].tolist()
    assert books.weights["strategy"][7, best] > 0


def test_directions_are_held_in_equal_parts_beside_all_held():
    books = Books(planted_panel(0.3, outcome="direction"))
    panel, found = books.panel, verdict(Books(planted_panel(0.3, outcome="direction")), 0.0)
    held = panel.held["strategy"] * panel.moves["open"]
    assert books.returns(0.0)["strategy"] == pytest.approx(held.mean(axis=1))
    assert books.benchmark(0.0) == pytest.approx(panel.moves["open"].mean(axis=1))
    assert "over holding all" in found.reasons and "within folds" in found.reasons
    assert found.rule == PARTS_RULE and found.word == "edge"


def test_the_test_takes_in_all_that_forecast_but_the_best_possible(skilled):
    panel = skilled.panel
    known = Books(replace(panel, scores=panel.scores | {BEST: panel.moves["open"]}))
    record = known.record(0.0)
    assert set(record.tried) == {"strategy", "logistic", "reversal"}
    assert set(record.others) == {"logistic", "reversal"}
    assert known.returns(0.0)[BEST].mean() > 5 * known.returns(0.0)["strategy"].mean()


def test_a_fill_at_the_close_has_its_part_in_the_verdict(skilled):
    panel = skilled.panel
    nowhere = {
        **panel.moves,
        "close": np.random.default_rng(99).normal(0, 0.01, panel.labels.shape),
    }
    found = verdict(Books(replace(panel, moves=nowhere)), 0.0)
    assert found.word == "cannot tell"
    assert "it lacks a gain of the timing with fills at the close decided at." in found.reasons


def test_bars_that_nobody_traded_so_forbid_an_edge(skilled):
    flag = {"name": "gaps", "identity": False, "accepted": False, "sentence": "n01: gaps."}
    flagged = Books(replace(skilled.panel, flags=[flag]))
    found = verdict(flagged, 0.0)
    assert found.word == "cannot tell" and found.reasons.startswith("n01: gaps.")


def test_the_equity_grows_by_the_returns(skilled):
    equity = equity_of(skilled, 0.001)
    assert equity["strategy"].iloc[-1] == pytest.approx(
        np.prod(1 + skilled.returns(0.001)["strategy"])
    )
    assert equity["before_costs"].iloc[-1] > equity["strategy"].iloc[-1]
    assert (equity["benchmark"] == 1).all() and equity.index.name == "date"
