"""The tables on the terminal.

Forecasts, money and benchmarks of a walk-forward, and the markets of a universe.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from backtests.evidence.scores import TOTAL
from model.bars.intervals import day

if TYPE_CHECKING:
    from backtests.evidence.evidence import Evidence
    from backtests.reports.results import Results
    from backtests.reports.universe import UniverseResults

# What the terminal's tables show: (header, column of the fold table, format).
FORECASTS = (
    ("first decision", "first_decision", ""),
    ("windows", "windows", ".0f"),
    ("AUC", "auc", ".3f"),
    ("accuracy", "accuracy", ".3f"),
    ("base rate", "base_rate", ".3f"),
    ("model", "model", ""),
)
MONEY = (
    ("trades", "trades", ""),
    ("return", "return", "+.1%"),
    ("Sharpe", "sharpe", ".2f"),
    ("max\ndrawdown", "max_drawdown", ".1%"),
    ("in\nmarket", "exposure", ".0%"),
    ("hold:\nreturn", "hold_return", "+.1%"),
    ("hold:\nSharpe", "hold_sharpe", ".2f"),
    ("hold:\ndrawdown", "hold_max_drawdown", ".1%"),
)

SPREAD = (
    ("members", "count", ""),
    ("lowest", "min", ".3f"),
    ("mean", "mean", ".3f"),
    ("highest", "max", ".3f"),
    ("standard\ndeviation", "std", ".3f"),
    ("together", "together", ".3f"),
)


def tables(results: "Results") -> Group:
    """Return the tables that the terminal shows."""
    rows, spread = results.folds.to_dict("records"), results.spread.to_dict("records")
    members = (
        [_table("AUC of the members, each by itself, and of their mean logit", SPREAD, spread)]
        if spread
        else []
    )
    return Group(
        _table("forecasts", FORECASTS, rows),
        *members,
        _table("money, after costs, beside buy-and-hold", MONEY, rows),
        _benchmark_table(results.evidence),
    )


def _benchmark_table(evidence: "Evidence") -> Table:
    title = "net of costs, by decision, with 95 % intervals"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    for header in ("", "mean, bp per bar", "Sharpe", "difference, bp per bar"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for name, figures in evidence.benchmarks.items():
        less = evidence.intervals.get(f"less {name}")
        difference = (
            f"{1e4 * less.value:+.2f} [{1e4 * less.low:+.2f}, {1e4 * less.high:+.2f}]"
            if less
            else ""
        )
        table.add_row(name, f"{1e4 * figures.mean:+.2f}", shown(figures.sharpe, ".2f"), difference)
    return table


def architecture_table(compared: pd.DataFrame) -> Table:
    """Return a row for each architecture with the paired differences of the first to it."""
    first = compared["architecture"].iloc[0]
    table = Table(
        title=f"architectures on the same folds: {first} less each, with 95 % intervals",
        box=SIMPLE_HEAD,
        title_justify="left",
        collapse_padding=True,
    )
    for header in ("", "AUC", "difference in AUC", "difference in\nbp per bar", "log\nloss, p"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for row in compared.to_dict("records"):
        table.add_row(
            row["architecture"],
            shown(row["auc"], ".3f"),
            ranged(row, "auc_less", "+.3f"),
            ranged(row, "gain_less", "+.2f", 1e4),
            shown(row["loss_p"], ".3f"),
        )
    return table


def universe_table(universe: "UniverseResults") -> Table:
    """Return a row for each market.

    Its forecasts, what it earned, its own verdict, and whether it stands out.
    """
    title = "markets, net of costs by decision, with 95 % intervals"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    for header in ("market", "AUC", "bp per bar more\nthan holding", "Sharpe", "verdict"):
        table.add_column(
            header,
            justify="right" if header not in ("market", "verdict") else "left",
            no_wrap=header != "market",
        )
    for row in universe.markets.to_dict("records"):
        table.add_row(
            row["market"],
            ranged(row, "auc", ".3f"),
            ranged(row, "gain", "+.2f", 1e4),
            shown(row["sharpe"], ".2f"),
            row["verdict"] + (", stands out" if row["outstanding"] else ""),
        )
    return table


def ranged(row: Mapping[Any, Any], name: str, form: str, scale: float = 1.0) -> str:
    """Return a figure of a row with its interval; a dash where it is undefined."""
    if shown(row[name], form) == "-":
        return "-"
    value, low, high = (format(scale * row[f"{name}{end}"], form) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _table(
    title: str, columns: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[Any, Any]]
) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    table.add_column("fold", no_wrap=True)
    for header, _, _ in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        # A rule above the total, lest it be read as one more fold.
        if row["fold"] == TOTAL:
            table.add_section()
        table.add_row(row["fold"], *(shown(row[column], form) for _, column, form in columns))
    return table


def shown(value: Any, form: str) -> str:
    """Return a figure as text, a dash where it is undefined, a daily timestamp as its date."""
    if isinstance(value, pd.Timestamp):
        return day(value).removesuffix(":00")
    # NaN is how pandas spells what a row does not have.
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "-" if missing else format(value, form)
