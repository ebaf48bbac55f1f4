"""Bars of random walks, clean ones and such as fake an edge, each by a fault from the field."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.signal import lfilter

Bars = pd.DataFrame
USUAL = 1_500


def clean(
    seed: int,
    n: int = USUAL,
    freq: str = "B",
    *,
    clusters: bool = True,
    tails: float = 5.0,
    gap: float = 0.3,
    tick: float = 0.0,
    volume: str = "size",
    still: float = 0.0,
) -> Bars:
    """A random walk with bars cut from finer steps.

    gap: size of the move over night beside that of the day. tick: to which prices are rounded.
    volume: "size" (more on wide bars), "noise", "none" or "trend". still: share of steps without a
    move.
    """
    draw = np.random.default_rng(seed)
    log_volatility = lfilter([1], [1, -0.95], draw.normal(0, 0.12 if clusters else 0.0, n))
    volatility = 0.01 * np.exp(log_volatility)
    steps = draw.standard_t(tails, (n, 20)) / np.sqrt(tails / (tails - 2)) / np.sqrt(20)
    steps *= draw.random((n, 20)) >= still
    overnight = gap * volatility * draw.standard_t(tails, n) / np.sqrt(tails / (tails - 2))
    path = np.cumsum(np.column_stack((overnight, volatility[:, None] * steps)).ravel())
    prices = 100 * np.exp(path.reshape(n, 21))
    if tick:
        prices = np.maximum(np.round(prices / tick), 1) * tick
    spread = np.log(prices.max(axis=1) / prices.min(axis=1))
    traded = {
        "size": 1e6 * np.exp(60 * spread + draw.normal(0, 0.3, n)),
        "noise": 1e6 * np.exp(draw.normal(0, 0.5, n)),
        "none": np.zeros(n),
        "trend": 1e6 * np.exp(np.arange(n) / n + draw.normal(0, 0.2, n)),
    }[volume]
    frame = {
        "open": prices[:, 0],
        "high": prices.max(axis=1),
        "low": prices.min(axis=1),
        "close": prices[:, -1],
        "volume": np.round(traded),
    }
    return pd.DataFrame(frame, index=pd.date_range("2010-01-04", periods=n, freq=freq, name="date"))


def repaired(bars: Bars) -> Bars:
    """High and low moved so that they hold open and close, as exporters do."""
    high = bars[["open", "high", "low", "close"]].max(axis=1)
    low = bars[["open", "high", "low", "close"]].min(axis=1)
    return bars.assign(high=high, low=low)


def heikin_ashi(bars: Bars) -> Bars:
    close = bars[["open", "high", "low", "close"]].mean(axis=1)
    opens, last = [], float((bars["open"].iloc[0] + bars["close"].iloc[0]) / 2)
    for one in close:
        opens.append(last)
        last = (last + one) / 2
    return repaired(bars.assign(open=opens, close=close))


def heikin_ashi_rounded(bars: Bars) -> Bars:
    return repaired(heikin_ashi(bars).round(2))


def filled_forward(bars: Bars) -> Bars:
    daily = pd.date_range(bars.index[0], bars.index[-1], freq="D", name="date")
    return bars.reindex(daily).ffill()


def filled_forward_without_volume(bars: Bars) -> Bars:
    return filled_forward(bars.assign(volume=0.0))


def prices_filled_forward(bars: Bars) -> Bars:
    """Prices of weekends filled forward, their volumes with 0."""
    daily = pd.date_range(bars.index[0], bars.index[-1], freq="D", name="date")
    return bars.reindex(daily).fillna({"volume": 0.0}).ffill()


def prices_filled_back(bars: Bars) -> Bars:
    daily = pd.date_range(bars.index[0], bars.index[-1], freq="D", name="date")
    return bars.reindex(daily).fillna({"volume": 0.0}).bfill()


def a_page_twice(bars: Bars) -> Bars:
    """A download whose pages overlap, put under dates that go on."""
    values = bars.to_numpy().copy()
    values[700:760] = values[600:660]
    return pd.DataFrame(values, bars.index, bars.columns)


def interpolated_weekends(bars: Bars) -> Bars:
    daily = pd.date_range(bars.index[0], bars.index[-1], freq="D", name="date")
    return bars.reindex(daily).interpolate()


def interpolated_days(bars: Bars) -> Bars:
    holes = np.random.default_rng(1).random(len(bars)) < 0.15
    holes[[0, -1]] = False
    return bars.mask(holes[:, None] & np.ones((1, 5), dtype=bool)).interpolate()


def copies_a_second_later(bars: Bars) -> Bars:
    later = bars.iloc[::3].copy()
    later.index = later.index + pd.Timedelta(seconds=1)
    return pd.concat([bars, later]).sort_index()


def corrected_a_second_later(bars: Bars) -> Bars:
    later = bars.iloc[::3] * 1.0001
    later.index = later.index + pd.Timedelta(seconds=1)
    return pd.concat([bars, later]).sort_index()


def open_a_row_late(bars: Bars) -> Bars:
    return repaired(bars.assign(open=bars["open"].shift(1))).iloc[1:]


def open_of_the_close_two_before(bars: Bars) -> Bars:
    return repaired(bars.assign(open=bars["close"].shift(2))).iloc[2:]


def trailing_ticker(bars: Bars) -> Bars:
    """Rows of the last four bars, taken at each: the open is three bars old."""
    trailing = bars.rolling(4)
    return pd.DataFrame(
        {
            "open": bars["open"].shift(3),
            "high": trailing["high"].max(),
            "low": trailing["low"].min(),
            "close": bars["close"],
            "volume": trailing["volume"].sum(),
        }
    ).iloc[3:]


def close_after_the_next_open(bars: Bars) -> Bars:
    """Bars off by part of their length: the close lies after the open that follows."""
    ahead = np.sqrt(bars["close"] * bars["close"].shift(-1))
    return repaired(bars.assign(close=ahead)).iloc[:-1]


def bounce(bars: Bars) -> Bars:
    """Bid and ask by turns, 50 basis points apart, the open on the side of the last trade."""
    side = np.random.default_rng(2).choice([-1.0, 1.0], len(bars) + 1) * 25e-4
    small = (bars / bars.iloc[0]) ** 0.2 * bars.iloc[0]
    return repaired(
        small.assign(
            close=small["close"] * (1 + side[1:]),
            open=small["close"].shift(1).fillna(small["open"]) * (1 + side[:-1] * 0.2),
            volume=bars["volume"],
        )
    )


def centred_median(bars: Bars) -> Bars:
    smooth = bars[["open", "high", "low", "close"]].rolling(3, center=True).median()
    return repaired(smooth.assign(volume=bars["volume"])).iloc[1:-1]


def centred_mean(bars: Bars) -> Bars:
    smooth = bars[["open", "high", "low", "close"]].rolling(5, center=True).mean()
    return repaired(smooth.assign(volume=bars["volume"])).iloc[2:-2]


def one_average_a_bar(bars: Bars) -> Bars:
    price = bars[["open", "high", "low", "close"]].mean(axis=1)
    before = price.shift(1).fillna(price.iloc[0])
    return repaired(bars.assign(open=before, high=price, low=price, close=price))


def closes_alone(bars: Bars) -> Bars:
    return bars.assign(open=bars["close"], high=bars["close"], low=bars["close"])


def reaching_highs_and_lows(bars: Bars) -> Bars:
    return bars.assign(
        high=np.maximum(bars["high"], bars["high"].shift(-1)),
        low=np.minimum(bars["low"], bars["low"].shift(-1)),
    ).iloc[:-1]


def volume_a_row_early(bars: Bars) -> Bars:
    return bars.assign(volume=bars["volume"].shift(-1)).iloc[:-1]


def renko(bars: Bars) -> Bars:
    """Bricks of one size, at the times of the bars."""
    up = np.random.default_rng(3).random(len(bars)) < 0.5
    close = 100 + np.cumsum(np.where(up, 0.5, -0.5)) * 0.2
    before = np.r_[100.0, close[:-1]]
    return repaired(bars.assign(open=before, close=close, high=close, low=close))


def range_bars(bars: Bars) -> Bars:
    middle = (bars["high"] + bars["low"]) / 2
    half = 0.75
    inside = bars[["open", "close"]].clip(middle - half, middle + half, axis=0)
    return inside.assign(high=middle + half, low=middle - half, volume=bars["volume"])[
        list(bars)
    ].round(2)


def wide_spread_at_one_hour(bars: Bars) -> Bars:
    """Hourly bids, whose spread widens at 21 o'clock."""
    hourly = bars.set_axis(
        pd.date_range("2015-01-01", periods=len(bars), freq="h", name="date"), axis=0
    )
    quiet = (hourly / hourly.iloc[0]) ** 0.1 * hourly.iloc[0]
    wide = hourly.index.hour == 21
    opened = quiet["open"] * np.where(wide, 1 - 20e-4, 1.0)
    return repaired(quiet.assign(open=opened, volume=bars["volume"].to_numpy()))


