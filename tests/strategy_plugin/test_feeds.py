"""Timestamps: what Backtrader's floats give back is what went in."""

import numpy as np
import pandas as pd
import pytest
from backtrader import date2num

from strategy_plugin.feeds import (
    EARLIEST,
    NANOSECONDS_A_DAY,
    TimestampConversion,
    conversion_for,
    nanoseconds,
    nanoseconds_of,
)


@pytest.mark.parametrize("freq", ["D", "h", "min", "s", "7ms", "100ms"])
def test_whole_milliseconds_come_back_exactly(freq: str) -> None:
    timestamps = pd.date_range("2024-02-29 23:30", periods=5_000, freq=freq, unit="ns")
    numbers = [date2num(timestamp.to_pydatetime()) for timestamp in timestamps]
    assert [nanoseconds(number) for number in numbers] == timestamps.asi8.tolist()
    assert nanoseconds_of(np.array(numbers)).tolist() == timestamps.asi8.tolist()


@pytest.mark.parametrize("time", ["00:00", "16:00", "23:59:59.999989"])
def test_on_a_grid_of_whole_days_a_timestamp_is_its_date(time: str) -> None:
    number = date2num(pd.Timestamp(f"2024-05-06 {time}").to_pydatetime())
    assert (
        TimestampConversion(grid=NANOSECONDS_A_DAY).timestamp(number)
        == pd.Timestamp("2024-05-06").value
    )
    assert TimestampConversion(grid=NANOSECONDS_A_DAY).timestamps(np.array([number])).tolist() == [
        pd.Timestamp("2024-05-06").value
    ]


@pytest.mark.parametrize(
    "conversion",
    [
        TimestampConversion(),
        TimestampConversion(grid=NANOSECONDS_A_DAY),
        TimestampConversion(shift=60),
        TimestampConversion(grid=3_600),
    ],
)
def test_a_missing_timestamp_is_before_all_others(conversion: TimestampConversion) -> None:
    assert nanoseconds(float("nan")) == conversion.timestamp(float("nan")) == EARLIEST
    assert (
        nanoseconds_of(np.array([float("nan"), 738_000.0]))[0]
        == conversion.timestamps(np.array([float("nan")]))[0]
        == EARLIEST
    )


HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    "trained, shown, resampled, replayed, timestamp, served",
    [
        ("open", "", False, False, "10:00", "10:00"),
        ("close", "", False, False, "10:00", "10:00"),
        ("open", "close", False, False, "10:00", "09:00"),
        ("close", "open", False, False, "10:00", "11:00"),
        ("open", "", True, False, "10:00", "09:00"),
        ("close", "", True, False, "10:00", "10:00"),
        ("open", "open", True, False, "10:00", "10:00"),
        ("open", "", True, True, "10:59", "10:00"),
        ("open", "close", True, True, "11:00", "10:00"),
        ("close", "", True, True, "11:00", "11:00"),
        ("close", "", True, True, "10:30", "11:00"),
        ("close", "open", True, True, "10:30", "11:00"),
    ],
)
def test_a_feed_gets_the_timestamps_of_training(
    trained: str,
    shown: str,
    resampled: bool,
    replayed: bool,
    timestamp: str,
    served: str,
) -> None:
    conversion = conversion_for(
        interval=HOUR,
        whole_days=False,
        trained=trained,
        shown=shown,
        resampled=resampled,
        replayed=replayed,
    )
    number = date2num(pd.Timestamp(f"2024-05-06 {timestamp}").to_pydatetime())
    assert conversion.timestamp(number) == pd.Timestamp(f"2024-05-06 {served}").value
    assert conversion.timestamps(np.array([number]))[0] == conversion.timestamp(number)
