"""What the account did over time: its value beside buy-and-hold bar by bar, by month and year, and how often which return came."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from backtests.simulation.account import Simulation
from backtests.walk_forward.folds import Fold, FoldModel
from model.checkpoint.member import Member
from model.metrics import (
    bar_returns,
    classification_scores,
    drawdown,
    max_drawdown,
    sharpe,
    total_return,
)

BINS = 61  # odd, so that one lies around 0
TAIL = 0.001  # of buy-and-hold's returns at either end, where no bins are
FEWEST_ROLLED, MOST_ROLLED = (
    20,
    0.25,
)  # bars of the rolling Sharpe ratio, and the share of all bars that they may be


def equity_table(strategy: Simulation, hold: Simulation, bars_per_year: float) -> pd.DataFrame:
    """Return both accounts at every close from the first decision on; what is undefined is missing."""
    ours, theirs = strategy.equity, hold.equity
    bars = rolled_bars(len(ours), bars_per_year)
    return pd.DataFrame(
        {
            "equity": ours,
            "drawdown": drawdown(ours.to_numpy()),
            "buy_and_hold": theirs,
            "position": strategy.position,
            "probability": strategy.probability,
            "hold_drawdown": drawdown(theirs.to_numpy()),
            "rolling_sharpe": _rolling_sharpe(ours, bars, bars_per_year),
            "hold_rolling_sharpe": _rolling_sharpe(theirs, bars, bars_per_year),
        }
    )


def rolled_bars(n_bars: int, bars_per_year: float) -> int:
    """Return over how many bars the rolling Sharpe ratio is taken: half a year, of short series less."""
    return max(FEWEST_ROLLED, min(round(bars_per_year / 2), int(MOST_ROLLED * n_bars)))


def _rolling_sharpe(equity: pd.Series, bars: int, bars_per_year: float) -> pd.Series:
    returns = equity.pct_change().rolling(bars)
    ratio: pd.Series = returns.mean() / returns.std().replace(0.0, np.nan) * np.sqrt(bars_per_year)
    return ratio


def month_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return what both accounts gained in each month: columns year, month, return and hold_return."""
    return _gains(
        equity, {"year": lambda stamps: stamps.year, "month": lambda stamps: stamps.month}
    )


def year_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return what both accounts gained in each year: columns year, return and hold_return."""
    return _gains(equity, {"year": lambda stamps: stamps.year})


def _gains(
    equity: pd.DataFrame, parts: dict[str, Callable[[pd.DatetimeIndex], pd.Index]]
) -> pd.DataFrame:
    stamps, money = pd.DatetimeIndex(equity.index), equity[["equity", "buy_and_hold"]]
    ends = money.groupby([part(stamps).rename(name) for name, part in parts.items()]).last()
    gains = ends / ends.shift().fillna(money.iloc[0]) - 1
    return gains.set_axis(["return", "hold_return"], axis=1).reset_index()


def distribution_table(equity: pd.DataFrame) -> pd.DataFrame:
    """Return how often a bar's return lay between two ends: the shares of all bars of buy-and-hold's, and of the strategy's those
    of the bars on which it held a position."""
    theirs, ours = (bar_returns(equity[column].to_numpy()) for column in ("buy_and_hold", "equity"))
    holds = equity["position"].to_numpy() != 0
    span = float(np.abs(np.quantile(theirs, (TAIL, 1 - TAIL))).max()) or 0.01
    edges = np.linspace(-span, span, BINS + 1)
    return pd.DataFrame(
        {
            "from": edges[:-1],
            "to": edges[1:],
            "buy_and_hold": _shares(theirs, edges),
            "strategy": _shares(ours[holds[1:] | holds[:-1]], edges),
        }
    )


def _shares(returns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(returns, edges)[0] / max(1, len(returns))


TOTAL = "total"
NO_MODEL = "no model"
# Where the thresholds in force are from.
CHOSEN, NONE_QUALIFIED, GIVEN = "validation", "too few trades", "given"
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


def fold_table(
    models: Sequence[FoldModel],
    predictions: pd.DataFrame,
    strategy: Simulation,
    hold: Simulation,
    bars_per_year: float,
) -> pd.DataFrame:
    """Return one row per fold and one in total; a figure that is undefined is missing.

    A fold's money is counted from its first decision's close to that of the next fold, so the folds' returns multiply
    to the total; its trades are those it opened.
    """
    rows = [
        {"fold": str(model.fold.number), **_model(model)}
        | _row(
            _decisions(model.fold, models, predictions), predictions, strategy, hold, bars_per_year
        )
        for model in models
    ]
    everything = slice(0, len(predictions))
    total = {"fold": TOTAL, "model": "", "enter": None, "exit": None, "thresholds": None}
    return pd.DataFrame(
        [*rows, total | _row(everything, predictions, strategy, hold, bars_per_year)]
    )


def _model(model: FoldModel) -> dict[str, object]:
    if model.checkpoint is None:
        return {"model": NO_MODEL, "enter": None, "exit": None, "thresholds": None}
    return {
        "model": model.name,
        "enter": model.checkpoint.enter,
        "exit": model.checkpoint.exit,
        "thresholds": CHOSEN if model.choice.chosen else NONE_QUALIFIED,
    }


def _decisions(fold: Fold, models: Sequence[FoldModel], predictions: pd.DataFrame) -> slice:
    """Return the fold's rows of the predictions."""
    first = models[0].fold.test
    return slice(fold.test - first, min(fold.stop - first, len(predictions)))


