"""The result of a walk-forward: data first (JSON, CSV), a picture, and tables for the terminal."""
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from backtests.picture import draw
from backtests.scoring import TOTAL, auc_interval, fold_table
from backtests.simulation import Account, Costs, Simulation
from backtests.walk_forward import FoldModel, FoldPlan
from model.bars import digest_bars
from model.checkpoint import library_versions
from model.files import write_atomically
from model.intervals import bar_interval, bars_per_year
from model.metrics import drawdown
from model.training import TrainConfig

# What the terminal's tables show: (header, column of the fold table, format).
FORECASTS = (("first decision", "first_decision", ""), ("windows", "windows", ".0f"), ("AUC", "auc", ".3f"),
             ("accuracy", "accuracy", ".3f"), ("base rate", "base_rate", ".3f"), ("model", "model", ""))
MONEY = (("trades", "trades", ""), ("return", "return", "+.1%"), ("Sharpe", "sharpe", ".2f"),
         ("max\ndrawdown", "max_drawdown", ".1%"), ("in\nmarket", "exposure", ".0%"),
         ("hold:\nreturn", "hold_return", "+.1%"), ("hold:\nSharpe", "hold_sharpe", ".2f"),
         ("hold:\ndrawdown", "hold_max_drawdown", ".1%"))
# The files that write_results leaves, and with them the checkpoints.
FILES = ("summary.json", "folds.csv", "equity.csv", "trades.csv", "predictions.csv", "equity.png")
VERSION = 1  # of summary.json: raised when an entry changes its name or meaning


@dataclass(frozen=True, eq=False)
class Results:
    """All that a walk-forward found, and the settings that made it so."""

    bars: pd.DataFrame
    plan: FoldPlan
    config: TrainConfig
    account: Account
    costs: Costs
    models: Sequence[FoldModel]
    predictions: pd.DataFrame
    strategy: Simulation
    hold: Simulation

    @property
    def _stamps(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.bars.index)

    @property
    def title(self) -> str:
        """One line that says what was run on what."""
        return (f"{self.bars.attrs.get('instrument') or 'bars'}, bars of {bar_interval(self._stamps)}: "
                f"walk-forward of {len(self.models)} folds, costs {self.costs.per_side:g} bp per side")

    @property
    def borders(self) -> list[pd.Timestamp]:
        """The first decision of each fold."""
        return [self.bars.index[model.fold.test] for model in self.models]

    @property
    def folds(self) -> pd.DataFrame:
        """One row per fold and one in total."""
        return fold_table(self.models, self.predictions, self.strategy, self.hold, bars_per_year(self._stamps))

    @property
    def equity(self) -> pd.DataFrame:
        """The account and buy-and-hold at every close from the first decision on."""
        return pd.DataFrame({
            "equity": self.strategy.equity, "drawdown": drawdown(self.strategy.equity.to_numpy()), "buy_and_hold": self.hold.equity,
            "position": self.strategy.position, "probability": self.strategy.probability})


def write_results(folder: Path, results: Results) -> None:
    """Write every file but the checkpoints; each appears whole or not at all."""
    write_atomically(folder / "folds.csv", _csv(results.folds))
    write_atomically(folder / "predictions.csv", _csv(results.predictions))
    write_atomically(folder / "trades.csv", _csv(results.strategy.trades))
    write_atomically(folder / "equity.csv", _csv(results.equity.reset_index()))
    write_atomically(folder / "equity.png", draw(results.equity, results.borders, results.title))
    write_atomically(folder / "summary.json", (json.dumps(summary(results), indent=2) + "\n").encode())


def _csv(frame: pd.DataFrame) -> bytes:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue().encode()


def summary(results: Results) -> dict[str, Any]:
    """Return the settings and the figures that matter, as JSON has them: an undefined figure is null."""
    table = results.folds
    rows = [_plain(row) for row in table.to_dict("records")]
    return {
        "version": VERSION,
        "verdict": verdict(table),
        "data": describe_data(results.bars),
        "settings": {"folds": asdict(results.plan), "training": asdict(results.config), "account": asdict(results.account),
                     "costs_in_basis_points_per_side": asdict(results.costs)},
        "total": rows[-1],
        "folds": rows[:-1],
        "versions": library_versions(),
    }


def describe_data(bars: pd.DataFrame) -> dict[str, Any]:
    """Return what the bars are, with a digest that tells whether two runs had the same."""
    stamps = pd.DatetimeIndex(bars.index)
    return {"instrument": bars.attrs.get("instrument"), "bars": len(bars), "first": str(stamps[0]), "last": str(stamps[-1]),
            "bar_interval": str(bar_interval(stamps)), "bars_per_year": bars_per_year(stamps), "sha256": digest_bars(bars)}


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as JSON has it."""
    return {str(name): _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return str(value)
    return None if value is None or isinstance(value, float) and math.isnan(value) else value


def verdict(table: pd.DataFrame) -> str:
    """Return one sentence with the numbers that it rests on."""
    total = table.to_dict("records")[-1]
    money = f"net return {total['return']:+.1%} against {total['hold_return']:+.1%} for buy-and-hold"
    if math.isnan(total["auc"]):
        return f"No forecast can be judged; {money}."
    n_up = round(total["windows"] * total["up_share"])
    low, high = auc_interval(total["auc"], n_up, round(total["windows"]) - n_up)
    shown = "no edge shown" if low <= 0.5 else "forecasts better than chance, which is not yet a profit"
    return f"{shown}: AUC {total['auc']:.3f} [{low:.3f}, {high:.3f}] over {total['windows']:.0f} decisions, {money}."


def tables(results: Results) -> Group:
    """Return the tables that the terminal shows."""
    rows = results.folds.to_dict("records")
    return Group(_table("forecasts", FORECASTS, rows), _table("money, after costs, beside buy-and-hold", MONEY, rows))


def _table(title: str, columns: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[Any, Any]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", collapse_padding=True)
    table.add_column("fold", no_wrap=True)
    for header, _, _ in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        if row["fold"] == TOTAL:
            table.add_section()
        table.add_row(row["fold"], *(_shown(row[column], form) for _, column, form in columns))
    return table


def _shown(value: Any, form: str) -> str:
    """Return a figure as text, a dash where it is undefined, and a date without the midnight that daily stamps have."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value == value.normalize() else f"{value:%Y-%m-%d %H:%M}"
    missing = value is None or isinstance(value, float) and math.isnan(value)
    return "-" if missing else format(value, form)
