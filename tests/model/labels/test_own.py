"""Labels of one's own: the doors by which they come in, the proof of their end, and bad ones."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from model import supplied
from model.checkpoint.checkpoint import Checkpoint
from model.errors import LabelError, OneClassError
from model.labels import own
from model.labels.own import own_label, register_label
from model.labels.stability import require_known_at_end
from model.training.config import TrainConfig
from model.training.data import describe_labels, describe_purge, prepare
from tests.helpers import own_labels as given
from tests.helpers.makers import random_bars, random_checkpoint
from tests.helpers.own_labels import First, Rise

# By value, or each fresh process would import this file, and torch with it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Transform = Callable[[pd.DataFrame], object]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the labels of another."""
    monkeypatch.setattr(own, "_known", {})
    own._defined.cache_clear()
    yield
    own._defined.cache_clear()


@pytest.fixture
def bars() -> pd.DataFrame:
    return random_bars(400, seed=2)


def giving(transform: Transform, **changes: object) -> own.KnownLabel:
    """A label with this transform, that is known."""
    kind = type("Given", (Rise,), {"transform": lambda _, bars: transform(bars), **changes})
    register_label(kind)
    return own_label("rise")


@pytest.mark.parametrize("text", [f"{given.FILE}:Rise", "tests.helpers.own_labels:Rise", "rise"])
def test_a_label_comes_in_by_file_by_module_and_by_name(text: str) -> None:
    if text == "rise":
        register_label(Rise)
    config = TrainConfig(label=text)
    assert config.labelling.own == own_label(text).record
    assert str(config.labelling) == "the label rise(bars=5) of your own"
    # Wherever the file lies, the label is the same.
    assert str(config.described()["label"]).startswith("rise(bars=5) ")


def test_an_instance_and_a_class_of_one_name_are_two_labels() -> None:
    assert own_label(f"{given.FILE}:rise_3").record.parameters == {"bars": 3}
    with pytest.raises(LabelError, match=r"must be free, got 'rise', which is rise\(bars=3\) alr"):
        own_label(f"{given.FILE}:Rise")


def test_an_installed_package_offers_labels_by_entry_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer = EntryPoint("rise", "tests.helpers.own_labels:Rise", supplied.LABEL.group)
    monkeypatch.setattr(
        supplied, "entry_points", lambda group, name: [offer] if name == "rise" else []
    )
    assert own_label("rise").record.name == "rise"
    with pytest.raises(LabelError, match="of your own as .* Did you mean 'rise'"):
        own_label("rize")


def test_labels_stand_at_their_decision_with_the_bar_at_which_they_are_known(
    bars: pd.DataFrame,
) -> None:
    register_label(Rise)
    found = TrainConfig(label="rise").labelling.labels(bars, softness=1.0)
    closes = bars["close"].to_numpy()
    np.testing.assert_array_equal(found.values[:-5], closes[5:] > closes[:-5])
    assert np.isnan(found.values[-5:]).all() and (found.known[-5:] == 400).all()
    np.testing.assert_array_equal(found.known[:-5], np.arange(5, 400))
    np.testing.assert_array_equal(found.targets, found.values)
    assert found.longest == 4


def test_windows_are_purged_by_the_end_of_each_label(bars: pd.DataFrame) -> None:
    register_label(First)
    config = TrainConfig(label="first", batch_size=16)
    data, labels = prepare(bars, config), config.labelling.labels(bars)
    for part, later in ((data.train, data.validation), (data.validation, data.test)):
        places = bars.index.get_indexer(part.timestamps)
        border = bars.index.get_loc(later.timestamps[0])
        assert (labels.known[places] <= border).all()
    assert len(set((labels.known - np.arange(400))[places].tolist())) > 3
    assert "labels are 1; " in describe_labels({"bars": bars}, config)
    assert describe_purge(config).startswith("each window before each later part")


