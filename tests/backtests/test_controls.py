"""It learns what is there, the controls tell when it does not, and an exact forecast earns what it
must.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from backtests import controls, synthetic
from backtests.controls import app
from backtests.evidence.baselines import Array, examples_of, logistic
from backtests.lookahead.detectors import history_leaks, scaler_leaks
from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import Simulation, simulate
from backtests.synthetic import control as control_table
from backtests.synthetic.control import Control, Row, gross_sharpe, next_returns, share
from backtests.synthetic.markets import Market, market
from model.checkpoint.scaler import Scaler
from model.cli import run
from model.features.table import FeatureEngineer
from model.metrics import auc, bar_returns
from model.networks.bilstm import BiLSTMClassifier
from model.training.config import TrainConfig
from model.training.data import TrainingData, prepare
from model.training.fitting import fit
from model.training.preprocessor import DataPreprocessor

FRESH = 2_000
# Market, bars and epochs that a learning network needs at least. The echo comes from the middle of
# the window or its far end.
ECHO, FAR_ECHO, REGIME = ("echo", 3_000, 1), ("echo:lag=45", 3_000, 1), ("regime", 4_000, 1)
CUTS = (200, 251, 320)


# It learns


@dataclass(frozen=True, eq=False)
class Learned:
    """What a network trained on a market says of windows it has not seen, beside the best forecast
    of them.
    """

    labels: Array
    said: Array
    best: Array
    logistic: Array

    @property
    def share(self) -> float:
        return share(self.labels, self.said, self.best) or 0.0

    @property
    def above_logistic(self) -> float:
        ours, theirs = (auc(self.labels, forecast) for forecast in (self.said, self.logistic))
        assert ours is not None and theirs is not None
        return ours - theirs


def learn(name: str, bars: int, epochs: int) -> Learned:
    control = Control(name, 1, bars, FRESH, TrainConfig(max_epochs=epochs))
    sample = control.sample()
    examples = examples_of(sample.bars, control.config, bars)
    said = fit(sample.bars.iloc[:bars], control.config).predict(examples.raw_rows)
    return Learned(
        examples.judged.labels,
        said,
        sample.probability.loc[examples.judged.timestamps].to_numpy(),
        logistic(examples),
    )


learned = cache(learn)


def require_echo_learned(found: Learned) -> None:
    """The gate: what the window's older bars say of the next one has been learned, not only what
    its last row does.
    """
    assert found.share >= 0.65 and found.above_logistic >= 0.08


@pytest.mark.parametrize("found", [ECHO, FAR_ECHO])
def test_an_echo_is_learned_from_the_middle_and_the_far_end_of_the_window(
    found: tuple[str, int, int],
) -> None:
    require_echo_learned(learned(*found))


def test_a_head_that_reads_the_last_step_alone_does_not_pass_for_learning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last_step(network: BiLSTMClassifier, windows: Tensor) -> Tensor:
        output, _ = network.lstm(windows)
        logits: Tensor = network.head(network.dropout(output[:, -1, :])).squeeze(1)
        return logits

    monkeypatch.setattr(BiLSTMClassifier, "forward", last_step)
    with pytest.raises(AssertionError):
        require_echo_learned(learn(*FAR_ECHO))


def test_a_hidden_drift_is_learned() -> None:
    assert learned(*REGIME).share >= 0.6


@pytest.mark.parametrize(("found", "above", "bias"), [(ECHO, 0.2, 0.15), (REGIME, 0.05, 0.06)])
def test_what_is_learned_is_calibrated(
    found: tuple[str, int, int], above: float, bias: float
) -> None:
    """A temperature cannot move the mean, and a single epoch has not settled it.

    Hence the room for the bias.
    """
    sure = learned(*found)
    assert log_loss(sure.labels, sure.said) <= log_loss(sure.labels, sure.best) + above
    assert sure.said.mean() == pytest.approx(sure.labels.mean(), abs=bias)


def log_loss(labels: Array, said: Array) -> float:
    return float(-np.mean(np.where(labels == 1, np.log(said), np.log1p(-said))))


# An exact forecast earns what it must: this tests the strategy without any training

ORACLE_BARS = 4_000
GROSS_SHARPE = {
    "regime": 0.229,
    "volrev": 0.568,
    "echo": 1.03,
    "latch": 0.715,
    "walkdrift": 0.056,
    "ar1": 0.207,
}


@cache
def oracle(name: str) -> tuple[Market, Simulation]:
    sample = market(name, ORACLE_BARS, 2)
    account = Account(enter=0.5, exit=0.5, allow_short=True)
    return sample, simulate(sample.bars, sample.probability, account=account, costs=Costs(0, 0, 0))


@pytest.mark.parametrize("name", GROSS_SHARPE)
def test_the_exact_probability_earns_the_sharpe_ratio_of_its_market(name: str) -> None:
    earned = bar_returns(oracle(name)[1].equity.to_numpy())[1:]
    assert earned.mean() / earned.std() == pytest.approx(
        GROSS_SHARPE[name], abs=4 / np.sqrt(len(earned))
    )


@pytest.mark.parametrize("name", GROSS_SHARPE)
def test_the_strategy_earns_what_going_with_every_forecast_earns(name: str) -> None:
    sample, account = oracle(name)
    earned = bar_returns(account.equity.to_numpy())[1:]
    all_in = gross_sharpe(sample.probability.to_numpy()[:-1], next_returns(sample).to_numpy()[:-1])
    assert earned.mean() / earned.std() == pytest.approx(all_in, abs=0.02)


@pytest.mark.parametrize("name", GROSS_SHARPE)
def test_equity_moves_by_what_is_held_before_and_after_the_open(name: str) -> None:
    sample, account = oracle(name)
    value, size = account.equity.to_numpy(), account.position.to_numpy()
    opens, closes = sample.bars["open"].to_numpy(), sample.bars["close"].to_numpy()
    expected = (
        value[:-1] + size[:-1] * (opens[1:] - closes[:-1]) + size[1:] * (closes[1:] - opens[1:])
    )
    np.testing.assert_allclose(value[1:], expected, rtol=1e-9)


def test_the_exact_probability_is_held_in_the_direction_it_says_from_the_next_open() -> None:
    sample, account = oracle("echo")
    said = np.where(sample.probability.to_numpy()[:-1] >= 0.5, 1, -1)
    np.testing.assert_array_equal(np.sign(account.position.to_numpy()[1:]), said)


# The canaries: planted leaks turn the tests red that guard against them


@pytest.fixture(scope="module")
def walk() -> pd.DataFrame:
    return market("walk", 400).bars


def require_no_future_in_features(compute: FeatureEngineer, bars: pd.DataFrame) -> None:
    """Take the future away, compute again, compare."""
    assert [
        found.item for found in history_leaks("features", compute.transform, bars, CUTS).findings
    ] == []


class LeakingEngineer(FeatureEngineer):
    """Its first feature is the next bar's return, hidden under noise three times as large."""

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        features = super().transform(bars)
        noise = np.random.default_rng(1).normal(0, 0.006, len(bars))
        planted = (bars["close"] / bars["open"] - 1).shift(-1).fillna(0.0) + noise
        return features.assign(**{features.columns[0]: planted.loc[features.index]})


