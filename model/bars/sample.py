"""The bars that everything runs on when no file is given."""

from importlib.util import find_spec
from pathlib import Path

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
    spec = find_spec("arch")
    assert spec and spec.origin, "arch is installed with this package"
    # The file alone: importing arch, and the libraries that it imports, takes a second.
    file = Path(spec.origin).parent / "data" / "nasdaq" / "nasdaq.csv.gz"
    raw = pd.read_csv(file, index_col="Date", parse_dates=True)
    raw = raw.rename(columns=str.lower).rename_axis("date")
    bars = raw[["open", "high", "low", "close", "volume"]].astype("float64")
    bars.attrs = {"instrument": "nasdaq", "timezone": None, "stamp": "open", "flags": []}
    return check_bars(bars)
