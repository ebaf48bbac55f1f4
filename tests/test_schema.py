"""The format of summary.json: what is written fits it, and it changes only with its version."""
import json
from pathlib import Path

import msgspec
import pytest
from folds import save
from makers import random_bars, random_checkpoint

from backtests.results import VERSION, Settings, evaluate, write_results
from backtests.schema import Summary, summary_schema
from backtests.simulation import Account, Costs
from backtests.walk_forward import FoldModel, FoldPlan, lay_folds
from model.training import TrainConfig

FROZEN = Path(__file__).parent / "summary.schema.json"
PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())


def written(folder, models, bars, best=None):
    results = evaluate(bars, models, save(models, folder), Settings(PLAN, CONFIG, Account(), Costs()), best=best)
    write_results(folder, results)
    return (folder / "summary.json").read_bytes()


@pytest.fixture(scope="module")
def long_bars():
    return random_bars(500, seed=5)


@pytest.fixture(scope="module")
def folds(long_bars):
    return lay_folds(long_bars, PLAN, CONFIG)


@pytest.fixture(scope="module")
def summary(long_bars, folds, tmp_path_factory):
    models = [FoldModel(fold, random_checkpoint(long_bars, long_bars.index[fold.test])) for fold in folds]
    return written(tmp_path_factory.mktemp("full"), models, long_bars, best=long_bars["close"] * 0 + 0.5)


def test_what_is_written_fits_the_format(summary):
    assert msgspec.json.decode(summary, type=Summary).version == VERSION


def test_a_run_without_any_model_fits_too(long_bars, folds, tmp_path):
    nothing = written(tmp_path, [FoldModel(fold, None, reason="one class") for fold in folds], long_bars)
    found = msgspec.json.decode(nothing, type=Summary)
    assert found.calibration is None and found.evidence.sharpe is None and found.verdict.word == "cannot tell"


@pytest.mark.parametrize("change", [
    lambda content: content.pop("verdict"), lambda content: content.update(new=1), lambda content: content.update(version=2),
    lambda content: content["total"].pop("auc"), lambda content: content["verdict"].update(word="maybe"),
])
def test_what_does_not_fit_is_refused(summary, change):
    content = json.loads(summary)
    change(content)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(content, Summary)


def test_the_format_changes_only_with_its_version():
    """Write tests/summary.schema.json anew with a higher version when an entry changes its name or meaning."""
    assert json.loads(FROZEN.read_text()) == json.loads(json.dumps(summary_schema()))
