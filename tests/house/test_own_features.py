"""Parity with features of one's own: training, backtest and live forecast and order the same."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tests.helpers.small_network  # noqa: F401
from backtests.audit import app as audit
from backtests.lookahead.checks import Cuts, PipelineChecks
from model.checkpoint.checkpoint import Checkpoint
from model.cli import run
from model.features import registry
from model.features.registry import own_features
from model.predict import app as predict
from model.train import app as train
from model.training.config import TrainConfig
from model.training.data import describe_features, prepare
from model.training.fitting import fit
from strategy_plugin.replaying import replay
from tests.helpers.hosts import BARS, RULES, feed, host, series, traded
from tests.helpers.makers import random_bars, random_checkpoint
from tests.helpers.own_features import FILE

TEXT = f"{FILE}:Momentum,{FILE}:Wave,{FILE}:RowByRow"
TOLERANCE = 1e-6
CLOCKS: list[dict[str, Any]] = [
    {},
    {"runonce": False},
    {"preload": False, "exactbars": 1},
    {"live": True},
]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process: what trades is given its features by the param alone."""
    monkeypatch.setattr(registry, "_known", {})
    registry._defined.cache_clear()
    yield
    registry._defined.cache_clear()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_known", {})
    registry._defined.cache_clear()


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoint, str]:
    """A network with random weights for BARS, and its file."""
    records = tuple(one.record for one in own_features(TEXT))
    checkpoint = random_checkpoint(BARS, seed=3, features=records)
    checkpoint.save(tmp_path / "own.ckpt")
    return checkpoint, str(tmp_path / "own.ckpt")


