"""How well the folds forecast and what they earned: one row per fold and one in total, beside buy-and-hold."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from backtests.simulation import Simulation
from backtests.walk_forward import Fold, FoldModel
from model.members import Member
from model.metrics import bar_returns, classification_scores, max_drawdown, sharpe, total_return

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
