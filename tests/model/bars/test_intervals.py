"""Intervals: the usual spacing, the bars of a year of every kind of market, and changes of
frequency.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.bars.intervals import (
    bar_interval,
    bars_per_year,
    hour_shares,
    no_usual_spacing,
    session_bars,
    spacing_change,
    spoken,
)
from tests.helpers.bar_files import HOURLY, currency_hours, sessions

YEAR = pd.bdate_range("2010-01-04", periods=2000)
MARKETS = {
    "stocks by day": (YEAR[np.arange(2000) % 29 != 7], "1D", 252),
    "a few months of stocks": (YEAR[:100], "1D", 252),
    "every working day": (YEAR, "1D", 252),
    "coins by day": (pd.date_range("2018-01-01", periods=900), "1D", 365),
    "weeks": (pd.date_range("2000-01-07", periods=300, freq="W-FRI"), "7D", 52),
    "months": (pd.date_range("2000-01-01", periods=300, freq="MS"), "31D", 12),
    "quarters": (pd.date_range("2000-01-01", periods=100, freq="QS"), "92D", 4),
    "years": (pd.date_range("1900-01-01", periods=100, freq="YS"), "365D", 1),
    "currencies by hour": (currency_hours(2000), "1h", 6240),
    "coins by hour": (pd.date_range("2018-01-01", periods=5000, freq="h"), "1h", 8760),
    "coins by four hours": (pd.date_range("2018-01-01", periods=5000, freq="4h"), "4h", 2190),
    "stocks by five minutes": (sessions(5, 78), "5min", 78 * 252),
    "stocks by hour": (sessions(60, 7), "1h", 7 * 252),
    "stocks by half session": (sessions(195, 2), "195min", 2 * 252),
    "stocks in UTC across the change of clocks": (
        pd.DatetimeIndex(sessions(30, 13, 200).tz_localize("America/New_York").tz_convert(None)),
        "30min",
        13 * 252,
    ),
}


@pytest.mark.parametrize("index, interval, yearly", MARKETS.values(), ids=MARKETS)
def test_interval_and_bars_per_year_are_inferred(
    index: pd.DatetimeIndex, interval: str, yearly: float
) -> None:
    assert bar_interval(index) == pd.Timedelta(interval)
    assert bars_per_year(index) == yearly


def test_missing_bars_do_not_change_them() -> None:
    thin = MARKETS["coins by hour"][0][np.random.default_rng(0).random(5000) < 0.9]
    assert bar_interval(thin) == pd.Timedelta("1h") and bars_per_year(thin) == 8760


def test_one_bar_has_no_interval() -> None:
    with pytest.raises(ValueError, match="the bar interval needs at least 2 bars, got 1"):
        bar_interval(YEAR[:1])


def test_session_bars_are_those_of_a_usual_day() -> None:
    assert session_bars(sessions(5, 78)) == 78 and session_bars(YEAR) == 1


@pytest.mark.parametrize("index", [index for index, _, _ in MARKETS.values()], ids=MARKETS)
def test_no_market_changes_its_spacing(index: pd.DatetimeIndex) -> None:
    assert spacing_change(index) is None


def test_a_change_of_spacing_is_found_at_its_bar() -> None:
    change = spacing_change(YEAR[:500].append(pd.DatetimeIndex(HOURLY["date"])))
    assert change is not None and (change.position, change.before, change.after) == (
        500,
        pd.Timedelta("1D"),
        pd.Timedelta("1h"),
    )


@pytest.mark.parametrize(
    "span, words",
    [
        ("1D", "1 day"),
        ("7D", "7 days"),
        ("364D", "364 days"),
        ("31411D", "86 years"),
        ("36h", "36 hours"),
        ("1h", "1 hour"),
        ("240min", "4 hours"),
        ("90min", "90 minutes"),
        ("100min", "1 hour 40 minutes"),
        ("101min", "1 hour 41 minutes"),
        ("195min", "3 hours 15 minutes"),
        ("1441min", "1 day 1 minute"),
        ("1049h", "43 days 17 hours"),
        ("1min", "1 minute"),
        ("5min", "5 minutes"),
        ("5s", "5 seconds"),
        ("30s", "30 seconds"),
        ("125s", "2 minutes 5 seconds"),
        ("250ms", "0.25 seconds"),
    ],
)
def test_spans_are_spoken(span: str, words: str) -> None:
    assert spoken(pd.Timedelta(span)) == words


def test_shares_of_hours_are_those_of_bars_within_the_day() -> None:
    session = pd.date_range("2024-01-02 09:30", periods=12, freq="10min", unit="ns")
    shares = hour_shares(session)
    assert shares is not None and len(shares) == 24
    assert shares[9:12] == (0.25, 0.5, 0.25) and sum(shares) == 1
    assert hour_shares(pd.date_range("2024-01-02 21:00", periods=9, unit="ns")) is None


def spaced(seconds: Any, unit: float = 1e9) -> pd.DatetimeIndex:
    """Timestamps so many seconds apart, in whole units of so many nanoseconds."""
    return pd.DatetimeIndex(
        1_700_000_000 * 10**9 + np.cumsum(np.maximum(1, np.rint(seconds * 1e9 / unit)) * unit)
    )


DRAW = np.random.default_rng(0)
VOLUME_BARS = spaced(DRAW.gamma(4.0, 100.0, 1200))


@pytest.mark.parametrize(
    "index",
    [
        VOLUME_BARS,
        VOLUME_BARS[:100],
        spaced(DRAW.exponential(40.0, 1200), unit=1e6),
        spaced(DRAW.gamma(8.0, 1.0, 1200)),
    ],
)
def test_bars_without_a_usual_spacing_are_told(index: pd.DatetimeIndex) -> None:
    assert re.search(r"of \d+\.\d% of them, and \d+\.\d% are multiples", no_usual_spacing(index))
    assert no_usual_spacing(index[:99]) == ""


MINUTES = pd.date_range("2024-01-02", periods=20_000, freq="min", unit="ns")


@pytest.mark.parametrize(
    "index",
    [
        *(index for index, *_ in MARKETS.values()),
        *(pd.date_range("1990", periods=150, freq=freq) for freq in ("ME", "QE", "YE", "W")),
        MINUTES[DRAW.random(len(MINUTES)) < 0.15],  # hardly ever traded
        pd.DatetimeIndex([day + pd.Timedelta(hours=h) for day in YEAR[:400] for h in (9, 13)]),
    ],
)
def test_thin_markets_and_calendar_bars_have_a_usual_spacing(index: pd.DatetimeIndex) -> None:
    assert no_usual_spacing(index) == ""