def test_a_checkpoint_knows_its_label_and_forecasts_without_it(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    record = own_label(f"{given.FILE}:Rise").record
    checkpoint = random_checkpoint(bars, label="own", own_label=record)
    checkpoint.save(tmp_path / "own.ckpt")
    own._known.clear()
    loaded = Checkpoint.load(tmp_path / "own.ckpt")
    assert loaded.own_label == record and loaded.digest == checkpoint.digest
    pd.testing.assert_series_equal(loaded.probabilities(bars), checkpoint.probabilities(bars))
    with pytest.raises(LabelError, match=r"label rise\(bars=5\) must be given to label bars. Give"):
        loaded.labelling.labels(bars)
    register_label(Rise(3))
    with pytest.raises(LabelError, match=r"label bars, got rise\(bars=3\) of another source or"):
        loaded.labelling.labels(bars)
    with pytest.raises(ValueError, match="label"):
        replace(checkpoint, label="open").save(tmp_path / "bad.ckpt")


def later(bars: pd.DataFrame, ahead: int, end: int) -> pd.DataFrame:
    """Whether the close is higher so many bars later, said to be known so many bars later."""
    moved = bars["close"].shift(-ahead)
    label = (moved > bars["close"]).astype(float).where(moved.notna())
    known = np.minimum(np.arange(len(bars)) + end, len(bars) - 1)
    return pd.DataFrame({"label": label, "end": known}, bars.index)


def filled(bars: pd.DataFrame) -> pd.DataFrame:
    """A label that says 0 where the outcome has not come."""
    table = later(bars, 5, 5).fillna({"label": 0.0})
    return table.where(table["end"] > np.arange(len(bars)))


def against_all(bars: pd.DataFrame) -> pd.DataFrame:
    """A label whose threshold is the median move of all bars."""
    moves = bars["close"].shift(-3) / bars["close"] - 1
    table = later(bars, 3, 3)
    return table.assign(label=(moves > moves.median()).astype(float).where(moves.notna()))


@pytest.mark.parametrize("label", [Rise, First], ids=lambda one: one.name)
def test_an_honest_label_is_not_accused(label: type, bars: pd.DataFrame) -> None:
    register_label(label)
    require_known_at_end(own_label(label.name), {"": bars})


@pytest.mark.parametrize(
    "leak",
    [lambda bars: later(bars, 6, 5), lambda bars: later(bars, 50, 5), filled, against_all],
    ids=["a bar more", "fifty bars", "filled", "a median of all"],
)
def test_a_label_that_knows_more_than_its_end_is_refused(
    leak: Transform, bars: pd.DataFrame
) -> None:
    with pytest.raises(LabelError) as told:
        require_known_at_end(giving(leak), {"": bars})
    assert re.search(r"at 20\d\d-\d\d-\d\d \(bar \d+\) it is [01] with end 20", str(told.value))
    assert re.search(r"of all bars, but .* with end .* of the bars up to 20", str(told.value))
    assert "Give as end the bar at whose close it is known" in str(told.value)


def test_a_label_that_keeps_what_it_once_saw_is_refused(bars: pd.DataFrame) -> None:
    kept: dict[pd.Timestamp, float] = {}

    def remembering(bars: pd.DataFrame) -> pd.DataFrame:
        """Of twenty bars where they were ever shown, with the end of one."""
        for stamp, label in later(bars, 20, 20)["label"].dropna().items():
            kept.setdefault(stamp, label)
        table = later(bars, 1, 1)
        return table.assign(
            label=table["label"]
            .where(table["label"].isna(), 0.0)
            .add(pd.Series(kept).reindex(bars.index), fill_value=0.0)
            .clip(0, 1)
            .where(table["label"].notna())
        )

    known = giving(remembering)
    with pytest.raises(LabelError, match="in a fresh process that has seen none after 20.* keeps"):
        require_known_at_end(known, {"": bars})


def test_a_label_that_is_drawn_is_refused_with_training(bars: pd.DataFrame) -> None:
    draw = np.random.default_rng(0)
    giving(lambda bars: later(bars, 1, 1).assign(label=[*draw.integers(0, 2, len(bars) - 1), None]))
    with pytest.raises(LabelError, match="when it is asked a second time: make it from the bars"):
        prepare(bars, TrainConfig(label="rise"))


def faulty(**changes: object) -> Transform:
    """A label that is wrong in its eleventh row."""

    def transform(bars: pd.DataFrame) -> pd.DataFrame:
        table = later(bars, 2, 2).astype(float)
        for name, value in changes.items():
            table.loc[bars.index[10], name] = value
        return table

    return transform


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (faulty(label=0.5), "must be 1, 0, or NaN for none, got label 0.5 with end 12.0 at 2020"),
        (faulty(end=9), "must end after the bar that it is decided at"),
        (faulty(end=10), "must end after the bar that it is decided at: what is known there"),
        (faulty(end=9), "with end 9.0 at 2020-01-11 (bar 11), 1 such rows in all. Give as end t"),
        (faulty(end=np.nan), "such rows in all. Give NaN as the label where its end has"),
        (faulty(end=400), "must have an end, and not after the last bar, got label "),
        (lambda bars: later(bars, 2, 2)["label"], "must return a DataFrame, got Series"),
        (lambda bars: later(bars, 2, 2)[1:], "must return a row for each of 400 bars, got 399"),
        (lambda bars: later(bars, 2, 2)[::-1], "must return its rows on the bars' own index, got"),
        (lambda bars: later(bars, 2, 2)[["label"]], "the columns label and end, got label"),
        (lambda bars: later(bars, 2, 2).assign(label="up"), "must return numbers in label, got "),
        (lambda bars: later(bars, 2, 2).assign(end="x"), "timestamps of the bars, without a zone"),
        (lambda bars: bars["clsoe"], "KeyError: 'clsoe', in line "),
    ],
)
def test_a_bad_table_is_one_message_with_row_and_values(
    transform: Transform, words: str, bars: pd.DataFrame
) -> None:
    known = giving(transform)
    with pytest.raises(LabelError, match=re.escape(words)) as told:
        known.transform(bars)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("times", "error", "words"),
    [
        (0.0, OneClassError, "got 0 labelled 1 and .* labelled 0. Give more bars, or a label that"),
        (np.nan, LabelError, "must be 1 or 0 at some bars that have a window, got NaN at all of"),
    ],
)
def test_labels_that_are_all_the_same_or_none_are_told_as_such(
    times: float, error: type[ValueError], words: str, bars: pd.DataFrame
) -> None:
    def same(bars: pd.DataFrame) -> pd.DataFrame:
        table = later(bars, 2, 2)
        return table.assign(label=table["label"] * times)

    register_label(giving(same).label)
    config = TrainConfig(label="rise", batch_size=16)
    assert describe_labels({"bars": bars}, config).startswith("0.00% of the labels are 1; ")
    with pytest.raises(error, match=words):
        prepare(bars, config)