def distribution_unadjusted(bars: Bars) -> Bars:
    """A payment of half a per cent on each month's first bar, which the open falls by."""
    quiet = (bars / bars.iloc[0]) ** 0.2 * bars.iloc[0]
    first = np.r_[False, bars.index.month[1:] != bars.index.month[:-1]]
    return repaired(
        (quiet.mul(np.exp(-0.005 * np.cumsum(first)), axis=0)).assign(volume=bars["volume"])
    )


Artefact = Callable[[Bars], Bars]
# The flag that each is told by.
ARTEFACTS: dict[Artefact, str] = {
    heikin_ashi: "heikin-ashi",
    heikin_ashi_rounded: "heikin-ashi",
    filled_forward: "repeats",
    filled_forward_without_volume: "repeats",
    prices_filled_forward: "repeats",
    prices_filled_back: "repeats",
    a_page_twice: "repeats",
    interpolated_weekends: "repeats",
    interpolated_days: "repeats",
    copies_a_second_later: "repeats",
    corrected_a_second_later: "crowded",
    open_a_row_late: "gaps",
    open_of_the_close_two_before: "gaps",
    trailing_ticker: "gaps",
    close_after_the_next_open: "gaps",
    bounce: "gaps",
    centred_median: "smoothed",
    centred_mean: "smoothed",
    one_average_a_bar: "no-wicks",
    closes_alone: "no-wicks",
    reaching_highs_and_lows: "wicks",
    volume_a_row_early: "volume-ahead",
    renko: "one-size",
    range_bars: "one-size",
    wide_spread_at_one_hour: "clock",
    distribution_unadjusted: "clock",
}

# Kinds of clean walks, none of which may be told by anything.
CLEAN: dict[str, dict[str, object]] = {
    "plain": {},
    "calm": {"clusters": False, "tails": 30.0},
    "fat tails": {"tails": 3.0},
    "no gaps": {"gap": 0.0},
    "wide gaps": {"gap": 1.0},
    "cents": {"tick": 0.01},
    "eighths": {"tick": 0.125},
    "coarse ticks": {"tick": 0.5},
    "no volume": {"volume": "none"},
    "volume of noise": {"volume": "noise"},
    "volume with a trend": {"volume": "trend"},
    "many standstills": {"still": 0.8, "tick": 0.01},
    "hours": {"freq": "h"},
    "minutes": {"freq": "min"},
    "few": {"n": 260},
}
