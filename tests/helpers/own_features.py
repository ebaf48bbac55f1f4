"""Features of a user's own, as a file of theirs holds them."""

import pandas as pd

FILE = __file__
# A feature that has no number between two dates.
GAP = """
import numpy as np

class Gap:
    name, lookback = "{name}", 1

    def transform(self, bars):
        lacks = (bars.index >= "{first}") & (bars.index <= "{last}")
        return bars[["close"]].assign(gap=np.where(lacks, np.nan, 0.0))[["gap"]]
"""


class Momentum:
    """The return of some bars, and how the volume stands to its mean."""

    name = "momentum"

    def __init__(self, bars: int = 20) -> None:
        self.bars = bars

    @property
    def lookback(self) -> int:
        return self.bars + 1

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        volume = bars["volume"]
        return pd.DataFrame(
            {
                "momentum": bars["close"].pct_change(self.bars),
                "volume_score": volume / volume.rolling(self.bars).mean() - 1,
            }
        )


class Wave:
    """An exponential mean of the returns, which looks further back than ours."""

    name, lookback = "wave", 160

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        returns = bars["close"].pct_change()
        return pd.DataFrame({"wave": returns.ewm(span=8).mean() / returns.rolling(50).std()})


class RowByRow:
    """A value that is computed for each bar by itself."""

    name, lookback, exact = "row_by_row", 10, True

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"place": bars["close"].rank(pct=True)})


momentum_5 = Momentum(5)
