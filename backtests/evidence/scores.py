"""The tables of a walk-forward: scores by fold and member; the account by bar, month and year.

Every table stands beside buy-and-hold's figures; what is undefined is missing, never 0.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.simulation.vectorised import Array
from model.metrics import (
    bar_returns,
    classification_scores,
    drawdown,
    max_drawdown,
    sharpe,
    total_return,
)

if TYPE_CHECKING:
    from backtests.simulation.broker import Simulation
    from backtests.walk_forward.folds import FoldModel

TOTAL = "total"
BEST = "best possible"  # on a planted market: shown, and not counted as something tried
NO_MODEL = "no model"
# Where the thresholds in force are from.
CHOSEN, LOST, NONE_QUALIFIED, GIVEN = (
    "validation",
    "validation, at a loss",
    "too few trades",
    "given",
)
# Of forecasts, in the order of the files' columns.
SCORES = (
    "windows",
    "up_share",
    "auc",
    "log_loss",
    "brier",
    "accuracy",
    "base_rate",
    "balanced_accuracy",
    "mcc",
)

BINS = 61  # odd, so that one lies around 0
TAIL = 0.001  # of buy-and-hold's returns at either end, where no bins are
FEWEST_ROLLED = 20  # bars of the rolling Sharpe ratio
MOST_ROLLED = 0.25  # of all bars


def fold_table(
    models: Sequence["FoldModel"],
    predictions: pd.DataFrame,
    strategy: "Simulation",
    hold: "Simulation",
    bars_per_year: float,
) -> pd.DataFrame:
    """Return one row per fold and one in total.

    A fold's money is counted from its first decision's close to that of the next fold, so the
    folds' returns multiply to the total; its trades are those it opened.
    """

    def figures(part: slice) -> dict[str, object]:
        decided = predictions["decided_at"].iloc[part]
        opened = strategy.trades["decided_at"].between(decided.iloc[0], decided.iloc[-1])
        held = _money(hold, part, bars_per_year)
        return {
            "first_decision": decided.iloc[0],
            "last_decision": decided.iloc[-1],
            **forecast_scores(predictions.iloc[part]),
            "trades": int(opened.sum()),
            **_money(strategy, part, bars_per_year),
            **{f"hold_{name}": value for name, value in held.items()},
        }

    rows = [
        {"fold": str(model.fold.number), **_model_columns(model)}
        | figures(_test_rows(model, models, predictions))
        for model in models
    ]
    # No one model and no one pair of thresholds is in force over all folds.
    total = {"fold": TOTAL, "model": "", "enter": None, "exit": None, "thresholds": None}
    return pd.DataFrame([*rows, total | figures(slice(0, len(predictions)))])


def _model_columns(model: "FoldModel") -> dict[str, object]:
    if model.checkpoint is None:
        return {"model": NO_MODEL, "enter": None, "exit": None, "thresholds": None}
    chosen = LOST if model.choice.lost else CHOSEN
    return {
        "model": model.name,
        "enter": model.checkpoint.enter,
        "exit": model.checkpoint.exit,
        "thresholds": chosen if model.choice.chosen else NONE_QUALIFIED,
    }


def _test_rows(
    model: "FoldModel", models: Sequence["FoldModel"], predictions: pd.DataFrame
) -> slice:
    # The predictions begin with the first fold's test block.
    first = models[0].fold.test
    return slice(model.fold.test - first, min(model.fold.stop - first, len(predictions)))


def _money(simulation: "Simulation", part: slice, bars_per_year: float) -> dict[str, float | None]:
    """Return what an account did over a part's decisions, until the next fold takes over."""
    # One close more: there the next fold takes over, so that the returns multiply to the total.
    reached = slice(part.start, part.stop + 1)
    equity = simulation.equity.to_numpy()[reached]
    # The position at the first close is the work of the fold before.
    held = simulation.position.to_numpy()[reached][1:]
    return {
        "return": total_return(equity),
        "sharpe": sharpe(bar_returns(equity), bars_per_year),
        "max_drawdown": max_drawdown(equity),
        "exposure": float(np.mean(held != 0)) if len(held) else 0.0,
    }


def forecast_scores(predictions: pd.DataFrame) -> dict[str, float | None]:
    """Score the predictions that have both a probability and a known label."""
    judged = predictions.dropna(subset=["probability", "label"])
    labels, probabilities = (judged[name].to_numpy(float) for name in ("label", "probability"))
    scores = classification_scores(labels, probabilities)
    return {name: scores[name] for name in SCORES}