def _row(
    part: slice,
    predictions: pd.DataFrame,
    strategy: Simulation,
    hold: Simulation,
    bars_per_year: float,
) -> dict[str, object]:
    decided = predictions["decided_at"].iloc[part]
    reached = slice(part.start, part.stop + 1)  # up to the close at which the next fold takes over
    opened = strategy.trades["decided_at"].between(decided.iloc[0], decided.iloc[-1])
    return {
        "first_decision": decided.iloc[0],
        "last_decision": decided.iloc[-1],
        **forecast_scores(predictions.iloc[part]),
        "trades": int(opened.sum()),
        **_money(strategy, reached, bars_per_year),
        **{f"hold_{name}": value for name, value in _money(hold, reached, bars_per_year).items()},
    }


def member_table(
    bars: pd.DataFrame, models: Sequence[FoldModel], predictions: pd.DataFrame
) -> pd.DataFrame:
    """Return how each member of each fold's model forecast the fold's decisions by itself: one row per fold and member."""
    columns = ("fold", "member", *SCORES)
    return pd.DataFrame(
        [
            {
                "fold": str(model.fold.number),
                "member": member.name,
                **_member_scores(bars, model, member, predictions, models),
            }
            for model in models
            if model.checkpoint
            for member in model.checkpoint.members
        ],
        columns=columns,
    )


def spread_table(members: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Return how far the members of each fold's model lie apart in AUC, beside that of their mean logit: a row per fold."""
    by_fold = members.groupby("fold", sort=False)["auc"]
    rows = by_fold.agg(["count", "mean", "std", "min", "max"]).reset_index()
    return rows.assign(together=rows["fold"].map(folds.set_index("fold")["auc"]))


def _member_scores(
    bars: pd.DataFrame,
    model: FoldModel,
    member: Member,
    predictions: pd.DataFrame,
    models: Sequence[FoldModel],
) -> dict[str, float | None]:
    decided = predictions.iloc[_decisions(model.fold, models, predictions)]
    if model.checkpoint is None or len(model.checkpoint.members) == 1:
        return forecast_scores(decided)
    said = replace(model.checkpoint, members=(member,)).probabilities(model.fold.test_bars(bars))
    return forecast_scores(decided.assign(probability=said.to_numpy()))


def forecast_scores(predictions: pd.DataFrame) -> dict[str, float | None]:
    """Score the predictions that have both a probability and a known label."""
    judged = predictions.dropna(subset=["probability", "label"])
    scores = classification_scores(
        judged["label"].to_numpy(float), judged["probability"].to_numpy(float)
    )
    return {name: scores[name] for name in SCORES}


def _money(simulation: Simulation, part: slice, bars_per_year: float) -> dict[str, float | None]:
    equity = simulation.equity.to_numpy()[part]
    held = simulation.position.to_numpy()[part][
        1:
    ]  # the position at the first close is the work of the fold before
    return {
        "return": total_return(equity),
        "sharpe": sharpe(bar_returns(equity), bars_per_year),
        "max_drawdown": max_drawdown(equity),
        "exposure": float(np.mean(held != 0)) if len(held) else 0.0,
    }
