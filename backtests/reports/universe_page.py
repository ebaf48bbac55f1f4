"""The report of a universe.

One self-contained HTML page over all markets, which leads to the report of each.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from plotly import graph_objects as go

from backtests.evidence.account_figures import LEFT_OUT
from backtests.evidence.alpha import HOLD
from backtests.evidence.bootstrap import Interval
from backtests.reports.charts import OURS, THEIRS, add_line, empty_figure, interval_figure, thinned
from backtests.reports.page import (
    REPORT,
    Grid,
    glance_grid,
    interval_grid,
    p_shown,
    pairs_of,
    render_page,
)
from backtests.reports.results import ENDS, describe_settings
from backtests.reports.terminal import ranged, shown
from backtests.reports.universe import UniverseResults
from backtests.walk_forward.fingerprint import all_versions
from model.files import write_atomically

MOST_MARKETS = 60  # that a chart draws: the best half and the worst half


def write_universe_report(folder: Path, universe: UniverseResults) -> None:
    """Write the page into the folder."""
    write_atomically(folder / REPORT, render_universe(universe).encode())


def render_universe(universe: UniverseResults) -> str:
    """Return the page."""
    gains, auc = strongest(universe.markets, "gain"), strongest(universe.markets, "auc")
    charts = {
        "equity": _equity(universe),
        "gains": interval_figure(gains, scale=1e4, title="basis points per bar, net"),
        "auc": interval_figure(auc, neutral=0.5, title="AUC"),
    }
    return render_page(
        "universe.html",
        charts,
        title=universe.title,
        verdict=universe.verdict,
        portfolio=_portfolio_grid(universe),
        outside=LEFT_OUT,
        pooled=_pooled_grid(universe),
        verdicts=_verdict_grid(universe),
        markets=_market_grid(universe),
        figures=_figures(universe),
        tests=_tests(universe),
        lost=universe.lost,
        left_out=universe.left_out,
        architectures=universe.architectures,
        most_markets=MOST_MARKETS,
        settings=pairs_of(describe_settings(universe.settings)),
        versions=pairs_of(all_versions()),
        costs_now=str(universe.settings.costs),
    )


def _portfolio_grid(universe: UniverseResults) -> Grid:
    """Return what all markets in equal parts did, beside all of them held."""
    ours, theirs = (asdict(universe.portfolio[name]) for name in ("strategy", "hold"))
    grid = glance_grid(ours, theirs, f"{HOLD} all")
    # How much the markets say beside each other: at 1 a hundred are worth one.
    correlation = shown(universe.pool.correlation, "z.2f")
    return Grid(grid.headers, [*grid.rows, ["correlation of two markets' gains", correlation, ""]])


def _pooled_grid(universe: UniverseResults) -> Grid:
    """Return what decides on each architecture over all markets."""
    return Grid(
        ["", "verdict", "alpha a year", "99 % bounds", "AUC", "net,\nbp per bar", "Sharpe"],
        [
            [
                row["architecture"],
                row["verdict"],
                f"{row['alpha']:+.1%}",
                f"{row['alpha_lowest']:+.1%} and {row['alpha_highest']:+.1%}",
                shown(row["auc"], ".3f"),
                f"{1e4 * row['net']:+.2f}",
                shown(row["sharpe"], ".2f"),
            ]
            for row in universe.pooled
        ],
    )


def _equity(universe: UniverseResults) -> go.Figure:
    """The growth of 1 in equal parts, on a log scale."""
    figure, equity = empty_figure("growth of 1, log scale", height=420), thinned(universe.equity)
    add_line(figure, equity["buy_and_hold"], f"{HOLD} all", THEIRS)
    add_line(figure, equity["strategy"], "strategy on all", OURS, width=2)
    # Equal shares of gain have equal heights, early and late.
    return figure.update_yaxes(type="log")


def strongest(markets: pd.DataFrame, name: str) -> Mapping[str, Interval]:
    """Return the figure of each market with its interval, the best first.

    Where there are many markets, only the best and the worst are kept.
    """
    # A market of one class has no AUC, and so no place in the chart.
    known = markets.dropna(subset=[name]).sort_values(name, ascending=False)
    # A hundred intervals could not be told apart; the middle ones say least.
    if len(known) > MOST_MARKETS:
        known = pd.concat([known[: MOST_MARKETS // 2], known[-MOST_MARKETS // 2 :]])
    return {
        row["market"]: Interval(*(row[f"{name}{end}"] for end in ENDS))
        for row in known.to_dict("records")
    }


def _verdict_grid(universe: UniverseResults) -> Grid:
    """Return what decides on each market, whose name leads to its own report."""
    rows = universe.markets.to_dict("records")
    return Grid(
        [
            "market",
            "AUC [95 %]",
            "more than holding,\nbp per bar [95 %]",
            "p: no alpha\nin anything tried",
            "verdict\nby itself",
            "stands\nout",
        ],
        [
            [
                row["market"],
                ranged(row, "auc", ".3f"),
                ranged(row, "gain", "+.2f", 1e4),
                p_shown(universe.results[row["market"]].evidence.superiority),
                row["verdict"],
                "yes" if row["outstanding"] else "no",
            ]
            for row in rows
        ],
        # A market's name is the user's: a space or a percent sign would break the link.
        [f"{quote(row['market'])}/{REPORT}" for row in rows],
    )


def _market_grid(universe: UniverseResults) -> Grid:
    """Return what else is known of each market."""
    return Grid(
        [
            "market",
            "first\ndecision",
            "decisions",
            "accuracy",
            "base\nrate",
            "net,\nbp per bar",
            "hold,\nbp per bar",
            "Sharpe",
            "hold:\nSharpe",
            "trades",
        ],
        [
            [
                row["market"],
                shown(row["first_decision"], ""),
                str(row["decisions"]),
                shown(row["accuracy"], ".3f"),
                shown(row["base_rate"], ".3f"),
                f"{1e4 * row['net']:+.2f}",
                f"{1e4 * row['hold']:+.2f}",
                shown(row["sharpe"], ".2f"),
                shown(row["hold_sharpe"], ".2f"),
                str(row["trades"]),
            ]
            for row in universe.markets.to_dict("records")
        ],
    )


def _figures(universe: UniverseResults) -> Grid:
    """Return the figures on chance over all markets."""
    return interval_grid(
        universe.pool.intervals,
        (
            ("alpha", "alpha over holding all, bp per bar", "+.2f", 1e4),
            ("beta", "beta", ".2f", 1),
            ("auc", "AUC, pairs within a market's folds", ".3f", 1),
            ("mean", "net, bp per bar", "+.2f", 1e4),
            ("gain", "net less holding all, bp per bar", "+.2f", 1e4),
        ),
    )


def _tests(universe: UniverseResults) -> Grid:
    words = (
        f"p: none of the {universe.pool.series} series on any market has an alpha over holding it "
        "(Hansen's test)"
    )
    return Grid(
        ["", "value"],
        [
            [words, p_shown(universe.pool.superiority)],
            ["markets that stand out", str(len(universe.pool.outstanding))],
        ],
    )