def test_the_features_hold_nothing_of_the_future(walk: pd.DataFrame) -> None:
    require_no_future_in_features(FeatureEngineer(), walk)


def test_a_feature_equal_to_the_next_return_with_noise_turns_the_leak_test_red(
    walk: pd.DataFrame,
) -> None:
    with pytest.raises(AssertionError, match=FeatureEngineer().transform(walk).columns[0]):
        require_no_future_in_features(LeakingEngineer(), walk)


def require_scaler_of_training_alone(data: TrainingData, fitted_on: slice) -> None:
    """Change the rows behind training, fit again, compare."""

    def fitted(features: pd.DataFrame) -> Scaler:
        return DataPreprocessor().fit_scaler(features, fitted_on)

    assert scaler_leaks(fitted, data.features, len(data.train.rows)).differences == 0


def test_the_scaler_knows_the_training_part_alone(walk: pd.DataFrame) -> None:
    data = prepare(walk, TrainConfig())
    require_scaler_of_training_alone(data, data.split[0])


def test_a_scaler_fitted_on_all_rows_turns_the_scaler_test_red(walk: pd.DataFrame) -> None:
    data = prepare(walk, TrainConfig())
    with pytest.raises(AssertionError):
        require_scaler_of_training_alone(data, slice(0, len(data.labels)))


# The command

