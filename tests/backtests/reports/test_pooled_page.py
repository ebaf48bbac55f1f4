"""What one network for a universe leaves: its files, their format, its page, its tables."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from rich.console import Console

from backtests.evidence.verdict import ACCOUNT_RULE
from backtests.reports.pooled import (
    BOOK_FILES,
    POOLED,
    POOLED_FILES,
    POOLED_VERSION,
    PooledResults,
    evaluate_pooled,
    write_pooled,
)
from backtests.reports.pooled_page import render_pooled, write_pooled_report
from backtests.reports.pooled_schema import BOOK_TABLES, POOLED_TABLES, Pooled
from backtests.reports.terminal import (
    describe_choices,
    describe_halves,
    describe_refused,
    describe_together,
    pooled_tables,
)
from backtests.simulation.account import Account, BookSettings
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings
from backtests.walk_forward.universe import lay_dated_folds
from model.cli import LeftOut
from model.training.config import TrainConfig
from tests.helpers.folds import save
from tests.helpers.formats import columns_of, format_of
from tests.helpers.makers import random_checkpoint
from tests.helpers.panels import random_universe

FROZEN = Path(__file__).parent / "pooled.schema.json"
PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig(outcome="relative", fewest_instruments=3, batch_size=16))
LEFT_OUT = [LeftOut("d.csv", "no <bars>")]


BOOK = BookSettings(long=1, short=1, keep=2.0, rebalance=1)


def walked(outcome, *, silent=False, account=Account(), book=None, checkpoints=None):
    """The results of random networks on random walks; relative forecasts make a book."""
    book = book or (BOOK if outcome == "relative" else None)
    dated = lay_dated_folds(random_universe(5), PLAN, replace(CONFIG, outcome=outcome))
    models = [
        FoldModel(
            fold,
            None
            if silent
            else replace(
                random_checkpoint(
                    dated.universe["n0"], dated.test_dates(fold)[0], seed=fold.number
                ),
                enter=0.5 + fold.number / 1000,
                exit=0.5,
            ),
            importance={"trend": fold.number / 100, "volume": -0.01},
        )
        for fold in dated.folds
    ]
    settings = Settings(PLAN, dated.config, account, book=book)
    best = {name: bars["close"] * 0 + 0.5 for name, bars in dated.universe.items()}
    if checkpoints is not None:
        save(models, checkpoints)
    return evaluate_pooled(
        dated,
        {"bilstm": models, "transformer": models},
        settings,
        best=best,
        left_out=LEFT_OUT,
        checkpoints=checkpoints,
    )


@pytest.fixture(scope="module")
def ranked():
    return walked("relative")


@pytest.fixture(scope="module")
def directed():
    return walked("direction")


@pytest.fixture(scope="module")
def folder(ranked, tmp_path_factory):
    path = tmp_path_factory.mktemp("pooled")
    write_pooled(path, ranked)
    write_pooled_report(path, ranked)
    return path


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def rows_of(path):
    """The rows of a table as text, None where a figure is missing."""
    with path.open(newline="") as file:
        rows = [{name: text or None for name, text in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        if row.get("fold") == "total":
            row["model"] = ""
    return rows


def test_the_files_are_those_named(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*POOLED_FILES, *BOOK_FILES, "report.html"]
    )
    tables = {name for name in POOLED_FILES if name.endswith(".csv")}
    assert tables - set(POOLED_TABLES) == {"importance.csv"}
    assert set(BOOK_FILES) == set(BOOK_TABLES)


@pytest.mark.parametrize("name", [*POOLED_TABLES, *BOOK_TABLES])
def test_every_row_of_a_table_fits_its_type(folder, name):
    rows, kind = rows_of(folder / name), {**POOLED_TABLES, **BOOK_TABLES}[name]
    # A trade of a book is one of a single instrument with a name in front.
    assert rows and sorted(rows[0]) == sorted(columns_of(kind))
    for row in rows:
        msgspec.convert(row, kind, strict=False)


def test_directions_fit_too_with_the_thresholds_in_force(directed, tmp_path):
    (tmp_path / "book.csv").write_text("of an earlier run")
    write_pooled(tmp_path, directed)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(POOLED_FILES)
    found = msgspec.json.decode((tmp_path / POOLED).read_bytes(), type=Pooled)
    assert found.book is None and found.settings.book is None
    assert [fold.enter for fold in found.folds] == [0.501, 0.502] and found.total.enter is None


def test_a_run_without_any_model_fits_too(tmp_path):
    write_pooled(tmp_path, walked("relative", silent=True))
    found = msgspec.json.decode((tmp_path / POOLED).read_bytes(), type=Pooled)
    assert found.version == POOLED_VERSION and found.verdict.word == "no edge"
    assert found.total.auc is None and found.folds[0].model == "no model"


def test_the_summary_has_its_format(folder, ranked):
    found = msgspec.json.decode((folder / POOLED).read_bytes(), type=Pooled)
    assert found.verdict.sentence == ranked.verdict.sentence
    assert found.verdict_at_no_cost.sentence == ranked.verdict_at_no_cost.sentence
    assert [one.file for one in found.left_out] == ["d.csv"]
    assert list(found.data.instruments) == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    "change", [{"version": 1}, {"new": 1}, {"verdict": {"word": "maybe", "sentence": ""}}]
)
def test_what_does_not_fit_is_refused(folder, change):
    content = json.loads((folder / POOLED).read_text()) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(content, Pooled)


def test_the_format_changes_only_with_its_version():
    """Write tests/pooled.schema.json anew with a higher version when an entry changes its name or
    meaning.
    """
    assert json.loads(FROZEN.read_text()) == format_of(Pooled)


def test_the_same_results_give_the_same_bytes(folder, ranked, tmp_path):
    again = replace(ranked)  # computes all of its figures anew
    write_pooled(tmp_path, again)
    assert all(
        (folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in again.files
    )
    assert render_pooled(again) == (folder / "report.html").read_text()


def test_what_the_models_look_at_has_a_table_an_entry_and_a_chart(folder, page):
    table = pd.read_csv(folder / "importance.csv").set_index("group")
    assert list(table) == ["1", "2"] and table.loc["trend"].tolist() == [0.01, 0.02]
    found = json.loads((folder / POOLED).read_text())["importance"]
    assert found == {"trend": pytest.approx(0.015), "volume": pytest.approx(-0.01)}
    assert "growth of the log loss" in page


def test_the_predictions_are_those_that_were_judged(folder, ranked):
    table = pd.read_csv(folder / "predictions.csv")
    assert (
        len(table)
        == ranked.folds["forecasts"].iloc[-1]
        == np.isfinite(ranked.panel.scores["strategy"]).sum()
    )
    assert table["instrument"].nunique() == 5 and set(table["fold"]) == {1, 2}


def test_given_thresholds_are_in_force_on_all_dates():
    panel = walked("direction", account=Account(enter=0.9, exit=0.9)).panel
    held = panel.held["strategy"].astype(bool)
    assert held.any() and not (held & ~(panel.scores["strategy"] >= 0.9)).any()
    # The learners are no part of the account: they trade at one half.
    assert (panel.held["logistic"] == (panel.scores["logistic"] >= 0.5)).all()


def test_the_page_says_both_verdicts_and_what_is_missing(page, ranked):
    assert str(escape(ranked.verdict.reasons)) in page
    assert str(escape(ranked.verdict_at_no_cost.reasons)) in page
    assert "gross, bp per bar" in page and "net, bp per bar" in page
    assert "left out on request: d.csv (no &lt;bars&gt;)." in page
    assert "The strategy is <strong>bilstm</strong>" in page and "beside cash" in page
    assert "This market is no real one" in page
    assert "that the Sharpe ratio of the paper book, net of costs, is above 0" in page
    charts = ["equity", "drawdown", "exposure", "turnover", "names", "years", "tenths", "decay"]
    assert re.findall(r'id="chart-(\w+)"', page) == [*charts, "importance"]
    tables = [
        *("account", "book", "costs", "names", "choices"),
        "figures",
        "figures-at-no-cost",
        "tests",
        "forecasters",
        "differences",
        "years",
        "thirds",
        "folds",
    ]
    assert re.findall(r'id="table-([\w-]+)"', page) == tables
    assert len(page) < 6_000_000


def test_the_account_trades_the_checkpoints_as_they_were_judged(ranked, tmp_path):
    traded = walked("relative", checkpoints=tmp_path)
    weights = traded.account.simulation.rankings
    judged = traded.predictions.set_index(["decided_at", "instrument"])["probability"]
    known = weights.set_index(["decided_at", "instrument"]).join(judged.rename("judged")).dropna()
    assert len(known) > 200
    np.testing.assert_allclose(known["probability"], known["judged"], atol=1e-6)
    pd.testing.assert_series_equal(
        traded.account.days["equity"], ranked.account.days["equity"], rtol=1e-9
    )


def test_the_verdict_net_of_costs_is_that_of_the_account(ranked):
    dates = ranked.panel.dates
    growth = ranked.account.days["equity"].reindex(dates).pct_change()
    assert ranked.figures.intervals["mean"].value == pytest.approx(growth.fillna(0.0).mean())
    assert ranked.figures_at_no_cost.intervals["mean"].value == pytest.approx(
        ranked.books.returns(0.0)["strategy"].mean()
    )
    assert ranked.verdict.rule == ACCOUNT_RULE and "over cash" in ranked.verdict.reasons


def test_a_book_of_one_side_is_held_against_all_in_equal_parts():
    alone = walked("direction", book=BookSettings(long=2, short=0, keep=1.0, rebalance=1))
    assert "over holding all" in alone.verdict.reasons and alone.panel.ranked
    assert alone.figures.intervals["beta"].value > 0.5
    np.testing.assert_allclose(alone.equity["benchmark"], alone.account.curves["buy_and_hold"])
    page = render_pooled(alone)
    assert "Long the 2 names with the best forecast;" in page
    # Its paper book is long and short all the same.
    assert "net less that of holding all" in page and "gross less that of cash" in page
    assert "an alpha over cash (Hansen&#39;s test), at no cost" in page


def test_what_the_account_could_not_trade_is_said(ranked):
    refused = {"a": {"margin": 2, "before trade_from": 90}, "b": {"margin": 1, "shut": 1}}
    assert describe_refused(refused) == "Orders and refusals of all names: 3 margin, 1 shut."
    assert describe_refused({"a": {"before trade_from": 90}}) == ""
    simulation = replace(ranked.account.simulation, refused=refused)
    poor = replace(ranked, account=replace(ranked.account, simulation=simulation))
    assert describe_refused(refused) in render_pooled(poor)


def test_the_page_of_directions_holds_them_against_all_held(directed):
    page = render_pooled(directed)
    assert "beside all of them held" in page and "alpha over holding all, bp per bar" in page
    assert "AUC, pairs within folds" in page


def test_a_sign_that_turned_is_said(ranked):
    turned = replace(ranked)
    turned.__dict__["by_date"] = replace(
        ranked.by_date, halves=ranked.by_date.halves._replace(earlier=0.03, later=-0.01)
    )
    sentence = describe_halves(turned.by_date.halves)
    assert sentence.startswith("The mean rank correlation was +0.030 in the earlier half")
    assert sentence in render_pooled(turned)


def test_what_network_and_boosting_are_worth_together_is_said(ranked):
    together = ranked.by_date.together
    sentence = describe_together(together)
    assert f"an information coefficient of {together.ic:+.3f} (t {together.ic_t:.1f}): " in sentence
    for name in ("strategy", "boosting"):
        less, low, high, t = together.over[name]
        beside = f"{less:+.3f} [{low:+.3f}, {high:+.3f}] (t {t:.1f}) beside {name} alone"
        assert beside in sentence and low < less < high
    assert sentence in render_pooled(ranked)


def test_the_terminal_shows_folds_forecasters_and_years_in_80_columns(ranked):
    console = Console(width=80, file=io.StringIO())
    console.print(pooled_tables(ranked))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "the book, in one account over all folds" in text and "does the edge last?" in text
    held = describe_choices(ranked.choices)
    assert held == "The book, fold 1: keep 2, rebalance 1; fold 2: keep 2, rebalance 1."
    for name in (
        "strategy",
        "logistic",
        "mean of ranks",
        "reversal",
        "momentum",
        "total",
        "2020",
    ):
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name


def test_the_thirds_of_bars_within_the_day_fit_80_columns(ranked):
    hourly = replace(ranked)
    shifted = ranked.thirds["first_decision"] + pd.Timedelta(minutes=570)
    words = {"verdict": "cannot tell", "verdict_at_no_cost": "cannot tell"}
    hourly.__dict__["thirds"] = ranked.thirds.assign(first_decision=shifted, **words)
    console = Console(width=80, file=io.StringIO())
    console.print(pooled_tables(hourly))
    text = console.file.getvalue()
    assert "…" not in text and re.search(r"^  2020-10-03 09:30 .* cannot tell", text, re.MULTILINE)


def test_the_share_of_the_edge_needs_one(ranked: PooledResults):
    """The best forecast here is one half everywhere: there is no edge of which to find a share."""
    assert ranked.share_found is None
