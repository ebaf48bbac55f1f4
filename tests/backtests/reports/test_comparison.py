"""Architectures on the same folds: each is judged beside the others, and the first leads."""

import io
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from backtests.evidence.evidence import sharpe_per_bar
from backtests.reports.html import render
from backtests.reports.results import (
    COMPARISON,
    TrainedConfiguration,
    comparison_table,
    evaluate_all,
    summary,
    write_comparison,
)
from backtests.reports.schema import TABLES
from backtests.reports.terminal import architecture_table, tables
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from backtests.walk_forward.ledger import Ledger, Trial, subject_of
from model.training.config import TrainConfig
from tests.helpers.formats import columns_of
from tests.helpers.makers import random_bars, random_checkpoint

PLAN = FoldPlan(folds=2, train_blocks=2)
OLDER = Trial("", 0.01)  # of a ledger that knew no positions
SETTINGS = Settings(PLAN, PLAN.training(TrainConfig()), Account(), Costs())


def candidate(bars, folder, seed, members=("bilstm",), tried=(OLDER,)):
    models = [
        FoldModel(fold, random_checkpoint(bars, bars.index[fold.test], seed=seed, members=members))
        for fold in lay_folds(bars, PLAN, SETTINGS.config)
    ]
    folder.mkdir()
    for model in models:
        model.checkpoint.save(folder / model.name)
    return TrainedConfiguration(models, folder, SETTINGS, tried)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    bars, folder = random_bars(500, seed=7), tmp_path_factory.mktemp("compared")
    return evaluate_all(
        bars,
        {
            "bilstm": candidate(bars, folder / "one", 1),
            "ensemble": candidate(bars, folder / "other", 2, ("bilstm", "transformer")),
        },
    )


def test_each_is_a_benchmark_of_the_other(compared):
    ours, theirs = (found.evidence for found in compared.values())
    assert list(ours.benchmarks)[-1] == "ensemble" and list(theirs.benchmarks)[-1] == "bilstm"
    assert ours.intervals["less ensemble"].value == pytest.approx(
        -theirs.intervals["less bilstm"].value
    )
    assert ours.intervals["auc less ensemble"].value == pytest.approx(
        -theirs.intervals["auc less bilstm"].value
    )
    assert ours.losses["ensemble"][0] == pytest.approx(-theirs.losses["bilstm"][0])
    assert ours.benchmarks["ensemble"].mean == theirs.benchmarks["strategy"].mean


def test_each_is_a_trial_of_the_other(compared):
    assert [found.evidence.sharpe.trials for found in compared.values()] == [3, 3]


@pytest.fixture(scope="module")
def among_many(compared, tmp_path_factory):
    """The same beside eight trials of the ledger, one on other dates and one without dates."""
    found, folder = compared["bilstm"], tmp_path_factory.mktemp("among")
    ledger, draw = Ledger(folder / "trials", subject_of(found.bars)), np.random.default_rng(1)
    dates = found.decisions.net.index
    # The last shares one date less than half.
    later = dates + (dates[1] - dates[0]) * (len(dates) // 2 + 1)
    for number, on in enumerate([*[dates] * 8, later]):
        returns = draw.normal(0, 0.01, len(dates))
        track = pd.DataFrame({"position": np.int8(1), "net_return": returns}, on)
        trial = Trial(f"{number:016d}", sharpe_per_bar(returns))
        assert ledger.enter(str(number), trial, track, {})
    tried = (*ledger.others(), OLDER, Trial(found.positions, 0.5))
    return evaluate_all(
        found.bars,
        {
            "bilstm": candidate(found.bars, folder / "one", 1, tried=tried),
            "ensemble": candidate(
                found.bars, folder / "other", 2, ("bilstm", "transformer"), tried
            ),
        },
    )


def test_trials_of_the_ledger_count_where_they_share_half_of_the_dates(among_many):
    """Beside this run's two, eight with dates and one of an older version; not its own repeat."""
    ours, theirs = among_many.values()
    assert [found.evidence.sharpe.trials for found in (ours, theirs)] == [11, 11]
    assert ours.overfitting == theirs.overfitting and ours.overfitting.trials == 10
    assert ours.overfitting.dates == len(ours.decisions.labels)
    assert 0 < ours.overfitting.probability < 1


def test_the_probability_of_overfitting_decides_no_verdict(compared, among_many):
    before, after = compared["bilstm"], among_many["bilstm"]
    assert before.overfitting.probability is None and before.verdict == after.verdict


def test_page_and_summary_say_the_probability_of_overfitting(compared, among_many):
    for found in (compared["bilstm"], among_many["bilstm"]):
        assert f"<p>The {found.overfitting.sentence}. It does not decide" in render(found)
        assert summary(found)["overfitting"] == asdict(found.overfitting)
    assert "2 trials; ten are needed" in render(compared["bilstm"])
    assert "the best of 10 trials on one half" in render(among_many["bilstm"])


def test_the_paired_difference_of_auc_is_that_of_the_folds(compared):
    one, other = (found.evidence.intervals["auc"].value for found in compared.values())
    interval = compared["bilstm"].evidence.intervals["auc less ensemble"]
    assert (
        interval.value == pytest.approx(one - other)
        and interval.low < interval.value < interval.high
    )


def test_the_table_is_a_file(compared, tmp_path):
    write_comparison(tmp_path, compared)
    table = pd.read_csv(tmp_path / COMPARISON)
    assert table["architecture"].tolist() == ["bilstm", "ensemble"] and list(table) == columns_of(
        TABLES[COMPARISON]
    )
    assert np.isnan(table["auc_less"][0]) and 0 <= table["loss_p"][1] <= 1


def test_the_page_of_the_first_leads_to_the_others(compared):
    page = render(compared["bilstm"], compared)
    assert (
        '<a href="ensemble/report.html">ensemble</a>' in page and 'id="table-architectures"' in page
    )
    assert (
        'id="table-architectures"' not in render(compared["bilstm"])
        and 'id="table-spread"' not in page
    )


def test_members_are_judged_each_by_itself(compared):
    members = compared["ensemble"].members
    assert members["member"].tolist() == ["bilstm 2", "transformer 3"] * 2
    spread = compared["ensemble"].spread
    assert spread["mean"].tolist() == pytest.approx(members.groupby("fold")["auc"].mean().tolist())
    assert spread["together"].tolist() == compared["ensemble"].folds["auc"].tolist()[:-1]
    assert compared["bilstm"].spread.empty
    assert (
        compared["bilstm"].members["auc"].tolist() == compared["bilstm"].folds["auc"].tolist()[:-1]
    )


def test_the_page_shows_the_members(compared):
    page = render(compared["ensemble"])
    assert re.search(
        r'id="table-members">.*?<th>bilstm 2</th><th>transformer 3</th>', page, re.DOTALL
    )


@pytest.mark.parametrize("words", ["transformer", "difference in AUC", "bilstm less each"])
def test_the_terminal_says_it(compared, words):
    console = Console(width=80, file=io.StringIO())
    console.print(architecture_table(comparison_table(compared).replace("ensemble", "transformer")))
    text = console.file.getvalue()
    assert words in text and max(map(len, text.splitlines())) <= 80


def test_the_terminal_shows_how_far_members_lie_apart(compared):
    console = Console(width=80, file=io.StringIO())
    console.print(tables(compared["ensemble"]))
    assert "AUC of the members" in console.file.getvalue()
