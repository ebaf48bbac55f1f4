"""The command python backtests/audit.py and what goes through its detectors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtests import progress
from backtests.audit import SHOWN, app
from backtests.lookahead import checkpoint_checks as subjects
from backtests.lookahead.checkpoint_checks import CheckpointChecks
from backtests.lookahead.checks import Cuts, PipelineChecks
from backtests.lookahead.detectors import LeakResult
from model.bars.intervals import day
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.scaler import Scaler
from model.checkpoint.schedule import Schedule
from model.cli import run
from model.features.table import FeatureEngineer
from model.labels import labelling
from model.training.config import TrainConfig
from model.training.data import TrainingData, prepare
from tests.helpers import own_labels
from tests.helpers.makers import random_bars, random_checkpoint

PIPELINE = [
    "features",
    "features, whole history",
    "labels",
    "labels of windows",
    "targets of windows",
    "targets when known",
    "overlap",
    "scaler",
    "scaler of training",
    "shuffled labels",
]
NETWORKS = [
    "probabilities",
    "schedule",
    "overlap in checkpoints",
    "scaler in checkpoints",
    "orders",
    "orders at the cut",
]


@pytest.fixture(scope="module")
def data(bars: pd.DataFrame) -> TrainingData:
    """The bars, ready to train on."""
    return prepare(bars, TrainConfig(batch_size=16))


@pytest.fixture(scope="module")
def trained(bars: pd.DataFrame, data: TrainingData) -> Checkpoint:
    """A network with random weights and the scaler, parts and dates of one trained on the bars."""
    return as_trained(bars, data, data.scaler)


def as_trained(bars: pd.DataFrame, data: TrainingData, scaler: Scaler) -> Checkpoint:
    decided = bars.index[149:]
    parts = {
        name: {"first": str(decided[part.start]), "last": str(decided[part.stop - 1])}
        for name, part in zip(("train", "validation"), data.split)
    }
    return random_checkpoint(bars, decided[data.split[1].stop - 1 + 2], scaler=scaler, parts=parts)


@pytest.fixture
def file(trained: Checkpoint, tmp_path: Path) -> Path:
    """The file of `trained`."""
    trained.save(tmp_path / "trained.ckpt")
    return tmp_path / "trained.ckpt"


@pytest.fixture(scope="module")
def folder(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A schedule of three networks with random weights, the last trained until 20 bars before the
    end.
    """
    folder = tmp_path_factory.mktemp("schedule")
    for number, last in enumerate((-120, -60, -20)):
        random_checkpoint(bars, bars.index[last], seed=number).save(folder / f"{number}.ckpt")
    return folder


def checked(bars: pd.DataFrame, path: Path, name: str, cuts: int = 3) -> LeakResult:
    return CheckpointChecks(bars, Schedule(str(path)), Cuts(cuts)).steps[name](iter)


def saved(checkpoint: Checkpoint, file: Path) -> Path:
    checkpoint.save(file)
    return file