def test_an_end_between_two_bars_is_that_of_the_later_one(bars: pd.DataFrame) -> None:
    def between(bars: pd.DataFrame) -> pd.DataFrame:
        ends = bars.index + pd.Timedelta(hours=30)
        table = later(bars, 2, 2).assign(end=ends)
        return table.assign(label=table["label"].where(ends <= bars.index[-1]))

    _, known = giving(between).transform(bars)
    np.testing.assert_array_equal(known[:-2], np.arange(2, 400))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label": "rise", "horizon": 5}, "`horizon` must be 1 with a label of your own"),
        ({"label": "rise", "stop_loss": "2%"}, "`stop_loss` must be left out with label='rise'"),
        ({"label": "rise", "outcome": "relative"}, "`outcome` must be 'direction' with label='ri"),
        ({"label": "own"}, "`label` must be one of open, close, barrier, or one of your own as my"),
        ({"label": "absent.py:Rise"}, "`label` must name a file that can be read, got absent.py"),
        ({"label": f"{given.FILE}:Rize"}, "must define the label 'Rize', got none. Did you mean"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, words: str) -> None:
    register_label(Rise)
    with pytest.raises(ValueError, match=re.escape(words)):
        TrainConfig(**settings)


@pytest.mark.parametrize("changes", [{"name": "open"}, {"name": "a b"}, {"transform": None}])
def test_a_class_that_is_no_label_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(LabelError, match="Given cannot be a label: `(name|transform)` must be"):
        register_label(type("Given", (Rise,), changes))


def test_labels_that_hold_other_things_are_not_taken_for_each_other() -> None:
    class Jump(Rise):
        name = "jump"

        def __init__(self, bars: int) -> None:
            self._bars = bars

    register_label(Jump(5))
    register_label(Jump(5))
    with pytest.raises(LabelError, match="`name` must be free, got 'jump'"):
        register_label(Jump(6))
