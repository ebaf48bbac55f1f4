"""The bars that everything runs on when no file is given."""

import arch.data.nasdaq
import pandas as pd

from model.bars.read import check_bars


def sample_bars() -> pd.DataFrame:
    """Return the NASDAQ Composite, daily, 1999 to 2018.

    5,031 bars that come with the package `arch`.

    Raw prices, not the adjusted close; an index, so nothing to trade as such. Two bars have volume
    0.
    """
    raw = arch.data.nasdaq.load().rename(columns=str.lower).rename_axis("date")
    bars = raw[["open", "high", "low", "close", "volume"]].astype("float64")
    bars.attrs = {"instrument": "nasdaq", "timezone": None, "stamp": "open"}
    return check_bars(bars)
