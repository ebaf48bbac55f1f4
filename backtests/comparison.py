"""Architectures side by side on the same folds: a table with the paired tests of the first against each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from backtests.bootstrap import Interval
from backtests.decisions import STRATEGY
from backtests.results import Results, csv_of
from model.files import write_atomically

COMPARISON = "architectures.csv"


def comparison_table(results: Mapping[str, Results]) -> pd.DataFrame:
    """Return one row per architecture, the first the one that the others are held against; what is undefined is missing.

    auc_less, gain_less: the first's AUC and mean net return per bar less this one's, with the 95 % interval, paired.
    loss_statistic, loss_p: Diebold and Mariano's of the first's log loss against this one's, below 0 where the first's is lower.
    """
    first = next(iter(results.values()))
    return pd.DataFrame([_row(name, found, first) for name, found in results.items()])


def write_comparison(folder: Path, results: Mapping[str, Results]) -> None:
    """Write the table."""
    write_atomically(folder / COMPARISON, csv_of(comparison_table(results)))


def _row(name: str, found: Results, first: Results) -> dict[str, Any]:
    total, evidence = found.folds.iloc[-1], first.evidence
    statistic, p = evidence.losses.get(name) or (None, None)
    return {
        "architecture": name,
        **{score: total[score] for score in ("windows", "auc", "log_loss", "accuracy")},
        "net": found.evidence.net,
        "sharpe": found.evidence.rivals[STRATEGY]["sharpe"],
        "verdict": found.verdict.word,
        **_ends("auc_less", evidence.intervals.get(f"auc less {name}")),
        **_ends("gain_less", evidence.intervals.get(f"less {name}")),
        "loss_statistic": statistic,
        "loss_p": p,
    }


def _ends(name: str, found: Interval | None) -> dict[str, float | None]:
    value, low, high = (found.value, found.low, found.high) if found else (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