def outcome(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run(app, [str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture
def csv(bars: pd.DataFrame, tmp_path: Path) -> Path:
    """The last 280 of the bars as a CSV file."""
    path = tmp_path / "random.csv"
    bars.iloc[-280:].to_csv(path)
    return path


# The command


def test_a_clean_pipeline_leaves_with_0_and_a_table_of_zeros(
    csv: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says on the way where it is."""
    monkeypatch.setattr(progress, "SAY_EVERY", -1.0)
    assert outcome("--data", csv, "--cuts", 2) == 0
    printed = capsys.readouterr().out
    assert f"check 2 of {len(PIPELINE)}, features, whole history: 1 of 2 done, less " in printed
    rows = [line.strip("│ \n").split("│") for line in printed.splitlines() if "│" in line]
    assert [row[0].strip() for row in rows] == PIPELINE
    assert all(
        int(compared.replace(",", "")) > 0 and int(differences) == 0
        for _, compared, differences in rows
    )


def test_a_leak_leaves_with_1_and_names_feature_and_bar(
    csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = FeatureEngineer.transform

    def leaking(self: FeatureEngineer, bars: pd.DataFrame) -> pd.DataFrame:
        rows = clean(self, bars)
        return rows.assign(
            streak=bars["close"].pct_change().shift(-1).reindex(rows.index).fillna(0)
        )

    monkeypatch.setattr(FeatureEngineer, "transform", leaking)
    assert outcome("--data", csv, "--cuts", 2) == 1
    assert "features: streak at 2020-08-08 is" in capsys.readouterr().out


def test_a_folder_is_audited_too(
    csv: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--data", csv, "--cuts", 2, "--checkpoint", folder) == 0
    printed = capsys.readouterr().out
    assert all(f"│ {name} " in printed for name in PIPELINE + NETWORKS)
    assert "scaler in checkpoints: 0 of 3 checkpoints were trained on these bars" in printed


def test_a_network_that_saw_too_much_leaves_with_1(
    bars: pd.DataFrame,
    data: TrainingData,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PipelineChecks, "steps", {})  # what is clean takes its time elsewhere
    monkeypatch.setattr(CheckpointChecks, "probabilities", CheckpointChecks.in_force)
    everything = data.config.preprocessor.fit_scaler(data.features, slice(0, len(data.labels)))
    trained = as_trained(bars, data, everything)
    trained.save(file)
    bars.to_csv(tmp_path / "random.csv")
    assert outcome("--data", tmp_path / "random.csv", "--cuts", 2, "--checkpoint", file) == 1
    printed = capsys.readouterr().out
    assert "scaler in checkpoints: mean of bar_open_z at" in printed
    assert (
        f"fitted on the training part of the checkpoint trained until {day(trained.trained_until)}"
        in printed
    )
    more = len(checked(bars, file, "scaler in checkpoints").findings) - SHOWN
    assert f"and {more} more values that know the future" in printed


@pytest.mark.parametrize(
    "wrong, code, message",
    [
        (["--cuts", 0], 2, "--cuts must be a whole number from 1, got 0."),
        (["--seed", -1], 2, "--seed must be a whole number from 0, got -1."),
        (["--horizon", 0], 2, "--horizon must be a whole number of bars from 1, got 0."),
        (["--checkpoint", "none.ckpt"], 4, "none.ckpt cannot be read"),
        (["--data", "none.csv"], 3, "none.csv"),
    ],
)
def test_wrong_settings_are_refused(
    wrong: list[Any], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(*wrong) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flag", [("--label", "close"), ("--horizon", 2)])
def test_what_a_checkpoint_states_cannot_be_stated_again(
    flag: tuple[str, Any], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome("--checkpoint", file, *flag) == 2
    assert (
        "--label and --horizon are stated by the checkpoint. Leave them out."
        in capsys.readouterr().err
    )


# The cuts


def test_cuts_are_drawn_once_each_in_order_and_by_the_seed() -> None:
    cuts = Cuts(50, 1).between(100, 5_000)
    assert len(set(cuts)) == 50 and cuts == sorted(cuts) and cuts[0] == 100 and cuts[-1] <= 5_000
    assert cuts == Cuts(50, 1).between(100, 5_000) != Cuts(50, 2).between(100, 5_000)


def test_borders_are_cut_besides_and_short_spans_at_every_bar() -> None:
    assert {300, 400} < set(Cuts(5).between(100, 5_000, [50, 300, 400, 6_000])) - {50, 6_000}
    assert Cuts(50).between(10, 14) == [10, 11, 12, 13, 14]
    assert Cuts(50).between(10, 9) == [10]


# The pipeline


@pytest.mark.parametrize("label, horizon", [("open", 3), ("close", 1), ("close", 3)])
def test_every_label_and_horizon_is_clean(bars: pd.DataFrame, label: Any, horizon: int) -> None:
    data = prepare(bars, TrainConfig(batch_size=16, label=label, horizon=horizon))
    steps = PipelineChecks(bars, data, Cuts(3)).steps
    checks = [
        steps[name](iter)
        for name in PIPELINE
        if name not in ("features", "features, whole history", "scaler")
    ]
    assert all(check.compared and not check.differences for check in checks)


@pytest.mark.parametrize(
    "settings",
    [
        {"label": "barrier", "horizon": 6, "stop_loss": "1%", "take_profit": "0.8atr"},
        {"label": f"{own_labels.FILE}:First"},
    ],
    ids=["barrier", "own"],
)
def test_trades_and_labels_of_ones_own_are_clean_and_a_missing_purge_is_caught(
    bars: pd.DataFrame, settings: dict[str, Any]
) -> None:
    data = prepare(bars, TrainConfig(batch_size=16, **settings))
    steps = PipelineChecks(bars, data, Cuts(3)).steps
    for name in ("labels", "targets of windows", "targets when known", "overlap"):
        check = steps[name](iter)
        assert check.compared and not check.differences
    assert steps["scaler of training"](iter).differences == 0
    _, validation, test = data.split
    unpurged = (slice(0, validation.start), slice(validation.start, test.start), test)
    late = PipelineChecks(bars, replace(data, split=unpurged), Cuts()).steps["overlap"](iter)
    purged = validation.start - data.split[0].stop + test.start - validation.stop
    assert late.differences == purged and (purged or settings["label"] != "barrier")


@pytest.mark.parametrize(
    "name, field", [("labels of windows", "labels"), ("targets of windows", "targets")]
)
def test_windows_paired_with_the_label_before_are_caught(
    bars: pd.DataFrame, data: TrainingData, name: str, field: str
) -> None:
    shifted = replace(data, **{field: np.roll(getattr(data, field), 1)})
    check = PipelineChecks(bars, shifted, Cuts()).steps[name](iter)
    assert check.differences > 50 and check.findings[0].item == "label"


def test_a_target_that_looks_beyond_its_outcome_is_caught(
    bars: pd.DataFrame, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        labelling, "soft_targets", lambda given, *_: given["close"].rolling(3).mean().shift(-5)
    )
    check = PipelineChecks(bars, data, Cuts(3)).steps["targets when known"](iter)
    assert [found.item for found in check.findings] == ["target"]


def test_a_missing_purge_is_caught(bars: pd.DataFrame, data: TrainingData) -> None:
    _, validation, test = data.split
    unpurged = replace(
        data, split=(slice(0, validation.start), slice(validation.start, test.start), test)
    )
    check = PipelineChecks(bars, unpurged, Cuts()).steps["overlap"](iter)
    assert [(found.item, found.bar) for found in check.findings] == [
        ("outcome of a training window", bars.index[149 + validation.start - 1]),
        ("outcome of a validation window", bars.index[149 + test.start - 1]),
    ]


def test_training_on_a_scaler_of_all_rows_is_caught(
    bars: pd.DataFrame, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(given: pd.DataFrame, config: TrainConfig) -> TrainingData:
        ready = prepare(given, config)
        return replace(
            ready,
            scaler=config.preprocessor.fit_scaler(ready.features, slice(0, len(ready.labels))),
        )

    monkeypatch.setattr("backtests.lookahead.checks.prepare", careless)
    assert PipelineChecks(bars, data, Cuts(3)).steps["scaler of training"](iter).differences > 300


# CheckpointChecks networks


def test_a_network_trained_as_it_states_is_clean(bars: pd.DataFrame, file: Path) -> None:
    checks = [
        checked(bars, file, name) for name in NETWORKS if name not in ("probabilities", "schedule")
    ]
    assert all(check.compared and not check.differences for check in checks)
    assert checks[0].note == "1 of 1 checkpoints were trained on these bars"


def test_a_network_of_other_bars_is_not_held_to_these(file: Path) -> None:
    check = checked(random_bars(seed=5), file, "scaler in checkpoints")
    assert (check.compared, check.differences, check.note) == (
        0,
        0,
        "0 of 1 checkpoints were trained on these bars",
    )


def test_a_network_of_a_universe_is_not_held_to_one_instrument(
    bars: pd.DataFrame, trained: Checkpoint, file: Path
) -> None:
    pooled = replace(trained, instruments={"one": "0" * 64, "two": "1" * 64})
    check = checked(bars, saved(pooled, file), "scaler in checkpoints")
    assert (check.compared, check.note) == (0, "0 of 1 checkpoints were trained on these bars")


def test_parts_without_a_purge_are_caught(
    bars: pd.DataFrame, trained: Checkpoint, file: Path
) -> None:
    late = str(pd.Timestamp(str(trained.parts["train"]["last"])) + pd.Timedelta(days=1))
    parts = trained.parts | {"train": trained.parts["train"] | {"last": late}}
    check = checked(bars, saved(replace(trained, parts=parts), file), "overlap in checkpoints")
    assert [str(found.bar) for found in check.findings] == [late]


def test_a_network_that_knows_more_than_trained_until_is_caught(
    bars: pd.DataFrame, trained: Checkpoint, file: Path
) -> None:
    early = replace(trained, trained_until=trained.trained_until - pd.Timedelta(days=1))
    check = checked(bars, saved(early, file), "overlap in checkpoints")
    assert [found.item for found in check.findings] == ["outcome of a validation window"]


def test_a_checkpoint_in_force_too_early_is_caught(
    bars: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked(bars, folder, "schedule").compared == len(bars)
    honest = Schedule.at
    monkeypatch.setattr(
        Schedule, "at", lambda self, stamp: honest(self, stamp + 86_400_000_000_000)
    )
    check = checked(bars, folder, "schedule")
    assert (check.differences, check.findings[0].bar) == (3, bars.index[-121])


def test_probabilities_that_know_the_next_bar_are_caught(
    bars: pd.DataFrame, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Schedule.probabilities
    monkeypatch.setattr(
        Schedule,
        "probabilities",
        lambda self, values, stamps: np.append(honest(self, values, stamps)[1:], 0.5),
    )
    assert checked(bars.iloc[:200], file, "probabilities").differences > 90


@pytest.mark.parametrize("name", ["orders", "orders at the cut"])
def test_orders_of_a_schedule_are_cut_at_the_borders_of_its_folds(
    bars: pd.DataFrame, folder: Path, name: str
) -> None:
    cuts: list[int] = []
    CheckpointChecks(bars, Schedule(str(folder)), Cuts(2)).steps[name](
        lambda steps: cuts.extend(steps) or steps
    )
    assert {149, 149 + 60, 149 + 100} <= set(cuts) and len(cuts) <= 4


@pytest.mark.parametrize("name", ["orders", "orders at the cut"])
def test_a_backtest_that_peeks_is_caught(
    bars: pd.DataFrame, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peeking(given: pd.DataFrame, source: Path) -> Any:
        return honest(given, (given["close"].shift(-3) > given["close"]).astype(float))

    honest = subjects.simulate
    monkeypatch.setattr(subjects, "simulate", peeking)
    check = checked(bars, folder, name, 10)
    assert check.differences > 0 and "size" in {found.item for found in check.findings}


def test_only_checkpoints_that_existed_trade_before_a_cut(
    bars: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, known = subjects.simulate, []

    def watched(given: pd.DataFrame, source: Path) -> Any:
        known.append((given.index[-1], sorted(path.name for path in Path(source).iterdir())))
        return honest(given, source)

    monkeypatch.setattr(subjects, "simulate", watched)
    checked(bars, folder, "orders", 1)
    assert known[1:] == [
        (bars.index[-120], ["0.ckpt"]),
        (bars.index[-60], ["0.ckpt", "1.ckpt"]),
        (bars.index[-20], ["0.ckpt", "1.ckpt", "2.ckpt"]),
    ]
