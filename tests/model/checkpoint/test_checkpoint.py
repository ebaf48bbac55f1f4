"""A checkpoint: what it keeps, how it is saved, and the way from bars to probabilities."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.member import BATCH, Member
from model.errors import BarsError, CheckpointError, OutputError
from model.features.table import FeatureEngineer
from model.networks.bilstm import NetworkConfig
from model.networks.registry import make_network
from model.provenance import library_versions
from tests.helpers.makers import SMALLS, random_bars, random_checkpoint, random_member, with_member
from tests.helpers.processes import environment


@pytest.fixture(scope="module")
def features(bars: pd.DataFrame) -> np.ndarray:
    return FeatureEngineer().transform(bars).to_numpy()


@pytest.fixture(scope="module")
def full(bars: pd.DataFrame) -> Checkpoint:
    """A checkpoint in which every entry holds something."""
    checkpoint = random_checkpoint(
        bars,
        "2018-12-31 23:59:59.123456789",
        enter=0.6,
        exit=0.51,
        instrument="EUR/USD",
        bar_interval=pd.Timedelta(minutes=15),
        timezone="UTC",
        stamp="close",
        label="close",
        horizon=3,
        members=tuple(SMALLS),
        parts={"train": {"windows": 700, "first": "2001-01-01", "up_share": 0.5, "last": None}},
        metrics={"test_auc": 0.5, "test_mcc": None},
        config={"seed": 42, "learning_rate": 1e-3, "device": "cpu", "flag": True, "nothing": None},
        versions=library_versions(),
    )
    history = [{"epoch": 1, "train_loss": 0.7}, {"epoch": 2, "train_loss": 0.25}]
    return with_member(
        checkpoint,
        temperature=1.7,
        seed=2**62,
        metrics={"test_auc": 0.5, "test_mcc": None},
        history=history,
    )


def entries(checkpoint: Checkpoint) -> dict[str, object]:
    own = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    return own | {"members": [member_entries(member) for member in checkpoint.members]}


def member_entries(member: Member) -> dict[str, object]:
    own = {field.name: getattr(member, field.name) for field in dataclasses.fields(member)}
    return own | {
        "weights": {name: tensor.tolist() for name, tensor in sorted(member.weights.items())}
    }


def test_a_saved_checkpoint_comes_back_as_it_was(full: Checkpoint, tmp_path: Path) -> None:
    full.save(tmp_path / "full.ckpt")
    assert entries(Checkpoint.load(tmp_path / "full.ckpt")) == entries(full)


def test_a_loaded_checkpoint_forecasts_the_same_bit_for_bit(
    checkpoint: Checkpoint, checkpoint_path: str, features: np.ndarray
) -> None:
    loaded = Checkpoint.load(checkpoint_path)
    np.testing.assert_array_equal(loaded.predict(features), checkpoint.predict(features))
    assert loaded.digest == checkpoint.digest


def test_saving_again_gives_the_same_bytes(full: Checkpoint, tmp_path: Path) -> None:
    full.save(tmp_path / "first")
    Checkpoint.load(tmp_path / "first").save(tmp_path / "second")
    dataclasses.replace(full).save(tmp_path / "third")
    assert (
        (tmp_path / "first").read_bytes()
        == (tmp_path / "second").read_bytes()
        == (tmp_path / "third").read_bytes()
    )


SAVING = """
import sys
from tests.helpers.makers import random_bars, random_checkpoint, random_member
random_checkpoint(random_bars(), golden=False, config={"b": 1, "a": 2}).save(sys.argv[1])
"""


def test_every_process_saves_the_same_bytes(bars: pd.DataFrame, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", SAVING, str(tmp_path / "there")],
        env=environment(PYTHONHASHSEED="1"),  # the seed of the order of sets
        check=True,
    )
    random_checkpoint(bars, golden=False, config={"b": 1, "a": 2}).save(tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_whole_numbers_are_saved_where_fractions_are_due(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    with_member(
        random_checkpoint(bars, golden=False), temperature=1, history=[{"train_loss": 1}]
    ).save(tmp_path / "whole")
    assert Checkpoint.load(tmp_path / "whole").members[0].history == [{"train_loss": 1.0}]


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon": 2},
        {"instrument": "other"},
        {"enter": None, "exit": None},
        {"versions": {"torch": "1"}},
        {"trained_until": pd.Timestamp("2021-01-01")},
    ],
)
def test_the_digest_tells_checkpoints_apart(
    checkpoint: Checkpoint, changes: dict[str, Any]
) -> None:
    assert len(checkpoint.digest) == 64
    assert dataclasses.replace(checkpoint, **changes).digest != checkpoint.digest


def test_what_could_not_be_loaded_has_no_digest(checkpoint: Checkpoint) -> None:
    with pytest.raises(
        CheckpointError, match="^the checkpoint cannot be written: exit must not be above enter"
    ):
        assert dataclasses.replace(checkpoint, enter=0.5, exit=0.6).digest


def test_the_digest_covers_every_weight(checkpoint: Checkpoint) -> None:
    weights = {name: tensor.clone() for name, tensor in checkpoint.members[0].weights.items()}
    weights["head.bias"] += 1e-6
    assert with_member(checkpoint, weights=weights).digest != checkpoint.digest


def test_a_checkpoint_is_printed_in_one_line(full: Checkpoint) -> None:
    assert repr(full) == (
        "Checkpoint(instrument='EUR/USD', bar_interval='15 minutes', label='close', "
        f"members=['bilstm {2**62}', 'transformer 1'], "
        f"trained_until='2018-12-31 23:59:59.123456789', digest='{full.digest[:12]}')"
    )


def test_a_checkpoint_that_no_file_can_hold_is_printed_too(checkpoint: Checkpoint) -> None:
    assert "digest=None" in repr(dataclasses.replace(checkpoint, label="high"))


@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.3}, {"seed": 1}, {"metrics": {"auc": 0.6}}, {"history": [{"epoch": 1}]}],
)
def test_the_digest_tells_members_apart(checkpoint: Checkpoint, changes: dict[str, Any]) -> None:
    assert with_member(checkpoint, **changes).digest != checkpoint.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"members": (random_member(temperature=float("nan")),)},
            "Expected `float`, got `null` - at `$.members[0].temperature`",
        ),
        (
            {"members": (dataclasses.replace(random_member(), network=5),)},
            "the member 'bilstm 0' of the checkpoint cannot be written: ",
        ),
        ({"members": ()}, "Expected `array` of length >= 1 - at `$.members`"),
        ({"members": (random_member(),) * 17}, "Expected `array` of length <= 16 - at `$.members`"),
        ({"members": (random_member(weights={}),)}, "tensors are not those of its networks"),
        (
            {"label": "high"},
            "the checkpoint cannot be written: Invalid enum value 'high' - at `$.label`. Give ",
        ),
        (
            {"enter": None, "exit": 0.6},
            "the checkpoint cannot be written: enter and exit must both be chosen",
        ),
        ({"enter": 0.5, "exit": 0.6}, "exit must not be above enter, got 0.6 and 0.5"),
    ],
)
def test_what_could_not_be_loaded_is_never_written(
    checkpoint: Checkpoint, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError) as refusal:
        dataclasses.replace(checkpoint, **changes).save(tmp_path / "wrong.ckpt")
    said = str(refusal.value)
    assert message in said and "damaged" not in said
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path / "model.ckpt")
    monkeypatch.setattr(
        os,
        "fsync",
        lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(OutputError, match="cannot write .*model.ckpt: No space left on device"):
        dataclasses.replace(checkpoint, horizon=9).save(tmp_path / "model.ckpt")
    assert Checkpoint.load(tmp_path / "model.ckpt").digest == checkpoint.digest


def test_predict_is_a_plain_forward_pass_of_each_window(
    checkpoint: Checkpoint, features: np.ndarray
) -> None:
    member = checkpoint.members[0]
    network = make_network(member.architecture, member.network)
    network.load_state_dict(member.weights)
    rows = torch.from_numpy(checkpoint.scaler.transform(features))
    with torch.no_grad():
        logits = network.eval()(
            torch.stack([rows[start : start + 50] for start in range(len(rows) - 49)])
        )
    expected = torch.sigmoid(logits.double() / member.temperature).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(checkpoint.predict(features), expected, atol=1e-6)


def test_dropout_is_off_and_a_second_call_forecasts_the_same(
    checkpoint: Checkpoint, features: np.ndarray
) -> None:
    np.testing.assert_array_equal(checkpoint.predict(features), checkpoint.predict(features))


def test_one_window_is_forecast_alone_as_among_others(
    checkpoint: Checkpoint, features: np.ndarray
) -> None:
    together = checkpoint.predict(features)
    alone = [
        checkpoint.predict(features[start : start + 50])[0] for start in range(0, len(together), 20)
    ]
    np.testing.assert_allclose(alone, together[::20], atol=1e-6)


def test_more_windows_than_a_batch_come_out_in_order(
    checkpoint: Checkpoint, features: np.ndarray
) -> None:
    many = np.concatenate((features, features))
    assert len(many) > BATCH + 50
    np.testing.assert_allclose(
        checkpoint.predict(many)[-251:], checkpoint.predict(features)[-251:], atol=1e-6
    )


def test_extreme_logits_become_probabilities_without_overflow(
    bars: pd.DataFrame, features: np.ndarray
) -> None:
    checkpoint = with_member(random_checkpoint(bars, golden=False), temperature=0.01)
    checkpoint.members[0].weights["head.bias"] += 1e6
    assert (checkpoint.predict(features) == 1.0).all()


def test_predicting_leaves_torch_as_it_was(bars: pd.DataFrame, features: np.ndarray) -> None:
    checkpoint = random_checkpoint(bars, golden=False)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    checkpoint.predict(features)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_row_that_is_no_number_spoils_only_the_windows_that_hold_it(
    checkpoint: Checkpoint, features: np.ndarray
) -> None:
    holed = features.copy()
    holed[100, 3] = np.nan
    unknown = np.flatnonzero(np.isnan(checkpoint.predict(holed)))
    np.testing.assert_array_equal(unknown, np.arange(51, 101))


def test_fewer_rows_than_a_window_are_refused(checkpoint: Checkpoint, features: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`features` must have at least 50 rows, got 49"):
        checkpoint.predict(features[:49])


def test_a_probability_stands_at_the_bar_whose_close_decides(
    checkpoint: Checkpoint, bars: pd.DataFrame, features: np.ndarray
) -> None:
    probabilities = checkpoint.probabilities(bars)
    assert probabilities.index.equals(bars.index[149:])
    assert probabilities.name == "probability"
    np.testing.assert_array_equal(probabilities, checkpoint.predict(features))


def test_150_bars_make_one_probability_and_149_none(
    checkpoint: Checkpoint, bars: pd.DataFrame
) -> None:
    assert len(checkpoint.probabilities(bars[:150])) == 1
    with pytest.raises(
        BarsError,
        match=r"149 bars; at least 150 are needed \(101 for the features and 49 for the window\)",
    ):
        checkpoint.probabilities(bars[:149])


def test_a_part_is_found_among_whatever_bars_are_given(bars: pd.DataFrame) -> None:
    part = {"first": str(bars.index[200]), "last": str(bars.index[240])}
    checkpoint = random_checkpoint(bars, parts={"validation": part})
    assert checkpoint.part_rows("validation", bars.index) == slice(200, 241)
    assert checkpoint.part_rows("validation", bars.index[150:]) == slice(50, 91)


@pytest.mark.parametrize("first_changed", [200, 300, 399])
def test_later_bars_change_no_earlier_probability(
    checkpoint: Checkpoint, bars: pd.DataFrame, first_changed: int
) -> None:
    changed = bars.copy()
    changed.iloc[first_changed:, :4] *= 3
    before = slice(None, first_changed - 149)
    np.testing.assert_array_equal(
        checkpoint.probabilities(changed)[before], checkpoint.probabilities(bars)[before]
    )


def test_bars_of_another_interval_are_refused(checkpoint: Checkpoint) -> None:
    message = (
        "trained on bars of 1 day, got bars of 1 hour. "
        "Give bars of that interval or train on these."
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoint.probabilities(random_bars(200, freq="h"))


def test_the_versions_that_can_change_bits_are_named() -> None:
    assert torch.__version__.startswith(library_versions()["torch"])
    assert set(library_versions()) == {
        "backtrader-bilstm",
        "numpy",
        "pandas",
        "scikit-learn",
        "torch",
    }


@pytest.mark.parametrize("stated", [{"timezone": "UTC"}, {"stamp": "close"}])
def test_bars_of_another_clock_are_refused(
    checkpoint: Checkpoint, bars: pd.DataFrame, stated: dict[str, str]
) -> None:
    other = bars.copy()
    other.attrs = stated
    model = dataclasses.replace(checkpoint, timezone="America/New_York")
    with pytest.raises(CheckpointError, match=f"`{next(iter(stated))}` must be"):
        model.probabilities(other)


FORKED = """
import os, signal, sys
import torch
from model import Checkpoint
assert torch.get_num_threads() > 1
checkpoint = Checkpoint.load(sys.argv[1])
checkpoint.save(sys.argv[1] + ".again")
child = os.fork()
if not child:
    signal.alarm(60)  # a hang ends as a kill
    Checkpoint.load(sys.argv[1])
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_checkpoint_loads_in_a_process_that_was_forked_after_one_was_saved(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    """As Backtrader's optstrategy forks.

    The network is large enough for torch to work on it in parallel.
    """
    member = random_member(network=NetworkConfig(hidden=128, layers=2))
    random_checkpoint(bars, members=(member,), golden=False).save(tmp_path / "large.ckpt")
    forked = [sys.executable, "-c", FORKED, str(tmp_path / "large.ckpt")]
    done = subprocess.run(forked, env=environment(OMP_NUM_THREADS="2"), check=False)
    assert done.returncode == 0


def test_the_scores_of_a_universe_stand_by_date_and_name(
    checkpoint: Checkpoint, bars: pd.DataFrame
) -> None:
    late, ended = random_bars(240, seed=4).iloc[60:], random_bars(200, seed=5).drop(bars.index[170])
    universe = {"whole": bars, "late": late, "ended": ended, "short": bars.iloc[:149]}
    scores = checkpoint.scores(universe)
    assert list(scores.columns) == ["ended", "late", "short", "whole"]
    assert scores.index.equals(bars.index[149:]) and scores["short"].isna().all()
    for name in ("whole", "late", "ended"):
        expected = checkpoint.probabilities(universe[name])
        found = scores[name].dropna()
        pd.testing.assert_series_equal(
            found, expected, check_names=False, check_freq=False, check_exact=True
        )
    assert pd.isna(scores.loc[bars.index[170], "ended"])
    turned = checkpoint.scores(dict(reversed(universe.items())))
    pd.testing.assert_frame_equal(turned, scores, check_exact=True)


def test_what_is_wrong_with_one_of_a_universe_is_said_with_its_name(
    checkpoint: Checkpoint, bars: pd.DataFrame
) -> None:
    with pytest.raises(BarsError, match="gold: bars: timestamps must increase"):
        checkpoint.scores({"whole": bars, "gold": bars[::-1]})
    with pytest.raises(CheckpointError, match="gold: the checkpoint was trained on bars of 1 day"):
        checkpoint.scores({"whole": bars, "gold": random_bars(200, freq="h")})
    with pytest.raises(BarsError, match=r"at least 150 bars, got a \(149\), b \(20\)"):
        checkpoint.scores({"a": bars[:149], "b": bars[:20]})


def test_the_rows_of_a_part_are_found_among_bars_that_lack_its_dates(
    checkpoint: Checkpoint, bars: pd.DataFrame
) -> None:
    parts = {"train": {"first": str(bars.index[160]), "last": str(bars.index[300])}}
    dated = dataclasses.replace(checkpoint, parts=parts)
    assert dated.part_rows("train", bars.index) == slice(160, 301)
    lacking = bars.index.delete([160, 300])
    found = lacking[dated.part_rows("train", lacking)]
    assert (found[0], found[-1]) == (bars.index[161], bars.index[299])
