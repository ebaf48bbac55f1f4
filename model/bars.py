"""What a bar is: the one door for files and DataFrames, and the invariants every bar satisfies."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
ROUNDING = 1e-6  # relative: float32 and adjusted prices put a high this far below the close


class BarsError(ValueError):
    """Bars that cannot be used; the message lists every kind of problem."""

    exit_code = 3


class BarsWarning(UserWarning):
    """Bars that were repaired or look suspicious; the message says what was done."""


def read_bars(
    source: str | Path | pd.DataFrame,
    *,
    instrument: str | None = None,
    timezone: str | None = None,
    stamp: str = "open",
    columns: Mapping[str, str] | None = None,
    ticker: str | None = None,
    date_format: str | None = None,
    adjust: bool = False,
    on_missing: str = "error",
    minimum_bars: int | None = None,
) -> pd.DataFrame:
    """Return the bars of a CSV file, a Parquet file or a DataFrame."""
    frame = source.copy() if isinstance(source, pd.DataFrame) else _table(Path(source))
    frame.columns = pd.Index([str(name).strip().lower() for name in frame.columns])
    if "date" in frame.columns:
        frame = frame.set_index("date")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.index), name="date")
    missing = [name for name in PRICES if name not in frame.columns]
    if missing:
        raise BarsError(f"{source} has no {', '.join(missing)} column (found: {', '.join(frame.columns)})")
    if "volume" not in frame.columns:
        frame["volume"] = 0.0
    bars = check_bars(frame[list(COLUMNS)].astype("float64"))
    bars.attrs = {"instrument": instrument, "timezone": timezone, "stamp": stamp}
    return bars


def _table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).reset_index() if path.suffix == ".parquet" else pd.read_csv(path)


def check_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars if they satisfy every invariant, else raise BarsError."""
    faults = []
    values = bars[list(COLUMNS)].to_numpy()
    for name, wrong in {
        "stamps must increase": np.r_[False, np.diff(bars.index.asi8) <= 0],
        "prices must be finite and above 0": ~(np.isfinite(values[:, :4]) & (values[:, :4] > 0)).all(axis=1),
        "high must be at or above open, low and close": values[:, 1] < values[:, :4].max(axis=1) * (1 - ROUNDING),
        "low must be at or below open, high and close": values[:, 2] > values[:, :4].min(axis=1) * (1 + ROUNDING),
        "volume must be finite and at least 0": ~(np.isfinite(values[:, 4]) & (values[:, 4] >= 0)),
    }.items():
        if wrong.any():
            faults.append(f"{name}: {wrong.sum()} bars (first {bars.index[wrong.argmax()]})")
    if faults:
        raise BarsError("; ".join(faults))
    return bars


def bar_faults(open: float, high: float, low: float, close: float, volume: float) -> tuple[str, ...]:
    """Return what is wrong with one bar; nothing is the empty tuple."""
    prices = (open, high, low, close)
    if not all(np.isfinite(price) and price > 0 for price in prices):
        return ("prices must be finite and above 0",)
    rules = {
        "high must be at or above open, low and close": high < max(prices) * (1 - ROUNDING),
        "low must be at or below open, high and close": low > min(prices) * (1 + ROUNDING),
        "volume must be finite and at least 0": not (np.isfinite(volume) and volume >= 0),
    }
    return tuple(rule for rule, broken in rules.items() if broken)


def require_bars(bars: pd.DataFrame, needed: int, why: str) -> None:
    """Raise BarsError unless there are as many bars as needed."""
    if len(bars) < needed:
        name = bars.attrs.get("source") or "the data"
        raise BarsError(f"{name} has {len(bars)} bars; at least {needed} are needed ({why})")


def bar_interval(index: pd.DatetimeIndex) -> pd.Timedelta:
    """Return the usual spacing of the stamps."""
    spacing = pd.Series(index[1:] - index[:-1])
    return pd.Timedelta(spacing.mode().min())


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """Return how many bars a year of this market has."""
    interval = bar_interval(index)
    days = 365.0 if (index.dayofweek >= 5).mean() > 0.2 else 252.0
    if interval >= pd.Timedelta(days=6):
        return float(round(pd.Timedelta(days=365.25) / interval))
    if interval >= pd.Timedelta(days=1):
        return days
    return days * float(pd.Series(index.normalize()).value_counts().median())


def digest_bars(bars: pd.DataFrame) -> str:
    """Return the sha256 of stamps and values, in hex."""
    digest = hashlib.sha256(np.ascontiguousarray(bars.index.as_unit("ns").asi8).tobytes())
    digest.update(np.ascontiguousarray(bars[list(COLUMNS)].to_numpy(dtype="float64")).tobytes())
    return digest.hexdigest()
