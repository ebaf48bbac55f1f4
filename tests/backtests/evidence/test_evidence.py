from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from backtests.evidence.decisions import STRATEGY
from backtests.evidence.evidence import Trials, evidence_of
from backtests.evidence.verdict import judge, p_words
from model.bars.artefacts import FlagRecord
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
    assert verdict.word == "edge" and "it lacks" not in verdict.sentence
    assert verdict.sentence.startswith("edge: alpha +") and "AUC 0.6" in verdict.sentence
    assert "2,000 decisions show an alpha of " in verdict.sentence


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
    "cost, word, words",
    [
        (0.01, "worse", "alpha's 99 % lower bound above 0"),
        (0.0022, "cannot tell", "alpha's 99 % lower bound above 0"),
    ],
)
def test_a_forecast_that_costs_eat_is_no_edge(cost, word, words):
    """Right as it is on the direction."""
    evidence = quick_evidence(planted_decisions(0.3, cost=cost))
    assert evidence.intervals["auc"].lowest > 0.55
    assert judge(evidence).word == word and words in judge(evidence).sentence
    assert "no number would show the alpha found, which is not above 0;" in judge(evidence).sentence


@pytest.mark.parametrize(
    "name, bounds, p, word",
    [
        ("auc", (0.501, 0.53), 0.04, "edge"),
        ("auc", (0.499, 0.53), 0.04, "cannot tell"),
        ("auc", (0.48, 0.519), 0.04, "no edge"),
        ("auc", (0.501, 0.519), 0.05, "no edge"),
        ("auc", (0.501, 0.53), 0.05, "cannot tell"),
        ("auc", (0.501, 0.53), None, "cannot tell"),
        ("alpha", (0.0, 1e-3), 0.04, "cannot tell"),
        ("alpha", (-1e-3, 0.009 / 252), 0.04, "no edge"),
        ("alpha", (-1e-3, 0.011 / 252), 0.04, "cannot tell"),
        ("timing at close", (0.0, 1e-3), 0.04, "cannot tell"),
        ("timing at open", (-1e-3, -1e-4), 0.04, "edge"),
        ("gain", (-1e-3, -1e-4), 0.04, "edge"),
    ],
)
def test_the_rule_is_the_one_written_down(skilled, name, bounds, p, word):
    interval = replace(skilled.intervals[name], lowest=bounds[0], highest=bounds[1])
    changed = replace(skilled, superiority=p, intervals=skilled.intervals | {name: interval})
    assert judge(changed).word == word


def test_worse_comes_first_and_needs_both_bounds(skilled):
    below = {name: replace(skilled.intervals[name], highest=-1e-9) for name in ("alpha", "gain")}
    assert judge(replace(skilled, intervals=skilled.intervals | below)).word == "worse"
    for name, interval in below.items():
        one = replace(skilled, intervals=skilled.intervals | {name: interval})
        assert judge(one).word != "worse"


def test_without_forecasts_and_positions_there_is_no_edge():
    silent = replace(
        planted_decisions(0.3), probability=np.full(2000, np.nan), strategy=np.zeros(2000)
    )
    evidence = quick_evidence(silent)
    assert judge(evidence).word == "no edge" and "auc" not in evidence.intervals
    assert "none of which took a position" in judge(evidence).sentence
    assert evidence.sharpe is None and evidence.direction is None and evidence.break_even is None


def test_moves_of_nothing_count_in_no_pair():
    """A forecast of standstill is none of direction."""
    decisions = planted_decisions(0.0, n=600)
    still = np.arange(600) % 2 == 0
    labels = np.where(still, 0.0, decisions.labels)
    knows = np.where(still, 0.1, decisions.probability)
    with_ties = replace(decisions, labels=labels, probability=knows, ties=still)
    alone = replace(decisions, ties=still)
    assert quick_evidence(with_ties).intervals["auc"] == quick_evidence(alone).intervals["auc"]
    assert quick_evidence(with_ties).ties == 0.5


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
    assert list(skilled.benchmarks) == [STRATEGY, "buy-and-hold", "last return"]
    for name in ("buy-and-hold", "last return"):
        difference = skilled.benchmarks[STRATEGY].mean - skilled.benchmarks[name].mean
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