@pytest.mark.parametrize("mode", CLOCKS, ids=str)
def test_every_clock_shows_the_checkpoints_probabilities_and_sends_the_same_orders(
    trained: tuple[Checkpoint, str], mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, path = trained
    expected = checkpoint.probabilities(BARS).to_numpy()
    assert checkpoint.bars_needed == 209 and len(expected) == len(BARS) - 208
    forget(monkeypatch)
    strategy = traded(host(feed(BARS), **mode), checkpoint=path, features=TEXT, **RULES)
    found = series(strategy.shown["data"], len(BARS))[208:]
    assert np.abs(found - expected).max() < TOLERANCE
    assert len(strategy.fills["data"]) >= 3
    if mode:
        forget(monkeypatch)
        usual = traded(host(feed(BARS)), checkpoint=path, features=TEXT, **RULES)
        assert [(fill.bar, round(fill.size, 6)) for fill in strategy.fills["data"]] == [
            (fill.bar, round(fill.size, 6)) for fill in usual.fills["data"]
        ]


def test_decisions_that_rounding_might_turn_are_counted(
    trained: tuple[Checkpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, path = trained
    said = checkpoint.probabilities(BARS).to_numpy()
    near = float(said[said > 0.55].min()) + 5e-7
    told = "nearer to a threshold than features agree"
    limits = {"enter": near, "exit": 0.52}
    strategy = traded(host(feed(BARS)), checkpoint=path, features=TEXT, **limits)
    sides = np.array([near, 1 - near, 0.52, 0.48])
    expected = int((np.abs(said[:, None] - sides) < 1e-6).any(axis=1).sum())
    assert strategy.refusals()["data"][told] == expected >= 1
    # A model of our own features alone keeps every bit.
    ours = random_checkpoint(BARS, seed=3)
    ours.save(path)
    near = float(ours.probabilities(BARS).iloc[10:].max()) + 5e-7
    strategy = traded(host(feed(BARS)), checkpoint=path, enter=near, exit=0.5)
    assert told not in strategy.refusals()["data"]


def test_a_journal_is_replayed_with_the_features_that_are_given_again(
    trained: tuple[Checkpoint, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "decisions.jsonl"
    traded(
        host(feed(BARS), runonce=False),
        checkpoint=trained[1],
        features=TEXT,
        journal=str(journal),
        **RULES,
    )
    forget(monkeypatch)
    done = replay(journal, features=TEXT)
    assert done.bars == len(BARS) and done.differences == []
    forget(monkeypatch)
    with pytest.raises(ValueError, match="needs features of your own"):
        replay(journal)


CONFIG = TrainConfig(architecture="small", max_epochs=1, batch_size=32)


@pytest.mark.parametrize(("only", "width"), [(False, 90), (True, 4)])
def test_what_is_trained_forecasts_the_same_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: bool, width: int
) -> None:
    bars = random_bars(420, seed=2)
    checkpoint = fit(bars, replace(CONFIG, features=TEXT, only=only))
    assert len(checkpoint.scaler.mean) == len(checkpoint.usual.low) == width
    assert checkpoint.members[0].network.features == width
    assert "momentum(bars=20) " in str(checkpoint.config["features"])
    checkpoint.save(tmp_path / "own.ckpt")
    expected = checkpoint.probabilities(bars)
    forget(monkeypatch)
    own_features(TEXT)
    pd.testing.assert_series_equal(
        Checkpoint.load(tmp_path / "own.ckpt").probabilities(bars), expected
    )


def test_the_same_features_give_the_same_bytes_wherever_their_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars, other = random_bars(420, seed=2), tmp_path / "mine.py"
    first = fit(bars, replace(CONFIG, features=f"{FILE}:Momentum"))
    other.write_text(Path(FILE).read_text())
    forget(monkeypatch)
    second = fit(bars, replace(CONFIG, features=f"{other}:Momentum"))
    assert first.digest == second.digest


def test_with_only_ones_own_a_bilstm_starts_without_lines_of_ours() -> None:
    bars = random_bars(420, seed=2)
    config = TrainConfig(features=f"{FILE}:Momentum", only=True, max_epochs=1)
    assert fit(bars, config).layout.names == ("momentum", "volume_score")


def test_a_universe_is_tried_and_trained_on_with_ones_own() -> None:
    universe = {name: random_bars(300, seed=seed) for seed, name in enumerate("abc")}
    config = replace(CONFIG, features=f"{FILE}:Momentum", fewest_instruments=3)
    pooled = fit(universe, config)
    assert pooled.layout.groups["own momentum"] == slice(86, 88)


def test_settings_sent_to_another_process_find_their_features_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = pickle.dumps(replace(CONFIG, features=TEXT))
    forget(monkeypatch)
    assert pickle.loads(sent).lookback == 160


def outcome(app: Any, *arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        run(app, [str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """300 bars as a CSV file."""
    random_bars(300).to_csv(tmp_path / "random.csv")
    return tmp_path / "random.csv"


QUICK = ("--max-epochs", 1, "--architecture", "small", "--batch-size", 32)


def test_the_commands_take_features_as_a_flag(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = ("--features", f"{FILE}:Momentum"), tmp_path / "own.ckpt"
    assert outcome(train, "--data", data, "--out", out, *given, "--only", *QUICK) == 0
    forget(monkeypatch)
    told = ("--checkpoint", out, "--data", data)
    assert outcome(predict, *told) == 4
    assert "Give --features with the file" in capsys.readouterr().err
    assert outcome(predict, *told, *given) == 0
    forget(monkeypatch)
    assert outcome(audit, *told, *given, "--cuts", 1) == 0
    audited = capsys.readouterr().out
    assert "features of one's own" in audited and "the same, in a fresh process" in audited


def test_the_audit_goes_over_every_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if no random start or end had met it.
    monkeypatch.setattr("model.training.data.require_stable", lambda *_: None)
    (tmp_path / "rare.py").write_text(RARE)
    bars = random_bars(300)
    data = prepare(bars, replace(CONFIG, features=f"{tmp_path / 'rare.py'}:Rare"))
    found = PipelineChecks(bars, data, Cuts(1)).own_features(iter)
    [first] = found.findings
    assert found.compared > 590 and str(first).startswith(
        "features of one's own: rare at 2020-08-07 is "
    )


def test_the_audit_shows_every_bar_to_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which an in-process check cannot: whatever it asks, the first value is there already."""
    monkeypatch.setattr("model.training.data.require_stable", lambda *_: None)
    (tmp_path / "kept.py").write_text(KEPT)
    bars = random_bars(300)
    data = prepare(bars, replace(CONFIG, features=f"{tmp_path / 'kept.py'}:Kept"))
    checks = PipelineChecks(bars, data, Cuts(1))
    assert not checks.own_features(iter).differences
    found = checks.fresh_features(iter)
    [first] = found.findings
    assert found.compared == 299 and found.differences == 1
    assert "kept at 2020-08-07 is " in str(first) and "where no later bar was ever" in str(first)


# What is known of one bar stays as it was first seen: with the next one.
KEPT = """
import pandas as pd

SEEN = {}

class Kept:
    name, lookback = "kept", 2

    def transform(self, bars):
        later = (bars["close"].shift(-1) / bars["close"] - 1).fillna(0.0)
        for stamp, value in later[later.index == "2020-08-07"].items():
            SEEN.setdefault(stamp, value)
        return pd.DataFrame({"kept": [SEEN.get(one, 0.0) for one in bars.index]}, bars.index)
"""

# One bar in 300 knows the next one.
RARE = """
import pandas as pd

class Rare:
    name, lookback = "rare", 2

    def transform(self, bars):
        values = bars["close"].pct_change().fillna(0)
        return pd.DataFrame({"rare": values.where(bars.index != "2020-08-07", values.shift(-1))})
"""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("absent.py:Momentum", "`features`"),
        (f"{FILE}:Momentun", "Did you mean 'Momentum'?"),
        ("momentum", "must name known ones"),
    ],
)
def test_a_bad_flag_is_one_message_and_exit_code_3(
    data: Path, capsys: pytest.CaptureFixture[str], given: str, words: str
) -> None:
    assert outcome(train, "--data", data, "--features", given, *QUICK) == 3
    told = capsys.readouterr().err
    assert words.replace("`features`", "--features") in told and told.count("error:") == 1


def test_training_says_that_the_proof_is_a_sample() -> None:
    told = describe_features(TrainConfig(features=f"{FILE}:Momentum"))
    assert "momentum(bars=20), tried at 200 random s" in told and "audit.py goes over ev" in told
    assert describe_features(TrainConfig()) == ""
