"""Stamps: what Backtrader's floats give back is what went in."""
import numpy as np
import pandas as pd
import pytest
from backtrader import date2num

from strategy_plugin.clock import EARLIEST, nanoseconds, nanoseconds_of


@pytest.mark.parametrize("freq", ["D", "h", "min", "s", "7ms", "100ms"])
def test_whole_milliseconds_come_back_exactly(freq: str) -> None:
    stamps = pd.date_range("2024-02-29 23:30", periods=5_000, freq=freq, unit="ns")
    numbers = [date2num(stamp.to_pydatetime()) for stamp in stamps]
    assert [nanoseconds(number) for number in numbers] == stamps.asi8.tolist()
    assert nanoseconds_of(np.array(numbers)).tolist() == stamps.asi8.tolist()


@pytest.mark.parametrize("time", ["00:00", "16:00", "23:59:59.999989"])
def test_with_whole_days_a_stamp_is_its_date(time: str) -> None:
    number = date2num(pd.Timestamp(f"2024-05-06 {time}").to_pydatetime())
    assert nanoseconds(number, whole_days=True) == pd.Timestamp("2024-05-06").value
    assert nanoseconds_of(np.array([number]), whole_days=True).tolist() == [pd.Timestamp("2024-05-06").value]


@pytest.mark.parametrize("whole_days", [False, True])
def test_a_missing_stamp_is_before_all_others(whole_days: bool) -> None:
    assert nanoseconds(float("nan"), whole_days) == EARLIEST
    assert nanoseconds_of(np.array([float("nan"), 738_000.0]), whole_days)[0] == EARLIEST
