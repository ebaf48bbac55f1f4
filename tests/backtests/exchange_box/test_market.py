"""The market of the exchange in a box: steps of time, its sessions, its clock."""

import pandas as pd
import pytest

from backtests.exchange_box.market import Market
from model.errors import BarsError
from tests.helpers.exchanges import minute_bars
from tests.helpers.makers import random_bars

MINUTES = minute_bars(3, 60)


def at(text: str, zone: str = "America/New_York") -> pd.Timestamp:
    return pd.Timestamp(text, tz=zone)


def test_a_day_opens_and_closes_in_new_york_summer_and_winter() -> None:
    days = random_bars(200, start="2024-01-02", freq="B")
    market = Market({"SPY": days}, pd.Timestamp("2024-06-03"))
    first = market.steps[market.first_live]
    assert (first.opens, first.ends) == (at("2024-06-03 09:30"), at("2024-06-03 16:00"))
    winter = market.steps[0]
    assert (winter.opens.hour, winter.ends.hour) == (14, 21)
    assert winter.bars["SPY"].label == at("2024-01-02")


def test_the_calendar_is_that_of_the_bars_half_days_and_holidays_included() -> None:
    half = pd.concat([MINUTES.iloc[:90], MINUTES.iloc[120:]])  # 30 minutes of the second day
    market = Market({"SPY": half}, MINUTES.index[30])
    assert [f"{one.opens:%H:%M}-{one.closes:%H:%M}" for one in market.sessions] == [
        "09:30-10:30",
        "09:30-10:00",
        "09:30-10:30",
    ]


@pytest.mark.parametrize(
    ("now", "is_open", "opens", "closes"),
    [
        ("2024-01-02 09:00", False, "2024-01-02 09:30", "2024-01-02 10:30"),
        ("2024-01-02 09:30", True, "2024-01-03 09:30", "2024-01-02 10:30"),
        ("2024-01-02 10:30", False, "2024-01-03 09:30", "2024-01-03 10:30"),
        ("2024-01-04 12:00", False, "2024-01-05 09:30", "2024-01-05 10:30"),  # beyond the bars
    ],
)
def test_the_clock_knows_open_and_close(now: str, is_open: bool, opens: str, closes: str) -> None:
    market = Market({"SPY": MINUTES}, MINUTES.index[30])
    assert market.session_at(at(now)) == (is_open, at(opens), at(closes))


def test_bars_that_are_stamped_by_their_close_begin_before() -> None:
    closing = MINUTES.set_axis(MINUTES.index + pd.Timedelta(minutes=1))
    closing.attrs["stamp"] = "close"
    assert Market({"SPY": closing}, MINUTES.index[30]).steps[0].opens == MINUTES.index[0]


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(BarsError, match="all bars must have one interval"):
        Market({"A": MINUTES, "B": random_bars(50)}, MINUTES.index[30])
    with pytest.raises(BarsError, match="must lie after the first bar"):
        Market({"A": MINUTES}, MINUTES.index[0])
    with pytest.raises(BarsError, match="must lie after the first bar"):
        Market({"A": MINUTES}, MINUTES.index[-1] + pd.Timedelta(days=9))
    always = random_bars(3_000, freq="min")
    with pytest.raises(BarsError, match=r"give a pair as the symbol, like BTC/USD"):
        Market({"SPY": always}, always.index[2_000])
    assert Market({"BTC/USD": always}, always.index[2_000]).first_live == 2_000
