"""Labels of a user's own, as a file of theirs holds them."""

import pandas as pd

FILE = __file__


class Rise:
    """Whether the close is higher some bars later."""

    name = "rise"

    def __init__(self, bars: int = 5) -> None:
        self.bars = bars

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        later = bars["close"].shift(-self.bars)
        label = (later > bars["close"]).astype(float).where(later.notna())
        end = pd.Series(bars.index, bars.index).shift(-self.bars)
        return pd.DataFrame({"label": label, "end": end})


class First:
    """Whether the close rises by 2 % before it falls by 2 %, by positions."""

    name = "first"

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        closes = bars["close"].to_numpy()
        rows = []
        for start, price in enumerate(closes):
            moves = closes[start:] / price - 1
            ends = (abs(moves) >= 0.02).nonzero()[0]
            row = (float(moves[ends[0]] > 0), start + ends[0]) if len(ends) else (None, None)
            rows.append(row)
        return pd.DataFrame(rows, bars.index, ["label", "end"], dtype=float)


rise_3 = Rise(3)
