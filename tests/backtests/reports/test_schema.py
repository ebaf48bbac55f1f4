"""The format of summary.json and of the tables.

What is written fits it, and the summary's changes only with its version.
"""

import csv
import json
from pathlib import Path

import msgspec
import pytest

from backtests.reports.results import COMPARISON, FILES, VERSION, write_results
from backtests.reports.schema import TABLES, Summary
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.formats import columns_of, format_of
from tests.helpers.makers import random_bars, random_checkpoint

FROZEN = Path(__file__).parent / "summary.schema.json"
PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


def written(folder, models, bars, best=None):
    results = evaluate(
        bars, models, save(models, folder), Settings(PLAN, CONFIG, Account(), Costs()), best=best
    )
    write_results(folder, results)
    return (folder / "summary.json").read_bytes()


@pytest.fixture(scope="module")
def long_bars():
    return random_bars(500, seed=5)


@pytest.fixture(scope="module")
def folds(long_bars):
    return lay_folds(long_bars, PLAN, CONFIG)


@pytest.fixture(scope="module")
def folder(long_bars, folds, tmp_path_factory):
    models = [
        FoldModel(fold, random_checkpoint(long_bars, long_bars.index[fold.test])) for fold in folds
    ]
    place = tmp_path_factory.mktemp("full")
    written(place, models, long_bars, best=long_bars["close"] * 0 + 0.5)
    return place


@pytest.fixture(scope="module")
def summary(folder):
    return (folder / "summary.json").read_bytes()


@pytest.mark.parametrize("name", [name for name in TABLES if name != COMPARISON])
def test_every_row_of_a_table_fits_its_type(folder, name):
    """As text, where a missing figure is empty.

    a type that is not a number keeps what it must be.
    """
    with (folder / name).open(newline="") as file:
        rows = [
            {column: value or None for column, value in row.items()} for row in csv.DictReader(file)
        ]
    assert rows and sorted(rows[0]) == sorted(columns_of(TABLES[name]))
    for row in rows:
        if name == "folds.csv" and row["fold"] == "total":
            row["model"] = ""
        msgspec.convert(row, TABLES[name], strict=False)


def test_every_table_has_a_type():
    assert {name for name in FILES if name.endswith(".csv")} - set(TABLES) == {"importance.csv"}


def test_what_is_written_fits_the_format(summary):
    assert msgspec.json.decode(summary, type=Summary).version == VERSION


def test_a_run_without_any_model_fits_too(long_bars, folds, tmp_path):
    nothing = written(
        tmp_path, [FoldModel(fold, None, reason="one class") for fold in folds], long_bars
    )
    found = msgspec.json.decode(nothing, type=Summary)
    assert (
        found.calibration is None
        and found.evidence.sharpe is None
        and found.verdict.word == "no edge"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("verdict"),
        lambda content: content.update(new=1),
        lambda content: content.update(version=1),
        lambda content: content["total"].pop("auc"),
        lambda content: content["verdict"].update(word="maybe"),
    ],
)
def test_what_does_not_fit_is_refused(summary, change):
    content = json.loads(summary)
    change(content)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(content, Summary)


def test_the_format_changes_only_with_its_version():
    """Write tests/summary.schema.json anew with a higher version when an entry changes its name or
    meaning.
    """
    assert json.loads(FROZEN.read_text()) == format_of(Summary)
