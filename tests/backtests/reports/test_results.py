import io
import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from backtests.evidence.verdict import Word
from backtests.reports.results import FILES, summary, write_results
from backtests.reports.terminal import tables
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from backtests.walk_forward.thresholds import Choice
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.makers import random_checkpoint

KEYS = [
    "version",
    "verdict",
    "data",
    "settings",
    "total",
    "account",
    "trading",
    "refused",
    "best_possible",
    "share_found",
    "folds",
    "spread",
    "evidence",
    "overfitting",
    "registration",
    "search",
    "calibration",
    "importance",
    "versions",
    "mixed_machines",
]
PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


def results_of(models, bars, folder):
    return evaluate(
        bars,
        models,
        save(models, folder),
        Settings(PLAN, CONFIG, Account(enter=0.5, exit=0.5), Costs()),
    )


@pytest.fixture(scope="module")
def models(bars):
    folds = lay_folds(bars, PLAN, CONFIG)
    return [
        FoldModel(fold, random_checkpoint(bars, bars.index[fold.test], seed=fold.number))
        for fold in folds
    ]


@pytest.fixture(scope="module")
def results(bars, models, tmp_path_factory):
    return results_of(models, bars, tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("out")
    write_results(path, results)
    return path


def test_the_files_are_those_named(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_the_same_results_give_the_same_bytes(folder, results, tmp_path):
    write_results(tmp_path, results)
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in FILES)


@pytest.mark.parametrize(
    "name, columns",
    [
        (
            "predictions.csv",
            ["fold", "decided_at", "opens_at", "known_at", "probability", "label", "checkpoint"],
        ),
        (
            "equity.csv",
            [
                "date",
                "equity",
                "drawdown",
                "buy_and_hold",
                "position",
                "probability",
                "hold_drawdown",
                "rolling_sharpe",
                "hold_rolling_sharpe",
            ],
        ),
        ("months.csv", ["year", "month", "return", "hold_return"]),
        ("years.csv", ["year", "return", "hold_return"]),
        ("distribution.csv", ["from", "to", "buy_and_hold", "strategy"]),
        (
            "members.csv",
            [
                "fold",
                "member",
                "windows",
                "up_share",
                "auc",
                "log_loss",
                "brier",
                "accuracy",
                "base_rate",
                "balanced_accuracy",
                "mcc",
            ],
        ),
        ("importance.csv", ["group"]),  # and a column per fold, of models that are trained
        (
            "trades.csv",
            [
                "direction",
                "decided_at",
                "opened_at",
                "closed_at",
                "bars",
                "size",
                "entry_price",
                "exit_price",
                "gross",
                "costs",
                "net",
                "return",
            ],
        ),
    ],
)
def test_a_table_has_its_columns(folder, name, columns):
    assert list(pd.read_csv(folder / name)) == columns


def test_the_folds_multiply_to_the_total(results):
    table = results.folds
    for column in ("return", "hold_return"):
        assert (1 + table[column].iloc[:-1]).prod() == pytest.approx(1 + table[column].iloc[-1])


def test_thresholds_that_were_given_stand_in_the_place_of_the_checkpoints_own(results):
    assert results.settings.account.enter == 0.5
    assert results.folds[["enter", "exit", "thresholds"]].iloc[
        :-1
    ].drop_duplicates().to_numpy().tolist() == [[0.5, 0.5, "given"]]


def test_the_bar_interval_is_written_as_it_is_spoken(results):
    assert summary(results)["data"]["bar_interval"] == "1 day"


@pytest.mark.parametrize(
    "choice, word",
    [
        (Choice(chosen=True), "validation"),
        (Choice(net=-1e-4, chosen=True), "validation, at a loss"),
        (Choice(), "too few trades"),
    ],
)
def test_it_is_said_whether_validation_chose_the_thresholds(results, models, choice, word):
    own = replace(results.settings, account=Account())
    folds = replace(
        results,
        settings=own,
        models=[replace(model, choice=choice) for model in models],
    ).folds
    assert set(folds["thresholds"].iloc[:-1]) == {word}


def test_the_trades_of_the_folds_sum_to_the_total(results):
    table = results.folds
    assert (
        table["trades"].iloc[:-1].sum()
        == table["trades"].iloc[-1]
        == len(results.strategy.trades)
        > 0
    )


def test_the_fold_table_says_when_each_fold_decided(results, models, bars):
    table = results.folds
    assert table["first_decision"].tolist()[:-1] == [
        bars.index[model.fold.test] for model in models
    ]
    assert table["last_decision"].iloc[-1] == bars.index[-1]
    # The last two labels are not known yet.
    assert table["windows"].iloc[-1] == len(results.predictions) - 2


def test_the_summary_is_json_with_a_version(folder):
    found = json.loads((folder / "summary.json").read_text())
    assert list(found) == KEYS
    assert found["version"] == 3 and len(found["folds"]) == 3
    assert found["settings"]["folds"] == vars(PLAN)


def test_the_account_by_close_is_that_of_the_total(folder, results):
    found = json.loads((folder / "summary.json").read_text())
    account, total, trading = found["account"], found["total"], found["trading"]
    for name, prefix in (("strategy", ""), ("hold", "hold_")):
        # The total ends with the last decision's bar, where nothing else comes after it.
        assert account[name]["max_drawdown"] == pytest.approx(total[f"{prefix}max_drawdown"])
        assert account[name]["sharpe"] == pytest.approx(total[f"{prefix}sharpe"])
    assert trading["trades"] == total["trades"] == len(results.strategy.trades)
    assert 0 <= trading["hit_rate"] <= 1 and trading["mean_loss"] <= 0 < trading["holding"]


def test_the_alpha_worth_having_is_the_accounts(results, bars, models, tmp_path):
    settings = replace(results.settings, account=Account(worth=0.3))
    other = evaluate(bars, models, save(models, tmp_path), settings)
    years = other.evidence.periods_per_year
    assert other.evidence.worth == pytest.approx(0.3 / years)
    assert results.evidence.worth == pytest.approx(0.01 / years)


def test_the_summary_holds_the_verdict_and_the_evidence(folder):
    found = json.loads((folder / "summary.json").read_text())
    assert found["verdict"]["word"] in get_args(Word)
    assert found["verdict"]["sentence"].startswith(found["verdict"]["word"] + ": alpha ")
    assert list(found["evidence"]["benchmarks"]) == [
        "strategy",
        "buy-and-hold",
        "last return",
        "moving averages",
        "logistic",
        "boosting",
        "ridge",
    ]


def test_beside_the_best_forecast_there_is_stands_our_share_of_its_edge(
    results, bars, models, tmp_path
):
    best = (bars["open"].shift(-2) > bars["open"].shift(-1)) * 0.5 + 0.25
    known = evaluate(bars, models, save(models, tmp_path), results.settings, best=best)
    assert known.best["auc"] == 1 and known.share_found == pytest.approx(
        2 * known.folds["auc"].iloc[-1] - 1
    )
    assert results.best is None and results.share_found is None


def test_folds_of_different_machines_are_said_to_be(results, models):
    elsewhere = [replace(models[0], machine={"processor": "another"}), *models[1:]]
    assert not summary(results)["mixed_machines"]
    assert summary(replace(results, models=elsewhere))["mixed_machines"]


@pytest.fixture(scope="module")
def gap(bars, models, tmp_path_factory):
    """Results whose second fold has no model."""
    return results_of(
        [models[0], replace(models[1], checkpoint=None), models[2]],
        bars,
        tmp_path_factory.mktemp("gap"),
    )


def test_a_fold_without_a_model_is_marked_and_flat(gap):
    row = gap.folds.iloc[1]
    assert row["model"] == "no model" and np.isnan(row["auc"])
    assert summary(gap)["folds"][1]["auc"] is None


def test_the_tables_fit_eighty_columns(gap):
    console = Console(width=80, file=io.StringIO())
    console.print(tables(gap))
    text = console.file.getvalue()
    assert "no model" in text and "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_picture_is_a_png(folder):
    assert (folder / "equity.png").read_bytes().startswith(b"\x89PNG")
