"""The bars that everything runs on when no file is given."""

import pandas as pd

from model.bars.read import check_bars


def sample_bars() -> pd.DataFrame:
    """Return the NASDAQ Composite, daily, from 1999 to 2018, which comes with the package `arch`.

    Prices are raw, not adjusted, and an index cannot be traded as such. Two bars have volume 0.

    Returns
    -------
    DataFrame of shape (5031, 5)
        Bars as `read_bars` returns them: open, high, low and close in index points, volume in
        shares, over the dates of the sessions.

    Examples
    --------
    >>> sample_bars().index[[0, -1]].strftime("%Y-%m-%d").tolist()
    ['1999-01-04', '2018-12-31']
    """
    # Here, as arch takes half a second, and most bars come from a file.
    from arch.data import nasdaq

    raw = nasdaq.load().rename(columns=str.lower).rename_axis("date")
    bars = raw[["open", "high", "low", "close", "volume"]].astype("float64")
    bars.attrs = {"instrument": "nasdaq", "timezone": None, "stamp": "open", "flags": []}
    return check_bars(bars)
