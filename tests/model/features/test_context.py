"""Other series: joined by when their bars are complete, at once and bar by bar to the same bits."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from model.errors import FeatureError
from model.features.context import ContextBuffer, SeriesBars, join, places_of, series_rows
from model.features.series import Clock, ContextRecord, SeriesRecord, slower_bars
from model.features.table import FEATURE_NAMES, FeatureEngineer
from tests.helpers.makers import COLUMNS, MERGED, random_bars

FEW = ("bar_close_z", "ret_z_5")


def of(bars: pd.DataFrame) -> SeriesBars:
    return SeriesBars(bars[COLUMNS].to_numpy(), bars.index.as_unit("ns").asi8)


def clocked(bars: pd.DataFrame, words: str = "", **attrs: str) -> Clock:
    stated = bars.copy()
    stated.attrs = attrs
    return Clock.of(stated, words)


def record(clock: Clock, *series: SeriesRecord, max_age: float = 7.0) -> ContextRecord:
    return ContextRecord(clock=clock, max_age=max_age, series=series)


def other(clock: Clock, columns: tuple[str, ...] = FEW, name: str = "spy") -> SeriesRecord:
    return SeriesRecord(name=name, every="", columns=columns, clock=clock)


def slower(clock: Clock, every: str) -> SeriesRecord:
    return SeriesRecord(name="self", every=every, columns=FEW, clock=clock)


def at(timestamp: str) -> int:
    return pd.Timestamp(timestamp).as_unit("ns").value


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.int64)


def test_each_column_of_a_series_needs_no_more_bars_than_its_own_lookback(bars) -> None:
    series = of(bars)
    whole = FeatureEngineer().transform(bars).to_numpy()
    for place, name in enumerate(FEATURE_NAMES):
        alone = series_rows(series.values, series.timestamps, (name,))[:, 0]
        lookback = places_of((name,))[1]
        assert np.isnan(alone[: lookback - 1]).all() and np.isfinite(alone[lookback - 1 :]).all()
        assert (alone[100:] == whole[:, place]).all()
        last = slice(200 - lookback, 200)
        one = series_rows(series.values[last], series.timestamps[last], (name,))[-1, 0]
        assert one == alone[199]


@pytest.mark.parametrize(
    ("clock", "stamp", "known"),
    [
        ({"freq": "h"}, "2024-03-08 15:00", "2024-03-08 16:00"),
        ({"freq": "h", "stamp": "close"}, "2024-03-08 15:00", "2024-03-08 15:00"),
        ({"freq": "D"}, "2024-03-08", "2024-03-09"),
        ({"freq": "D", "timezone": "Asia/Tokyo"}, "2024-03-08", "2024-03-08 15:00"),
        ({"freq": "D", "words": "America/New_York"}, "2024-03-08", "2024-03-09 05:00"),
        # Summer time begins on the 10th.
        ({"freq": "D", "words": "16:00 America/New_York"}, "2024-03-08", "2024-03-08 21:00"),
        ({"freq": "D", "words": "16:00 America/New_York"}, "2024-03-11", "2024-03-11 20:00"),
        ({"freq": "W-MON"}, "2024-03-04", "2024-03-11"),
        ({"freq": "MS"}, "2024-02-01", "2024-03-03"),  # the longest month: never early
    ],
    ids=str,
)
def test_a_bar_is_known_when_it_is_complete(clock, stamp: str, known: str) -> None:
    attrs = {name: clock[name] for name in ("stamp", "timezone") if name in clock}
    found = clocked(random_bars(40, freq=clock["freq"]), clock.get("words", ""), **attrs)
    assert found.known(np.array([at(stamp)])).tolist() == [at(known)]


def test_the_newest_complete_bar_is_joined_whatever_zone_and_interval_it_has() -> None:
    own = random_bars(24 * 90, freq="h", start="2024-02-01")
    tokyo = random_bars(140, seed=1, start="2023-12-15")
    hours, dates = clocked(own, timezone="UTC"), clocked(tokyo, "15:00 Asia/Tokyo")
    joined = join(of(own), {"spy": of(tokyo)}, record(hours, other(dates)))
    expected = series_rows(*of(tokyo)[:2], FEW)
    for hour, date in (
        # 15:00 in Tokyo is 6:00 in UTC: the bar that ends then knows the date's.
        ("2024-03-08 04:00", "2024-03-07"),
        ("2024-03-08 05:00", "2024-03-08"),
        ("2024-03-09 04:00", "2024-03-08"),
    ):
        row = joined.rows[own.index.get_loc(hour)]
        assert (row == expected[tokyo.index.get_loc(date)]).all()
    # The oldest it gets is a day less the hour that the next one takes.
    assert joined.ages[-200:].max() == at("1970-01-02") - 3_600_000_000_000


def test_a_missing_bar_ages_and_beyond_the_limit_there_is_none() -> None:
    own, spy = random_bars(200), random_bars(200, seed=1)
    spy = spy.drop(spy.index[150:155])
    clock = clocked(own)
    joined = join(of(own), {"spy": of(spy)}, record(clock, other(clock), max_age=2.0))
    days = joined.ages[149:156, 0] // 86_400_000_000_000
    assert days.tolist() == [0, 1, 2, 3, 4, 5, 0]
    # Two days beyond an interval of one.
    assert np.isnan(joined.rows[149:156, 0]).tolist() == [False] * 4 + [True] * 2 + [False]


def test_slower_bars_are_whole_weeks_and_none_is_known_before_its_end() -> None:
    days = random_bars(60, start="2024-01-03")  # a Wednesday
    days = days[days.index.day_of_week < 5]
    values, starts, known = slower_bars(*of(days)[:2], clocked(days), "1W")
    weeks = days.resample("W-SUN").agg(MERGED).iloc[1:-1]
    assert (values == weeks.to_numpy()).all()
    assert (pd.DatetimeIndex(starts) == weeks.index - pd.Timedelta(days=6)).all()
    # On Friday nobody knows that Saturday brings no bar: Monday's close does.
    joined = join(of(days), {}, record(clocked(days), slower(clocked(days), "1W")))
    ages = pd.Series(joined.ages[:, 0] // 86_400_000_000_000, days.index).iloc[10:]
    assert (ages[ages.index.day_of_week == 0] == 1).all()
    assert (ages[ages.index.day_of_week == 4] == 5).all() and (known[1:] > known[:-1]).all()


def test_the_bar_that_ends_a_slower_one_knows_it() -> None:
    hours = random_bars(600, freq="h", start="2024-01-01")
    joined = join(of(hours), {}, record(clocked(hours), slower(clocked(hours), "4h")))
    known = joined.ages[:, 0] == 0
    assert (hours.index[known].hour % 4 == 3).all() and known.sum() == 149  # without the first


CLOCKS = [
    # own interval, its clock, slower bars; the other's interval, bars, clock, words; of how many of
    # its bars one is missing
    ("D", {}, "3D", "D", 320, {}, "", 7),
    ("h", {"timezone": "UTC"}, "4h", "D", 72, {}, "15:30 Asia/Tokyo", 5),
    ("h", {"timezone": "UTC"}, "3h", "30min", 580, {"timezone": "UTC"}, "", 3),
    ("4h", {"timezone": "UTC", "stamp": "close"}, "1D", "h", 1100, {"timezone": "UTC"}, "", 11),
    ("30min", {}, "90min", "h", 190, {"stamp": "close"}, "", 2),
]


@pytest.mark.parametrize("clocks", CLOCKS, ids=str)
def test_bar_by_bar_gives_the_bits_of_all_at_once_and_no_later_bar_is_looked_at(clocks) -> None:
    freq, attrs, every, other_freq, count, other_attrs, words, missing = clocks
    own = random_bars(260, freq=freq, start="2024-03-06")
    # Sixty bars of it lie before the others.
    spy = random_bars(count, seed=1, freq=other_freq, start="2024-03-06")
    spy.index = spy.index - (spy.index[60] - spy.index[0])
    spy = spy[np.arange(count) % missing != 0]
    clock, others = clocked(own, **attrs), clocked(spy, words, **other_attrs)
    told = record(clock, other(others), slower(clock, every))
    whole = join(of(own), {"spy": of(spy)}, told)
    known, decided = others.known(of(spy).timestamps), clock.known(of(own).timestamps)
    buffer, given = ContextBuffer(told), 0
    for number, (timestamp, bar) in enumerate(zip(*of(own)[1::-1])):
        # As late as it may come: with the decision itself.
        while given < len(spy) and known[given] <= decided[number]:
            assert buffer.add("spy", int(of(spy).timestamps[given]), spy.iloc[given, :5].tolist())
            given += 1
        assert (bits(buffer.row(int(timestamp), bar)) == bits(whole.rows[number])).all()
        assert buffer.ages == tuple(whole.ages[number])
    assert np.isfinite(whole.rows[-100:]).all()
    # What is not complete at a decision may be anything.
    for cut in (120, 200, 259):
        poisoned = spy.copy()
        poisoned[known > decided[cut]] *= 3.0
        later = own.copy()
        later.iloc[cut + 1 :] *= 0.5
        again = join(of(later), {"spy": of(poisoned)}, told)
        assert (bits(again.rows[: cut + 1]) == bits(whole.rows[: cut + 1])).all()


def test_a_bar_that_comes_after_its_decision_is_said_and_serves_the_next() -> None:
    own, spy = random_bars(150), random_bars(150, seed=1)
    told = record(clocked(own), other(clocked(spy)))
    buffer = ContextBuffer(told)
    on_time = [buffer.add("spy", int(stamp), bar) for bar, stamp in list(zip(*of(spy)[:2]))[:100]]
    for bar, stamp in list(zip(*of(own)[:2]))[:101]:
        buffer.row(int(stamp), bar)
    assert all(on_time) and buffer.ages[0] == 86_400_000_000_000
    assert not buffer.add("spy", int(of(spy).timestamps[100]), of(spy).values[100])
    buffer.row(int(of(own).timestamps[101]), of(own).values[101])
    assert buffer.ages[0] == 86_400_000_000_000  # that of the day before


def test_the_second_of_two_bars_of_one_timestamp_is_the_newest() -> None:
    own, spy = random_bars(60), random_bars(60, seed=1)
    told = record(clocked(own), other(clocked(spy)))
    again = spy.iloc[[-1]] * 1.1
    twice = pd.concat((spy, again))
    buffer, stamp = ContextBuffer(told), int(of(spy).timestamps[-1])
    for bar, timestamp in zip(*of(spy)[:2]):
        buffer.add("spy", int(timestamp), bar)
    before = buffer.row(stamp, of(own).values[-1])
    buffer.add("spy", stamp, of(again).values[0])
    after = buffer.row(stamp, of(own).values[-1])
    for row, bars in ((before, spy), (after, twice)):
        assert (bits(row) == bits(series_rows(*of(bars)[:2], FEW)[-1])).all()


@pytest.mark.parametrize("words", ["1X", "W", "0h", "12345h", "1 h"])
def test_slower_bars_of_no_length_are_refused(words: str) -> None:
    days = random_bars(30)
    with pytest.raises(FeatureError, match="must name slower bars as self:1W, self:2D, self:4h"):
        slower_bars(*of(days)[:2], clocked(days), words)


def test_every_stamp_and_interval_ends_after_it_began() -> None:
    for freq, stamp in product(("min", "h", "D", "W-FRI", "MS", "QS"), ("open", "close")):
        bars = random_bars(30, freq=freq)
        clock = clocked(bars, stamp=stamp)
        late = clock.ends(of(bars).timestamps) - of(bars).timestamps
        assert (late >= 0).all() and (late > 0).all() == (stamp == "open" or clock.dates)
