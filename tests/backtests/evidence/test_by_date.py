"""Evidence by date: figures against those of scipy and of loops, and planted skill."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from backtests.evidence.books import Books
from backtests.evidence.bootstrap import AreaUnderCurve, Bootstrap, area_within_rows
from backtests.evidence.by_date import Halves, by_date, rank_correlations
from backtests.evidence.hypothesis_tests import diebold_mariano, log_losses
from backtests.evidence.panel import mean_of_ranks
from backtests.evidence.verdict import judge_book
from backtests.reports.terminal import describe_together
from tests.helpers.panels import planted_panel

COST = 2e-4
FEW = 200  # resamples


@pytest.fixture(scope="module")
def panel():
    return planted_panel(0.2, rival=0.05)


@pytest.fixture(scope="module")
def evidence(panel):
    return by_date(panel, Books(panel), COST, resamples=FEW)


@pytest.fixture(scope="module")
def rows(evidence):
    return evidence.forecasters.set_index("forecaster")


def test_the_rank_correlation_is_scipys_on_every_date():
    draw = np.random.default_rng(2)
    scores, moves = draw.integers(0, 6, (40, 15)).astype(float), draw.normal(size=(40, 15))
    scores[draw.random((40, 15)) < 0.2] = np.nan
    for found, score, move in zip(rank_correlations(scores, moves), scores, moves):
        known = np.isfinite(score)
        assert found == pytest.approx(spearmanr(score[known], move[known]).statistic)


@pytest.mark.parametrize("scores", [[1, 2, np.nan, np.nan], [3, 3, 3, 3], [np.nan] * 4])
def test_a_date_without_a_rank_correlation_has_none(scores):
    assert np.isnan(rank_correlations(np.array([scores], float), np.array([[1.0, 2, 3, 4]]))[0])


def test_the_area_within_rows_is_that_of_groups_where_each_row_is_drawn_once():
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 2, (30, 9)).astype(float)
    scores = draw.integers(0, 5, (30, 9)).astype(float)
    labels[draw.random((30, 9)) < 0.2] = np.nan
    scores[draw.random((30, 9)) < 0.2] = np.nan
    known = np.isfinite(labels) & np.isfinite(scores)
    row = np.nonzero(known)[0]
    groups = AreaUnderCurve(labels[known], scores[known], row, row)
    once = np.ones((30, 1))
    assert area_within_rows(labels, scores)(once) == pytest.approx(groups(once))


def test_a_date_that_is_drawn_twice_counts_twice():
    labels, scores = np.array([[1.0, 0], [1, 0], [1, 0]]), np.array([[2.0, 1], [1, 2], [1, 1]])
    [[area]] = area_within_rows(labels, scores)(np.array([[2.0], [1], [1]]))
    assert area == pytest.approx((2 * 1 + 0 + 0.5) / 4)


def test_the_spread_of_the_area_is_that_of_as_many_other_histories():
    """Dates that count as often as they are drawn, squared, would spread 1.7 times as far."""
    areas = [planted_panel(0.1, seed=seed, dates=150) for seed in range(150)]
    found = []
    for one in areas:
        figure = area_within_rows(one.labels, one.scores["strategy"])
        found.append(Bootstrap(150, 1, FEW).draw({"auc": figure})["auc"][0])
    between = np.std([draws[0] for draws in found])
    within = np.mean([draws[1:].std() for draws in found])
    assert within == pytest.approx(between, rel=0.15)


def test_what_is_known_of_a_planted_panel_is_found(rows):
    # Of normal laws with this correlation. Source: Pearson (1907).
    expected = 6 / np.pi * np.arcsin(0.2 / np.sqrt(1 + 0.2**2 + 0.05**2) / 2)
    strategy = rows.loc["strategy"]
    assert strategy["ic"] == pytest.approx(expected, abs=0.03)
    assert strategy["ic_low"] < expected < strategy["ic_high"] and strategy["ic_t"] > 5
    assert abs(rows.loc["reversal", "ic"]) < 0.03 and abs(rows.loc["reversal", "ic_t"]) < 3


def test_the_strategy_is_held_against_each_over_what_both_forecast(panel):
    silent = panel.scores["logistic"].copy()
    silent[:, ::2] = np.nan
    changed = replace(panel, scores=panel.scores | {"logistic": silent})
    row = by_date(changed, Books(changed), COST, resamples=FEW).forecasters.iloc[1]
    half = [
        rank_correlations(one[:, 1::2], panel.moves["open"][:, 1::2]).mean()
        for one in (panel.scores["strategy"], panel.scores["logistic"])
    ]
    assert row["ic_less"] == pytest.approx(half[0] - half[1])
    assert row["forecasts"] == 4_000 and row["auc_less"] > 0.05


@pytest.fixture(scope="module")
def joined():
    """A panel on which strategy and boosting know as much, each of something else."""
    panel = planted_panel(0.2, rival=0.2)
    scores = {"strategy": panel.scores["strategy"], "boosting": panel.scores["logistic"]}
    together = {"mean of ranks": mean_of_ranks(*scores.values())}
    return replace(panel, scores=scores | together)


def test_the_mean_of_ranks_is_held_against_each_paired_by_date(joined):
    rows = by_date(joined, Books(joined), COST, resamples=FEW).forecasters.set_index("forecaster")
    coefficients = {
        name: rank_correlations(scores, joined.moves["open"])
        for name, scores in joined.scores.items()
    }
    more = coefficients["mean of ranks"] - coefficients["boosting"]
    found = rows.loc["boosting"]
    assert found["ic_together_less"] == pytest.approx(more.mean())
    # Without clusters the blocks are short: t is about that of independent dates.
    plain = more.mean() / (more.std() / np.sqrt(len(more)))
    assert found["ic_together_less_t"] == pytest.approx(plain, rel=0.25) and plain > 3
    assert rows.loc["mean of ranks", "ic_less"] == pytest.approx(
        -rows.loc["strategy", "ic_together_less"]
    )
    own = rows.loc["mean of ranks", ["ic_together_less", "ic_together_less_t"]]
    assert own.isna().all()


def test_together_is_what_the_rows_of_both_say(joined):
    found = by_date(joined, Books(joined), COST, resamples=FEW)
    rows = found.forecasters.set_index("forecaster")
    assert found.together.ic == rows.loc["mean of ranks", "ic"]
    assert list(found.together.over) == ["strategy", "boosting"]
    assert found.together.over["boosting"][3] == rows.loc["boosting", "ic_together_less_t"]


def test_without_boosting_nothing_is_said_of_both_together(evidence):
    assert evidence.together is None and describe_together(None) == ""


def test_the_losses_are_compared_by_date(panel, rows):
    losses = [
        log_losses(panel.labels, panel.scores[name]).mean(axis=1)
        for name in ("strategy", "logistic")
    ]
    expected = diebold_mariano(*losses)
    found = rows.loc["logistic", ["loss_statistic", "loss_p"]]
    assert found.tolist() == pytest.approx(list(expected)) and expected[0] < 0
    # Of what is no probability there is no loss.
    assert rows.loc[["reversal"], "loss_p"].isna().all()


def test_copies_of_a_name_make_nothing_surer(panel):
    """Ten of each name, with the same news: dates are what counts."""

    def tenfold(values):
        return np.repeat(values, 10, axis=1)

    many = replace(
        panel,
        names=[f"{name} {copy}" for name in panel.names for copy in range(10)],
        scores={name: tenfold(score) for name, score in panel.scores.items()},
        labels=tenfold(panel.labels),
        moves={fill: tenfold(move) for fill, move in panel.moves.items()},
        later={bars: tenfold(move) for bars, move in panel.later.items()},
    )
    one, ten = (
        by_date(each, Books(each), COST, resamples=FEW).forecasters.iloc[0]
        for each in (panel, many)
    )
    assert ten["ic_t"] == pytest.approx(one["ic_t"], rel=0.02)


def test_a_forecast_of_the_next_bar_decays(evidence, rows):
    decay = evidence.decay[evidence.decay["forecaster"] == "strategy"].set_index("bars")["ic"]
    assert list(decay.index) == [1, 2, 5, 10]
    assert decay[1] == pytest.approx(rows.loc["strategy", "ic"])
    assert (decay[[2, 5, 10]] < decay[1] / 2).all()


def test_tenths_say_what_names_of_each_rank_earned(panel, evidence):
    tenths = evidence.tenths[evidence.tenths["forecaster"] == "strategy"].set_index("tenth")
    order = np.argsort(panel.scores["strategy"], axis=1)
    best = np.take_along_axis(panel.moves["open"], order[:, -2:], axis=1)
    assert tenths.loc[10, "move"] == pytest.approx(best.mean())
    excess = best.mean() - panel.moves["open"].mean()
    assert tenths.loc[10, "excess"] == pytest.approx(excess)
    assert abs(tenths["excess"].sum()) < 1e-12 and tenths["dates"].eq(400).all()


def test_years_are_parts_of_the_whole(panel, evidence, rows):
    years = evidence.years[evidence.years["forecaster"] == "strategy"]
    assert years["year"].tolist() == [2020, 2021] and years["dates"].tolist() == [366, 34]
    for name in ("ic", "gross", "net"):
        together = np.average(years[name].astype(float), weights=years["dates"])
        assert together == pytest.approx(rows.loc["strategy", name])


@pytest.mark.parametrize(
    "halves, turned",
    [((0.03, 0.01), False), ((0.03, -0.01), True), ((-0.03, 0.01), True), ((None, 0.1), False)],
)
def test_a_sign_that_turns_is_said(halves, turned):
    assert Halves(*halves).turned is turned


def test_without_any_forecast_nothing_is_found_and_nothing_is_nan(panel):
    silent = {name: np.full(score.shape, np.nan) for name, score in panel.scores.items()}
    none = replace(panel, scores=silent)
    books = Books(none)
    found = by_date(none, books, COST, resamples=FEW)
    strategy = found.forecasters.iloc[0]
    assert strategy["forecasts"] == 0 and strategy[["auc", "ic", "ic_t"]].isna().all()
    assert strategy["net"] == 0 and found.halves == (None, None)
    figures = books.figures(COST, resamples=FEW)
    assert "auc" not in figures.intervals and judge_book(figures, ranked=True).word == "no edge"


def test_the_same_panel_gives_the_same_bits(panel, evidence):
    again = by_date(panel, Books(panel), COST, resamples=FEW)
    pd.testing.assert_frame_equal(again.forecasters, evidence.forecasters, check_exact=True)