FIGURES = {
    "windows",
    "base_rate",
    "standard_error",
    "optimum_auc",
    "optimum_log_loss",
    "auc",
    "log_loss",
    "temperature",
    "calibration_error",
    "calibration_error_limit",
    "accuracy",
    "balanced_accuracy",
    "mcc",
}


def pretended(control: Control) -> Row:
    """A row whose AUC names its seed."""
    baselines = {
        f"{name}_{score}": 0.5
        for name in ("logistic", "boosting", "ridge")
        for score in control_table.SCORES
    }
    none = dict.fromkeys(("share", "share_low", "share_high"), None)
    return {
        "market": control.market,
        "seed": control.seed,
        **dict.fromkeys(FIGURES, 0.5),
        "auc": 0.5 + control.seed / 100,
        "epochs": 3,
        "bins_outside": 0,
        "reliability": [],
        **none,
        **baselines,
    }


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Control]:
    """The controls that were measured; none is really trained."""
    done: list[Control] = []

    def measure(control: Control) -> Row:
        done.append(control)
        return pretended(control)

    monkeypatch.setattr(synthetic, "measure", measure)
    return done


def outcome(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, [*map(str, arguments), *(() if "--jobs" in arguments else ("--jobs", "1"))])
    return int(stopped.value.code or 0)


def test_rows_are_printed_and_written_in_the_order_asked_for(
    measured: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        outcome(
            "--markets", "walk", "echo:strength=0.5", "--market-seeds", "2", "1", "--out", tmp_path
        )
        == 0
    )
    rows = json.loads((tmp_path / "controls.json").read_text())
    asked = [("walk", 2), ("walk", 1), ("echo:strength=0.5", 2), ("echo:strength=0.5", 1)]
    assert (
        [(row["market"], row["seed"]) for row in rows]
        == asked
        == [(control.market, control.seed) for control in measured]
    )
    assert list(pd.read_csv(tmp_path / "controls.csv")["seed"]) == [2, 1, 2, 1]
    printed = capsys.readouterr().out
    assert (
        "echo:strength=0.5 1: AUC 0.510 of 0.500" in printed
        and "how much of what is there was found" in printed
    )
    assert "how sure it was" in printed and "…" not in printed