def member_table(
    bars: pd.DataFrame, models: Sequence["FoldModel"], predictions: pd.DataFrame
) -> pd.DataFrame:
    """Return how each member of each fold's model forecast the fold's decisions by itself.

    One row per fold and member.
    """
    rows = []
    for model in models:
        members = model.checkpoint.members if model.checkpoint else ()
        decided = predictions.iloc[_test_rows(model, models, predictions)]
        for member in members:
            # The forecast of a model of one member is that member's.
            if model.checkpoint and len(members) > 1:
                alone = replace(model.checkpoint, members=(member,))
                forecast = alone.probabilities(model.fold.test_bars(bars))
                decided = decided.assign(probability=forecast.to_numpy())
            row = {"fold": str(model.fold.number), "member": member.name}
            rows.append(row | forecast_scores(decided))
    return pd.DataFrame(rows, columns=("fold", "member", *SCORES))


def spread_table(members: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Return how far the members of each fold's model lie apart in AUC: a row per fold.

    together: the AUC of their mean logit, which is what the model trades on.
    """
    by_fold = members.groupby("fold", sort=False)["auc"]
    rows = by_fold.agg(["count", "mean", "std", "min", "max"]).reset_index()
    return rows.assign(together=rows["fold"].map(folds.set_index("fold")["auc"]))


def equity_table(strategy: "Simulation", hold: "Simulation", bars_per_year: float) -> pd.DataFrame:
    """Return both accounts at every close from the first decision on."""
    table = account_table(strategy.equity, hold.equity, bars_per_year)
    table.insert(3, "position", strategy.position)
    table.insert(4, "probability", strategy.probability)
    return table


def account_table(ours: pd.Series, theirs: pd.Series, bars_per_year: float) -> pd.DataFrame:
    """Return the worth of an account and of what it is held against, at every close."""
    bars = rolled_bars(len(ours), bars_per_year)
    return pd.DataFrame(
        {
            "equity": ours,
            "drawdown": drawdown(ours.to_numpy()),
            "buy_and_hold": theirs,
            "hold_drawdown": drawdown(theirs.to_numpy()),
            "rolling_sharpe": _rolling_sharpe(ours, bars, bars_per_year),
            "hold_rolling_sharpe": _rolling_sharpe(theirs, bars, bars_per_year),
        }
    )


def rolled_bars(n_bars: int, bars_per_year: float) -> int:
    """Return over how many bars the rolling Sharpe ratio is taken.

    Half a year, of a short run a quarter of its bars.
    """
    return max(FEWEST_ROLLED, min(round(bars_per_year / 2), int(MOST_ROLLED * n_bars)))


def _rolling_sharpe(equity: pd.Series, bars: int, bars_per_year: float) -> pd.Series:
    returns = equity.pct_change().rolling(bars)
    # Where nothing was held the returns do not vary, and the ratio is not there.
    ratio: pd.Series = returns.mean() / returns.std().replace(0.0, np.nan) * np.sqrt(bars_per_year)
    return ratio


def gain_table(equity: pd.DataFrame, *periods: str) -> pd.DataFrame:
    """Return what both accounts gained in each "year", or in each "year" and "month".

    equity: of `equity_table`. Columns: the periods, return and hold_return. The gains multiply to
    the whole, since each counts from the last close of the period before.
    """
    timestamps, money = pd.DatetimeIndex(equity.index), equity[["equity", "buy_and_hold"]]
    # The first period counts from the first close, which is that of the first decision.
    groups = [pd.Index(getattr(timestamps, period), name=period) for period in periods]
    ends = money.groupby(groups).last()
    gains = ends / ends.shift().fillna(money.iloc[0]) - 1
    return gains.set_axis(["return", "hold_return"], axis=1).reset_index()


def distribution_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return how often a bar's return lay between two ends, as shares.

    Buy-and-hold counts all bars; the strategy only those on which it held a position, or its many
    bars at 0 would hide the rest.
    """
    theirs, ours = (bar_returns(equity[column].to_numpy()) for column in ("buy_and_hold", "equity"))
    holds = equity["position"].to_numpy() != 0
    # Symmetric, so that gains and losses are compared bin by bin; of flat prices any span will do.
    span = float(np.abs(np.quantile(theirs, (TAIL, 1 - TAIL))).max()) or 0.01
    edges = np.linspace(-span, span, BINS + 1)
    return pd.DataFrame(
        {
            "from": edges[:-1],
            "to": edges[1:],
            "buy_and_hold": _shares(theirs, edges),
            # A position that is opened or closed at a bar's open earns on that bar too.
            "strategy": _shares(ours[holds[1:] | holds[:-1]], edges),
        }
    )


def _shares(returns: Array, edges: Array) -> Array:
    # An account that never held has no returns: shares of 0.
    return np.histogram(returns, edges)[0] / max(1, len(returns))