def flag(*, identity: bool, accepted: bool) -> FlagRecord:
    return FlagRecord(name="gaps", sentence="Opens lie.", identity=identity, accepted=accepted)


@pytest.mark.parametrize(
    "identity, accepted, edge, worse",
    [
        (True, True, "cannot tell", "worse"),
        (True, False, "cannot tell", "worse"),
        (False, True, "edge", "worse"),
        (False, False, "cannot tell", "cannot tell"),
    ],
)
def test_bars_that_nobody_traded_are_no_edge(skilled, identity, accepted, edge, worse):
    flags = [flag(identity=identity, accepted=accepted)]
    assert judge(replace(skilled, flags=flags)).word == edge
    assert judge(replace(skilled, flags=flags)).reasons.startswith("Opens lie. alpha +")
    losing = quick_evidence(planted_decisions(0.3, cost=0.01))
    assert judge(replace(losing, flags=flags)).word == worse


def test_the_spread_that_prices_imply_is_said_where_it_is_more_than_is_charged():
    """Prices that bounce between the sides of a spread of 60 bp, on 4,000 bars."""
    draw, n = np.random.default_rng(5), 4_000
    bounce = 0.003 * draw.choice([-1.0, 1.0], n + 1)
    moves = 0.005 * draw.standard_normal(n) + np.diff(bounce)
    bounced = replace(
        planted_decisions(0.0, n=n), moves=moves, fills=dict.fromkeys(("open", "close"), moves)
    )
    evidence = quick_evidence(bounced)
    implied = evidence.intervals["implied cost"]
    assert implied.lowest < 0.003 < implied.highest and implied.value == pytest.approx(
        0.003, rel=0.1
    )
    words = f"The prices imply at least {1e4 * implied.lowest:.1f} bp a side, 1 are charged"
    assert words in judge(evidence).sentence
    losing = judge(replace(evidence, break_even=-3.0)).sentence
    assert "1 are charged. " in losing and "would eat all" not in losing
    assert "3.0 would eat all" in judge(replace(evidence, break_even=3.0)).sentence
    dear = quick_evidence(replace(bounced, cost=0.005))
    assert "The prices imply" not in judge(dear).sentence


def test_clean_prices_imply_no_spread(lucky):
    assert lucky.intervals["implied cost"].lowest == 0
    assert "The prices imply" not in judge(lucky).sentence


def test_what_the_timing_gains_is_said_for_each_fill(skilled):
    gained = skilled.intervals["timing at open"]
    fills = {
        "timing at middle": replace(gained, value=2e-4, lowest=-1e-4),
        "timing at later": replace(gained, value=-3e-4, lowest=-9e-4),
    }
    said = judge(replace(skilled, intervals=skilled.intervals | fills)).sentence
    assert (
        f"Its timing gains, in bp per bar before costs, {1e4 * gained.value:+.2f} at the open, "
        "+2.00 at the middle of the next bar's range, -3.00 one bar later: at the open's own "
        "price only."
    ) in said
    fills["timing at middle"] = replace(gained, value=2e-4, lowest=1e-4)
    said = judge(replace(skilled, intervals=skilled.intervals | fills)).sentence
    assert "-3.00 one bar later." in said and "price only" not in said


def test_no_edge_names_the_area_that_pays_no_costs(skilled):
    area = skilled.intervals["auc"]
    left = "less than the 0.52 below which a forecast pays no costs"
    poor = replace(area, value=0.5, lowest=0.49, highest=0.519)
    assert left in judge(replace(skilled, intervals=skilled.intervals | {"auc": poor})).sentence
    assert left not in judge(replace(skilled, intervals=skilled.intervals | {"auc": area})).sentence


def test_no_edge_names_the_alpha_worth_having():
    many = planted_decisions(0.0, n=12_000, seed=3)
    evidence = quick_evidence(many, worth=0.5)
    assert "less than the 50.0% that is worth having" in judge(evidence).sentence
    assert evidence.worth == 0.5 / 252
