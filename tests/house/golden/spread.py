"""A feature of a user's own, of the day on which format-5.ckpt was written.

The checkpoint holds the digest of this file: a change of it is warned of, and warnings are errors.
"""

import pandas as pd


class Spread:
    """The range of some bars against their volume's usual size."""

    name = "spread"

    def __init__(self, bars: int = 12, power: float = 0.5) -> None:
        self.bars, self.power = bars, power

    @property
    def lookback(self) -> int:
        return self.bars

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        span = bars["high"].rolling(self.bars).max() / bars["low"].rolling(self.bars).min() - 1
        size = (bars["volume"] / bars["volume"].rolling(self.bars).mean()) ** self.power
        return pd.DataFrame({"span": span, "span_by_volume": span / size})