def test_a_second_run_measures_only_what_is_missing(
    measured: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--markets", "echo", "--market-seeds", "1", "--out", tmp_path) == 0
    assert outcome("--markets", "echo", "--market-seeds", "1", "2", "--out", tmp_path) == 0
    assert [control.seed for control in measured] == [1, 2]
    assert "2 controls: 1 known, 1 to measure" in capsys.readouterr().out
    assert outcome("--config", tmp_path / "settings.toml") == 0
    assert "2 controls: 2 known, 0 to measure" in capsys.readouterr().out


def test_all_usable_cores_work_unless_the_number_is_given(
    measured: list[Control], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(controls, "cpu_count", lambda: 7)
    monkeypatch.setattr(controls, "collect", lambda wanted, store, jobs: asked.append(jobs) or [])
    monkeypatch.setattr(controls, "show_silence", lambda rows, out: None)
    for more in ((), ("--jobs", "3")):
        app(
            ["--silence", "1", "--out", str(tmp_path), *more],
            exit_on_error=False,
            result_action="return_value",
        )
    assert asked == [7, 3]


def test_the_rows_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    arguments = (
        *("--markets", "echo", "--market-seeds", "1", "2", "--bars", "900"),
        *("--holdout-bars", "300", "--sequence-length", "10", "--max-epochs", "1"),
    )
    for jobs in (1, 2):
        assert outcome(*arguments, "--jobs", jobs, "--out", tmp_path / str(jobs)) == 0
    one, two = ((tmp_path / jobs / "controls.json").read_bytes() for jobs in ("1", "2"))
    assert one == two and len(json.loads(one)) == 2


@pytest.mark.filterwarnings("always::FutureWarning")
def test_the_old_name_of_a_flag_works_and_names_the_new_one(
    measured: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        outcome("--markets", "echo", "--market-seeds", "1", "--out", tmp_path, "--fresh", "7") == 0
    )
    assert [control.fresh for control in measured] == [7]
    assert "--fresh is called --holdout-bars now" in capsys.readouterr().err


def test_files_hold_no_clock_times(measured: list[Control], tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert outcome("--markets", "echo", "--out", folder) == 0
        contents.append(
            {
                path.relative_to(folder): path.read_bytes()
                for path in folder.rglob("*.*")
                if path.name != "settings.toml"  # which names the folder
            }
        )
    assert contents[0] == contents[1] and len(contents[0]) == 5


def test_silence_judges_small_markets_without_an_edge(
    measured: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--silence", "2", "--out", tmp_path, "--max-epochs", "4") == 0
    asked = [("walk", 1), ("walk", 2), ("walkdrift", 1), ("walkdrift", 2)]
    assert [(control.market, control.seed) for control in measured] == asked
    assert {(control.bars, control.config.max_epochs) for control in measured} == {(3_000, 4)}
    assert list(pd.read_csv(tmp_path / "silence.csv")["forecaster"][:2]) == ["network", "logistic"]
    printed = capsys.readouterr().out
    assert "found where nothing is, means over 2 seeds" in printed and "…" not in printed


def pooled_row(control: Control) -> Row:
    """A row of a universe on which the Transformer finds less than is required."""
    share = 0.95 if control.config.architecture == "bilstm" else 0.8
    return {
        "market": control.market,
        "architecture": control.config.architecture,
        "seed": control.seed,
        **dict.fromkeys(("auc", "optimum_auc"), 0.6),
        **dict.fromkeys(("share", "least", "unseen"), share),
        "direction": 0.5 if control.market == "shared" else None,
        "single": 0.7 if "+" in control.market else None,
        "epochs": 3,
    }


@pytest.fixture
def universes(monkeypatch: pytest.MonkeyPatch) -> list[Control]:
    """The controls of universes that were measured; none is really trained."""
    done: list[Control] = []
    monkeypatch.setattr(
        synthetic, "measure_pooled", lambda control: done.append(control) or pooled_row(control)
    )
    return done


def test_one_network_for_many_is_tried_on_each_market_and_a_mixture(
    universes: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--instruments", "20", "--out", tmp_path) == 0
    assert [control.market for control in universes] == [*synthetic.REQUIRED, "latch+volrev"]
    assert {(one.seed, one.bars, one.instruments) for one in universes} == {(1, 3_000, 20)}
    printed = capsys.readouterr().out
    assert "all that is required of 20 histories of 3,000 bars is held" in printed
    assert "volrev:strength=0.45 1" in printed and "…" not in printed


def test_it_leaves_with_1_and_says_which_network_finds_less_than_required(
    universes: list[Control], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--instruments", "20", "--markets", "latch", "ar1", "--market-seeds", "2")
    both = ("--architecture", "bilstm,transformer")
    assert outcome(*given, *both, "--out", tmp_path) == 1
    assert [(one.market, one.config.architecture) for one in universes] == [
        *(("latch", "bilstm"), ("latch", "transformer")),
        *(("ar1", "bilstm"), ("ar1", "transformer")),
    ]
    printed = capsys.readouterr().out
    assert printed.count("required 0.92") == 1
    assert "latch 2, transformer: share 0.800, required 0.92" in printed
    rows = pd.read_csv(tmp_path / "controls.csv")
    assert list(rows["share"]) == [0.95, 0.8] * 2 and set(rows["seed"]) == {2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--markets", "eccho"), "unknown market: 'eccho'. Did you mean 'echo'?"),
        (("--horizon", "3"), "--horizon must be 1, got 3"),
        (("--holdout-bars", "-1"), "--holdout-bars must be a whole number from 0, got -1."),
        (("--fresh", "7", "--holdout-bars", "8"), "--fresh and --holdout-bars are the same."),
        (("--jobs", "0"), "--jobs must be a whole number from 1, got 0."),
        (("--silence", "0"), "--silence must be a whole number from 1, got 0."),
        (("--instruments", "1"), "--instruments must be a whole number from 2, got 1."),
        (("--instruments", "9"), "--instruments must be a whole number from 10 to 500, got 9."),
        (
            ("--instruments", "11"),
            "--instruments must be a multiple of 2, the laws of latch+volrev",
        ),
        (("--instruments", "20", "--silence", "2"), "--silence and --instruments exclude"),
        (("--architecture", "bilstm,transformer"), "--architecture must be one without"),
        (("--architecture", "bilstn"), "--architecture must be one of bilstm, transformer"),
    ],
)
def test_a_control_that_cannot_be_is_refused_before_any_work(
    measured: list[Control],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert outcome(*arguments, "--out", tmp_path) == 2
    assert message in capsys.readouterr().err and not measured
