"""A checkpoint's features of one's own: matched with what the user supplies, never imported."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model import supplied as doors
from model.checkpoint.buffer import FeatureBuffer
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError, CheckpointWarning
from model.features import registry
from model.features.registry import own_features, register_feature
from model.features.table import FEATURE_NAMES
from tests.helpers import own_features as given
from tests.helpers.forging import JsonObject, forged, refusal
from tests.helpers.makers import random_checkpoint
from tests.helpers.own_features import Momentum, Wave

SOURCE = Path(given.FILE).read_text()
JOINED = Path(__file__).parents[2] / "house" / "golden" / "format-6.ckpt"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_known", {})
    registry._defined.cache_clear()
    yield
    registry._defined.cache_clear()


def known(monkeypatch: pytest.MonkeyPatch, *features: Any) -> None:
    """Let these features and no others be known, as in a new process."""
    monkeypatch.setattr(registry, "_known", {})
    registry._defined.cache_clear()
    for feature in features:
        register_feature(feature)


def made(bars: pd.DataFrame, *features: Any, **changes: Any) -> Checkpoint:
    """A network with random weights that sees features of one's own beside ours."""
    for feature in features:
        register_feature(feature)
    records = tuple(registry._known[feature.name].record for feature in features)
    return random_checkpoint(bars, features=records, **changes)


@pytest.fixture
def path(bars: pd.DataFrame, tmp_path: Path) -> Path:
    """The file of a checkpoint with Momentum(), of a module that is then changed."""
    file = tmp_path / "mine.ckpt"
    made(bars, Momentum()).save(file)
    return file


def test_it_comes_back_with_its_features_and_says_the_same(bars, path: Path) -> None:
    checkpoint = Checkpoint.load(path)
    [record] = checkpoint.features
    assert (record.name, record.lookback, record.parameters) == ("momentum", 21, {"bars": 20})
    assert record.columns == ("momentum", "volume_score") and not record.exact
    assert checkpoint.layout.names == (*FEATURE_NAMES, "momentum", "volume_score")
    again = made(bars, Momentum()).probabilities(bars)
    pd.testing.assert_series_equal(checkpoint.probabilities(bars), again)


def test_only_features_of_ones_own_serve_with_few_bars(bars, tmp_path: Path) -> None:
    checkpoint = made(bars, Momentum(5), only=True)
    checkpoint.save(tmp_path / "only.ckpt")
    loaded = Checkpoint.load(tmp_path / "only.ckpt")
    assert loaded.bars_needed == 6 + 49 and loaded.only
    assert len(loaded.probabilities(bars.iloc[:60])) == 6


def test_a_longer_lookback_needs_more_bars_everywhere(bars, tmp_path: Path) -> None:
    checkpoint = made(bars, Wave())
    checkpoint.save(tmp_path / "wave.ckpt")
    schedule = Schedule(tmp_path / "wave.ckpt")
    assert checkpoint.bars_needed == schedule.bars_needed == 160 + 49
    values, stamps = bars.to_numpy(), bars.index.as_unit("ns").asi8
    batch = schedule.probabilities(values, stamps)
    buffer = FeatureBuffer(schedule.sequence_length, schedule.engineer)
    for number, (stamp, bar) in enumerate(zip(stamps.tolist(), values.tolist()), start=1):
        buffer.update(number, stamp, *bar)
        if number in (208, 209, 300, 400):
            alone = schedule.newest(schedule.at(stamp), buffer)[0]
            np.testing.assert_allclose(alone, batch[number - 1], atol=1e-6)
    assert np.isnan(batch[:208]).all() and not np.isnan(batch[208:]).any()


