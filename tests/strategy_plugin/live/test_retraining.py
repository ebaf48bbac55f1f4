"""Bars are kept, models are trained anew on them, and the running strategy takes those up."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model import read_bars
from model.checkpoint.schedule import Schedule
from model.cli import run
from model.errors import BarsError
from strategy_plugin.live.kept_bars import LARGEST_BATCH, KeptBars
from strategy_plugin.live.retraining import Retraining
from strategy_plugin.live.venue import VenueBar
from strategy_plugin.trade import app
from tests.helpers.exchanges import exchange_of
from tests.helpers.makers import random_bars, random_checkpoint

DAYS = random_bars(360, start="2022-01-03", freq="B")
ATTRS = {"instrument": "SPY", "timezone": None, "stamp": "open"}
QUICK = {"max_epochs": 1, "train": 0.6, "batch_size": 32}


def shown(bars: pd.DataFrame) -> Iterator[tuple[dt.datetime, VenueBar]]:
    for row in bars.itertuples():
        when = row.Index.to_pydatetime().replace(tzinfo=dt.UTC)
        yield when, VenueBar("SPY", when, *row[1:])


def kept(path: Path, bars: pd.DataFrame) -> KeptBars:
    keep = KeptBars(path, ATTRS)
    for when, bar in shown(bars):
        keep.add(when, bar)
    return keep


def test_bars_are_kept_once_and_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "bars" / "SPY.parquet"
    kept(path, DAYS[:250]).save()
    again = kept(path, DAYS[200:300])  # the history of a restart brings known ones
    assert len(again) == 300 and again.newest == next(shown(DAYS[299:300]))[0]
    again.save()
    bars = read_bars(path)
    pd.testing.assert_frame_equal(bars, DAYS[:300], check_freq=False, check_names=False)
    assert {name: bars.attrs[name] for name in ATTRS} == ATTRS
    assert [file.name for file in path.parent.iterdir()] == ["SPY.parquet"]


def test_a_file_that_grew_large_is_written_for_each_batch(tmp_path: Path) -> None:
    path = tmp_path / "SPY.parquet"
    keep = kept(path, random_bars(5_000))
    keep.save()
    written = []
    for when, bar in shown(random_bars(12, start="2060-01-01")):
        keep.add(when, bar)
        keep.save_if_due()
        written.append(len(pd.read_parquet(path)))
    assert written == [*[5_000] * 5, *[5_006] * 6, 5_012]
    assert LARGEST_BATCH < 225  # bars that a restart brings again


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PAR1 torn", "cannot be read"), (None, "timezone 'UTC' instead of None")],
)
def test_a_file_of_other_bars_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "SPY.parquet"
    kept(path, DAYS[:5]).save()
    if content is not None:
        path.write_bytes(content)
    else:
        other = pd.read_parquet(path)
        other.attrs = ATTRS | {"timezone": "UTC"}
        other.to_parquet(path)
    with pytest.raises(BarsError, match=message):
        KeptBars(path, ATTRS)


def folder_with(tmp_path: Path, config: dict[str, Any]) -> Path:
    """A schedule folder with a model that was trained before all bars that are live."""
    folder = tmp_path / "models"
    folder.mkdir()
    random_checkpoint(DAYS, instrument="SPY", config=config).save(folder / "first.ckpt")
    return folder


def test_within_its_own_week_no_model_is_trained_anew(tmp_path: Path) -> None:
    schedule = Schedule(folder_with(tmp_path, QUICK))
    keep = kept(tmp_path / "SPY.parquet", DAYS[:300])
    retraining = Retraining({"SPY": schedule}, {"SPY": keep}, tmp_path / "trainings.log")
    monday = schedule.checkpoints[0].trained_until
    retraining.look(monday + pd.Timedelta(days=6, hours=23))
    assert not (tmp_path / "trainings.log").exists()


def test_a_training_that_fails_leaves_the_old_model_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = Schedule(folder_with(tmp_path, QUICK))
    keep = kept(tmp_path / "SPY.parquet", DAYS[:100])
    retraining = Retraining({"SPY": schedule}, {"SPY": keep}, tmp_path / "trainings.log")
    when = DAYS.index[99].to_pydatetime()
    for _ in range(3):  # told once, tried once a week
        retraining.look(when)
        retraining.wait()
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "the training of SPY failed (3): error: " in said and "bars" in said
    assert "The model of 2022-01-03 stays in force" in said
    assert not schedule.refresh() and len(schedule.checkpoints) == 1


def test_the_running_strategy_takes_the_new_model_at_the_next_bar(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, exchange_keys: None
) -> None:
    look = Retraining.look

    def look_and_wait(self: Retraining, now: dt.datetime) -> None:
        look(self, now)
        self.wait()

    monkeypatch.setattr(Retraining, "look", look_and_wait)
    folder = folder_with(tmp_path, QUICK)
    with exchange_of(DAYS, DAYS.index[301]) as (_, url), pytest.raises(SystemExit) as left:
        words = ["--symbols", "SPY", "--checkpoint", folder, "--url", url, "--retrain", "weekly"]
        run(app, [str(word) for word in (*words, "--history", 270, "--bars", 4)])
    printed = capsys.readouterr()
    assert left.value.code == 0, printed.err
    models = [line.split('"model": "')[1][:12] for line in printed.out.splitlines() if "{" in line]
    first, *others = models
    assert {*others} == {others[0]} and others[0] != first
    kept_until = DAYS.index[303]  # a day past the last decision may be there already
    assert read_bars(tmp_path / "runs/live/bars/SPY.parquet").index[-1] >= kept_until
    schedule = Schedule(folder)
    old, new = schedule.checkpoints
    assert [old.digest[:12], new.digest[:12]] == [first, others[0]]
    monday = DAYS.index[300]  # the newest bar when it was trained: from then on it decides
    assert (new.trained_until, new.instrument) == (monday, "SPY")
    assert (old.prices, new.prices) == (None, "alpaca iex raw")
    assert (new.config["max_epochs"], new.config["batch_size"]) == (1, 32)


def test_a_single_file_cannot_be_trained_anew(tmp_path: Path) -> None:
    folder_with(tmp_path, {})
    schedule = Schedule(tmp_path / "models" / "first.ckpt")
    with pytest.raises(
        ValueError, match=r"`checkpoint` must be a folder with `retrain`, got .*first"
    ):
        Retraining({"SPY": schedule}, {}, tmp_path / "trainings.log")
