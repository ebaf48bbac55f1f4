"""read_bars as a whole, its arguments, a frame's attrs, and what holds of every bar."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.bars.faults import COLUMNS, count
from model.bars.intervals import bar_interval, bars_per_year
from model.bars.read import MINIMUM_BARS, check_bars, digest_bars, read_bars, require_bars
from model.errors import BarsError, BarsWarning
from model.training.config import TrainConfig
from model.training.data import require_enough_bars
from tests.helpers.bar_files import DAILY, HOURLY, assert_bars, refusal, saved

FRAME = DAILY.set_index("date").astype("float64")


def test_bars_have_one_form() -> None:
    bars = read_bars(DAILY.rename(columns=str.upper))
    assert (
        bars.index.name == "date" and bars.index.tz is None and list(bars.columns) == list(COLUMNS)
    )
    assert (bars.dtypes == np.float64).all()


def test_reading_bars_again_changes_nothing() -> None:
    bars = read_bars(HOURLY, instrument="EURUSD", timezone="Europe/Berlin", stamp="close")
    again = read_bars(bars)
    pd.testing.assert_frame_equal(again, bars)
    assert (
        again.attrs
        == bars.attrs
        == {"instrument": "EURUSD", "timezone": "UTC", "stamp": "close", "flags": []}
    )


def test_attrs_default_to_nothing_stated() -> None:
    unstated = {"instrument": None, "timezone": None, "stamp": "open", "flags": []}
    assert read_bars(DAILY).attrs == unstated


def attributed(table: pd.DataFrame, **attrs: Any) -> pd.DataFrame:
    table = table.copy()
    table.attrs = attrs
    return table


@pytest.mark.parametrize(
    "stated, attrs, expected",
    [
        ({}, {}, "open"),
        ({}, {"stamp": "close"}, "close"),
        ({"stamp": "open"}, {"stamp": "close"}, "open"),
        ({"stamp": "close"}, {}, "close"),
        ({}, {"stamp": None}, "open"),
    ],
)
def test_the_side_of_a_timestamp_is_what_the_caller_says_else_what_the_frame_says(
    stated: dict[str, str], attrs: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    frame = attributed(DAILY, **attrs)
    frame.to_parquet(tmp_path / "bars.parquet")
    assert (
        read_bars(frame, **stated).attrs["stamp"]
        == read_bars(tmp_path / "bars.parquet", **stated).attrs["stamp"]
        == expected
    )


def test_a_frame_whose_timestamps_are_in_a_known_zone_is_not_moved_again() -> None:
    bars = read_bars(HOURLY, timezone="Europe/Berlin")
    assert read_bars(bars, timezone="UTC").index.equals(bars.index)
    assert (
        "`timezone` must be 'UTC' as the frame's attrs say, got 'Europe/Berlin'. Leave it out."
        in refusal(bars, timezone="Europe/Berlin")
    )


def test_the_zone_that_a_frame_states_is_that_of_its_timestamps() -> None:
    stated, named = (
        read_bars(attributed(HOURLY, timezone="Europe/Berlin")),
        read_bars(HOURLY, timezone="Europe/Berlin"),
    )
    assert (
        stated.index.equals(named.index)
        and stated.attrs["timezone"] == named.attrs["timezone"] == "UTC"
    )


@pytest.mark.parametrize(
    "attrs, message",
    [
        ({"stamp": "mid"}, "the frame's attrs: `stamp` must be one of 'open', 'close', got 'mid'"),
        ({"timezone": "Mars"}, "the frame's attrs: `timezone` must be a name"),
        ({"instrument": 5}, "the frame's attrs: `instrument`"),
    ],
)
def test_wrong_attrs_of_a_frame_are_refused(attrs: dict[str, Any], message: str) -> None:
    assert message in refusal(attributed(DAILY, **attrs))


def test_bars_know_the_file_they_come_from(tmp_path: Path) -> None:
    bars = read_bars(saved(tmp_path, DAILY), instrument="X")
    with pytest.raises(BarsError, match=f"^{tmp_path / 'bars.csv'}: 300 bars; at least 301"):
        require_bars(bars, 301, "for a test")
    assert (
        read_bars(bars).attrs
        == bars.attrs
        == {
            "instrument": "X",
            "timezone": None,
            "stamp": "open",
            "flags": [],
            "source": str(tmp_path / "bars.csv"),
        }
    )


def test_warnings_point_at_the_caller_and_name_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, DAILY[::-1])
    with pytest.warns(BarsWarning, match=f"^{path}: newest row first") as said:
        read_bars(path)
    assert said[0].filename == __file__


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"columns": "close"}, "`columns` must be a dict such as {'Price': 'close'}, got 'close'"),
    (
        {"columns": {5: "close"}},
        "`columns` must be a dict such as {'Price': 'close'}, got {5: 'close'}",
    ),
    ({"instrument": 5}, "`instrument` must be text and not empty, got 5"),
    ({"instrument": ""}, "`instrument` must be text and not empty, got ''"),
    ({"ticker": 5}, "`ticker` must be text and not empty, got 5"),
    ({"date_format": 5}, "`date_format` must be text and not empty, got 5"),
    ({"adjust": "yes"}, "`adjust` must be one of False, True, got 'yes'"),
    ({"minimum_bars": -1}, "`minimum_bars` must be a whole number from 0, or None, got -1"),
    ({"minimum_bars": "many"}, "`minimum_bars` must be a whole number from 0, or None, got 'many'"),
    ({"stamp": "end"}, "`stamp` must be one of 'open', 'close', got 'end'"),
    ({"decimal": ";"}, "`decimal` must be one of '.', ',', got ';'"),
    ({"on_missing": "fill"}, "`on_missing` must be one of 'error', 'drop', got 'fill'"),
    (
        {"timezone": "Mars"},
        "`timezone` must be a name such as 'America/New_York' or 'UTC', got 'Mars'",
    ),
]


@pytest.mark.parametrize("wrong, message", ARGUMENTS)
def test_a_wrong_argument_is_refused(wrong: dict[str, Any], message: str) -> None:
    assert message in refusal(DAILY, **wrong)


@pytest.mark.parametrize(
    "n_bars, remedy",
    [
        (1, "Give more bars."),
        (40, "Give more bars."),
        (194, "Give more bars."),
        (195, "Lower `sequence_length` to need fewer."),
        (225, "Lower `batch_size` or `sequence_length` to need fewer."),
    ],
)
def test_what_lowers_the_number_is_said_where_it_helps(n_bars: int, remedy: str) -> None:
    assert refusal(DAILY[:n_bars]).endswith(
        f"windows to train, validate and test, the first at least one batch of 64). {remedy}"
    )
    config = TrainConfig()
    with pytest.raises(
        BarsError,
        match=re.escape(
            f"the data: {count(n_bars, 'bar')}; at least 244 are needed (for a training part "
            f"of one batch of 64 windows). {remedy}"
        ),
    ):
        require_enough_bars(FRAME[:n_bars], config)


@pytest.mark.parametrize("n_bars", [1, 40, 120, MINIMUM_BARS - 1])
def test_too_few_bars_are_refused_with_the_number_needed(n_bars: int, tmp_path: Path) -> None:
    path = saved(tmp_path, DAILY[:n_bars])
    said = refusal(path)
    assert said.startswith(
        f"{path}: {count(n_bars, 'bar')}; at least {MINIMUM_BARS} are needed "
        "(100 to warm up, 50 for a window"
    )
    assert len(read_bars(path, minimum_bars=None)) == n_bars


def test_the_default_number_is_what_the_default_training_needs() -> None:
    config = TrainConfig()
    assert config.preprocessor.bars_needed(config.batch_size) == MINIMUM_BARS
    assert len(read_bars(DAILY[:MINIMUM_BARS])) == MINIMUM_BARS


def test_required_bars_are_counted() -> None:
    require_bars(FRAME, 300, "for nothing")
    with pytest.raises(
        BarsError, match=r"the data: 300 bars; at least 301 are needed \(for a test\)"
    ):
        require_bars(FRAME, 301, "for a test")


def test_sound_bars_pass_as_they_are() -> None:
    assert check_bars(FRAME) is FRAME


UNSOUND: list[tuple[Any, str]] = [
    (FRAME["close"], "must be a DataFrame with a DatetimeIndex, got Series"),
    (DAILY, "must be a DataFrame with a DatetimeIndex"),
    (FRAME.tz_localize("UTC"), "no time zone and no NaT"),
    (FRAME.drop(columns="low"), "no 'low' column"),
    (FRAME.astype({"volume": "int64"}), "column 'volume' must be float64, got int64"),
    (FRAME[::-1], "timestamps must increase and be unique; 299 do not (first 2016-02-24, row 1)"),
    (FRAME.iloc[[0, 0, 1]], "timestamps must increase and be unique; 1 do not"),
    (FRAME.assign(close=0.0), "300 bars with a price that is not above 0"),
    (FRAME.assign(volume=np.nan), "300 bars with a volume that is negative or not finite"),
]


@pytest.mark.parametrize("bars, message", UNSOUND)
def test_unsound_bars_do_not_pass(bars: Any, message: str) -> None:
    with pytest.raises(BarsError) as refused:
        check_bars(bars)
    assert message in str(refused.value)


def test_the_digest_sees_every_timestamp_and_value() -> None:
    digest = digest_bars(FRAME)
    assert (
        digest
        == digest_bars(FRAME.copy())
        == digest_bars(FRAME.set_index(FRAME.index.as_unit("s")))
    )
    moved = FRAME.set_index(FRAME.index + pd.Timedelta(1, "ns"))
    others = [
        moved,
        *(FRAME.assign(**{name: np.nextafter(FRAME[name], np.inf)}) for name in COLUMNS),
    ]
    assert len({digest, *map(digest_bars, others)}) == 7 and len(digest) == 64


def test_csv_and_parquet_have_the_same_digest(tmp_path: Path) -> None:
    DAILY.to_parquet(tmp_path / "bars.parquet")
    assert digest_bars(read_bars(tmp_path / "bars.parquet")) == digest_bars(
        read_bars(saved(tmp_path, DAILY))
    )


def test_interval_and_bars_per_year_stand_here_too() -> None:
    assert bar_interval(FRAME.index) == pd.Timedelta("1D") and bars_per_year(FRAME.index) == 252


def test_the_table_of_the_markets_is_sound() -> None:
    assert_bars(read_bars(DAILY), DAILY)
    assert_bars(read_bars(HOURLY), HOURLY)


@pytest.mark.parametrize("flags", ["yes", [{"name": "gaps"}], [1], {"a": 1}, None])
def test_flags_that_others_keep_with_a_frame_are_not_ours(flags: object) -> None:
    frame = DAILY.copy()
    frame.attrs["flags"] = flags
    assert_bars(read_bars(frame), DAILY)