def test_without_its_feature_it_is_refused_with_what_to_give(monkeypatch, path: Path) -> None:
    known(monkeypatch)
    message = (
        f"{path} cannot be used: it needs features of your own: momentum(bars=20) of training is "
        "not given. Give `features` with the file that defines them, as my_features.py:Momentum"
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        Checkpoint.load(path)


def test_all_that_is_missing_or_different_is_told_at_once(monkeypatch, bars, tmp_path) -> None:
    made(bars, Momentum(), Wave()).save(tmp_path / "both.ckpt")
    known(monkeypatch, Momentum(5))
    with pytest.raises(CheckpointError) as told:
        Checkpoint.load(tmp_path / "both.ckpt")
    for words in (
        "wave() of training is not given",
        "momentum had the parameters {'bars': 20}, got {'bars': 5}",
        "momentum had the lookback 21, got 6",
    ):
        assert words in str(told.value)


def supplied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> None:
    """Supply Momentum from another source than that of training."""
    known(monkeypatch)
    (tmp_path / "others.py").write_text(source)
    own_features(f"{tmp_path / 'others.py'}:Momentum")


def test_a_changed_source_with_equal_values_warns_and_serves(
    monkeypatch, bars, path: Path, tmp_path: Path
) -> None:
    expected = Checkpoint.load(path).probabilities(bars)
    supplied(monkeypatch, tmp_path, SOURCE + "# a comment more\n")
    with pytest.warns(CheckpointWarning, match="the source of momentum has changed since training"):
        checkpoint = Checkpoint.load(path)
    pd.testing.assert_series_equal(checkpoint.probabilities(bars), expected)
    # The file stays what it was: its digest is that of the source of training.
    assert checkpoint.features[0].source != registry._known["momentum"].record.source
    checkpoint.save(tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == path.read_bytes()


def test_a_changed_source_with_other_values_is_refused(monkeypatch, path, tmp_path: Path) -> None:
    supplied(monkeypatch, tmp_path, SOURCE.replace("mean() - 1", "mean()"))
    message = (
        "the source of momentum is another than in training, and so are its values: "
        "'volume_score' is 1 deviations off, at most 1e-05 is allowed. Give the source"
    )
    with pytest.raises(CheckpointError, match=re.escape(message)):
        Checkpoint.load(path)


def test_a_changed_source_that_fails_is_refused(monkeypatch, path, tmp_path: Path) -> None:
    source = SOURCE.replace("        volume = ", "        assert len(bars) < 50\n        volume = ")
    supplied(monkeypatch, tmp_path, source)
    with pytest.raises(CheckpointError, match="has changed, and the feature 'momentum' must give"):
        Checkpoint.load(path)


def test_a_changed_source_cannot_be_judged_without_a_golden_window(
    monkeypatch, bars, tmp_path: Path
) -> None:
    made(bars, Momentum(), golden=False).save(tmp_path / "none.ckpt")
    supplied(monkeypatch, tmp_path, SOURCE + "# changed\n")
    with pytest.raises(CheckpointError, match="no golden window to compare it by"):
        Checkpoint.load(tmp_path / "none.ckpt")


EVIL = "from pathlib import Path\nPath({place!r}).write_text('ran')\nname = 'evil'\n"


@pytest.mark.parametrize(
    "named", ["evil", "evil:Evil", "evil.py:Evil", "{folder}/evil.py:Evil", "evil.Evil"]
)
def test_nothing_that_a_file_names_is_imported(
    monkeypatch, bars, path: Path, tmp_path: Path, named: str
) -> None:
    place = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(EVIL.format(place=str(place)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    known(monkeypatch, Momentum)
    named = named.format(folder=tmp_path)[-100:]

    def offered(group: str, name: str) -> None:
        raise AssertionError("an installed package was asked for what a file names")

    monkeypatch.setattr(doors, "entry_points", offered)
    data = forged(
        path.read_bytes(), rewrite=lambda text: text.replace('"momentum",', f'"{named}",', 1)
    )
    renamed = forged(
        path.read_bytes(),
        rewrite=lambda text: text.replace(
            '"features":[{"name":"momentum"', f'"features":[{{"name":"{named}"'
        ),
    )
    for number, content in enumerate((data, renamed)):
        (tmp_path / f"{number}.ckpt").write_bytes(content)
        for load in (Checkpoint.load, Schedule):
            with pytest.raises(CheckpointError):
                load(tmp_path / f"{number}.ckpt")
    assert not place.exists() and "evil" not in sys.modules


def test_a_forged_record_of_a_feature_is_refused(path: Path, tmp_path: Path) -> None:
    for old, new, words in (
        ('"lookback":21', '"lookback":99999', "`int` <= 10000"),
        ('"exact":false', '"exact":true', "momentum had the exact True, got False"),
        ('"only":false', '"only":true', "its features are not the ones computed here"),
        ('"volume_score"]', '"volume_scores"]', "its features are not the ones computed here"),
        ('"source":"', '"source":"xy', "regex"),
    ):
        forgery = forged(path.read_bytes(), rewrite=lambda text: text.replace(old, new, 1))
        (tmp_path / "forged.ckpt").write_bytes(forgery)
        with pytest.raises(CheckpointError, match=re.escape(words)):
            Checkpoint.load(tmp_path / "forged.ckpt")


def test_checkpoints_of_a_folder_have_the_same_features(bars, tmp_path: Path) -> None:
    made(bars, Momentum()).save(tmp_path / "a.ckpt")
    later = random_checkpoint(bars, bars.index[5])
    later.save(tmp_path / "b.ckpt")
    with pytest.raises(
        CheckpointError, match=r"same feature_sets, got \['86 of ours', 'momentum\(b"
    ):
        Schedule(tmp_path)


def test_where_a_feature_has_no_number_nothing_is_forecast_and_that_is_said(
    monkeypatch, bars, tmp_path: Path
) -> None:
    made(bars, Momentum()).save(tmp_path / "a.ckpt")
    schedule = Schedule(tmp_path / "a.ckpt")
    holed = bars.copy()
    holed.iloc[200:221, 4] = 0.0  # no volume: 0 / 0
    with pytest.warns(CheckpointWarning, match="got none in volume_score at some bars"):
        found = schedule.probabilities(holed.to_numpy(), holed.index.as_unit("ns").asi8)
    missing = np.flatnonzero(np.isnan(found[149:])) + 149
    assert missing[0] == 219 and missing[-1] == 220 + 49


def test_what_an_older_format_cannot_hold_is_said(bars, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="format 4 cannot hold `features`"):
        replace(made(bars, Momentum()), format=4).save(tmp_path / "old.ckpt")


def joined_with(name: str, zone: str) -> Callable[[JsonObject], None]:
    """Give the first other series a column and a zone of other names."""

    def edit(record: JsonObject) -> None:
        series = record["context"]["series"][0]
        series["columns"][0], series["clock"]["zone"] = name, zone
        record["feature_names"][86] = f"silver:{name}"

    return edit


@pytest.mark.parametrize(
    ("name", "zone", "reason"),
    [
        ("ret_z_5", "America/New_York", ""),
        (
            "ret_z_9",
            "America/New_York",
            "the columns of silver must be among our 86, got",
        ),
        ("ret_z_5", "Mars/Base", "`timezone` must be a name such as"),
        ("ret z", "UTC", "Expected `str` matching regex"),
    ],
)
def test_other_series_that_nobody_could_join_are_refused(name: str, zone: str, reason: str) -> None:
    found = refusal(forged(JOINED.read_bytes(), joined_with(name, zone)))
    assert reason in found and bool(reason) == bool(found)
