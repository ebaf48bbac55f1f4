"""What a universe leaves: its files, their format, its page."""

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

from backtests.reports.schema import UNIVERSE_TABLES, Universe
from backtests.reports.terminal import universe_table
from backtests.reports.universe import UNIVERSE_FILES, gather_universe, pooled_row, write_universe
from backtests.reports.universe_page import (
    MOST_MARKETS,
    render_universe,
    strongest,
    write_universe_report,
)
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from backtests.walk_forward.trainer import Lost
from model.cli import LeftOut
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.formats import columns_of, format_of
from tests.helpers.makers import random_bars, random_checkpoint

FROZEN = Path(__file__).parent / "universe.schema.json"
PLAN = FoldPlan(folds=2, train_blocks=2)
SETTINGS = Settings(PLAN, PLAN.training(TrainConfig()), Account(), Costs())
LOST = [Lost("c fold 2", "it <died>")]
LEFT_OUT = [LeftOut("d.csv", "no <bars>")]


def results_of(name, seed, folder, silent=False):
    bars = random_bars(500, seed=seed)
    bars.attrs = {"instrument": name, "timezone": None, "stamp": "open"}
    folds = lay_folds(bars, PLAN, SETTINGS.config)
    models = [
        FoldModel(
            fold,
            None if silent else random_checkpoint(bars, bars.index[fold.test], seed=fold.number),
        )
        for fold in folds
    ]
    folder.mkdir()
    return evaluate(bars, models, save(models, folder), SETTINGS)


@pytest.fixture(scope="module")
def universe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    markets = {
        "a": results_of("a", 1, folder / "a"),
        "b & c": results_of("b & c", 2, folder / "b", silent=True),
    }
    return gather_universe(markets, LOST, SETTINGS, LEFT_OUT)


@pytest.fixture(scope="module")
def folder(universe, tmp_path_factory):
    path = tmp_path_factory.mktemp("universe")
    write_universe(path, universe)
    write_universe_report(path, universe)
    return path


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def test_the_files_are_those_named(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*UNIVERSE_FILES, "report.html"]
    )


def test_the_same_results_give_the_same_bytes(folder, universe, tmp_path):
    write_universe(tmp_path, universe)
    assert all(
        (folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in UNIVERSE_FILES
    )
    assert render_universe(universe) == (folder / "report.html").read_text()


def test_the_summary_has_its_format(folder):
    found = msgspec.json.decode((folder / "universe.json").read_bytes(), type=Universe)
    assert [market.market for market in found.markets] == ["a", "b & c"]
    assert found.failed[0].fold == "c fold 2" and found.markets[1].auc is None


def test_the_format_changes_only_with_its_version():
    """Write tests/universe.schema.json anew with a higher version when an entry changes its name or
    meaning.
    """
    assert json.loads(FROZEN.read_text()) == format_of(Universe)


def test_the_table_of_markets_is_a_file(folder, universe):
    table = pd.read_csv(folder / "markets.csv")
    assert list(table) == list(universe.markets) == columns_of(UNIVERSE_TABLES["markets.csv"])
    assert table["gain"][0] == pytest.approx(table["net"][0] - table["hold"][0])


def test_the_equity_is_that_of_equal_parts(folder, universe):
    equity = pd.read_csv(folder / "equity.csv")
    assert (
        list(equity)
        == ["date", "strategy", "buy_and_hold"]
        == columns_of(UNIVERSE_TABLES["equity.csv"])
    )
    means = np.mean(
        [results.decisions.returns["buy-and-hold"] for results in universe.results.values()], axis=0
    )
    assert equity["buy_and_hold"].iloc[-1] == pytest.approx(np.prod(1 + means))


def test_the_page_says_verdict_markets_and_what_is_missing(page, universe):
    assert str(escape(universe.verdict.reasons)) in page and "c fold 2 (it &lt;died&gt;)" in page
    assert "left out on request: d.csv (no &lt;bars&gt;)." in page
    assert (
        '<a href="a/report.html">a</a>' in page
        and '<a href="b%20%26%20c/report.html">b &amp; c</a>' in page
    )
    assert re.findall(r'id="chart-(\w+)"', page) == ["equity", "gains", "auc"]
    assert len(page) < 6_000_000


def test_the_portfolio_has_the_figures_of_its_equity(universe, folder, page):
    found = json.loads((folder / "universe.json").read_text())["portfolio"]
    for name, column in (("strategy", "strategy"), ("hold", "buy_and_hold")):
        growth = universe.equity[column].to_numpy()
        returns = np.diff(growth, prepend=1.0) / np.r_[1.0, growth[:-1]]
        years = len(growth) / universe.pool.periods_per_year
        assert found[name]["return_a_year"] == pytest.approx(growth[-1] ** (1 / years) - 1)
        assert found[name]["volatility"] == pytest.approx(
            returns.std(ddof=1) * universe.pool.periods_per_year**0.5
        )
    assert "cash earns no interest" in page and "longest time under water" in page


def test_of_several_architectures_it_says_whose_figures_these_are(universe, page):
    first = next(iter(universe.results.values()))
    tried = replace(
        first, decisions=first.decisions.with_variants({"transformer": first.decisions})
    )
    both = render_universe(replace(universe, results=dict.fromkeys(universe.results, tried)))
    assert (
        "All figures here are those of <strong>bilstm</strong>" in both and "(transformer)" in both
    )
    assert "All figures here are those" not in page
    # Judged by the same rule, the copy has the figures of the first.
    lead, copy = replace(universe, results=dict.fromkeys(universe.results, tried)).pooled
    assert copy["architecture"] == "transformer" and not universe.pooled
    twins = gather_universe(dict.fromkeys(universe.results, first), LOST, SETTINGS)
    [alone] = [pooled_row("bilstm", twins.pool)]
    assert copy["alpha"] == pytest.approx(alone["alpha"]) and copy["auc"] == alone["auc"]
    assert "Architectures over all markets" in both and lead["architecture"] == "bilstm"


def test_the_terminal_shows_a_row_for_each_market(universe):
    console = Console(width=80, file=io.StringIO())
    console.print(universe_table(universe))
    lines = console.file.getvalue().splitlines()
    assert any(line.startswith("  a ") and "[" in line for line in lines)
    assert any("b & c" in line and " - " in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_of_many_markets_the_best_and_the_worst_are_drawn(universe):
    row = universe.markets.iloc[0]
    many = pd.DataFrame(
        [
            {**row, "market": f"m{number}", "gain": float(number)}
            for number in range(3 * MOST_MARKETS)
        ]
    )
    drawn = list(strongest(many, "gain"))
    assert (
        len(drawn) == MOST_MARKETS and drawn[0] == f"m{3 * MOST_MARKETS - 1}" and drawn[-1] == "m0"
    )
