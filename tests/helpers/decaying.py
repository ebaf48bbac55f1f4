"""Lines of a live run whose model loses its edge."""

from collections.abc import Iterator
from typing import Any

import numpy as np

CHANGE, LAST = 2_000, 3_200  # the bar from which on the edge is gone, and the last one


def lines(
    edge: float, bars: int, seed: int, change: int = CHANGE, slip: float = 1.0, spread: float = 0.0
) -> Iterator[tuple[dict[str, Any], float, bool]]:
    """Lines of a run whose forecasts are right, until their edge is gone; and what came of each.

    edge: deviation of the forecasts' log odds. slip, spread: of a fill on each bar, basis points.
    """
    draw = np.random.default_rng(seed)
    said = 1 / (1 + np.exp(-draw.normal(0, edge, bars)))
    ups = draw.random(bars) < np.where(np.arange(bars) < change, said, 0.5)
    # The move decided at bar t is that from the open of t + 1 to the open of t + 2.
    opens = 100 * np.exp(np.cumsum(np.concatenate(([0, 0], np.where(ups, 0.001, -0.001)[:-2]))))
    costs = draw.normal(slip, spread, bars)
    for number in range(bars):
        price = opens[number] * (1 + costs[number] * 1e-4)
        line = {
            "bar": f"{number:06d}",
            "symbol": "SPY",
            "open": float(opens[number]),
            "close": float(opens[number]),
            "probability": float(said[number]),
            "order": "+1",
            "fills": [(1.0, float(price))],
        }
        yield line, float(said[number]), bool(ups[number])
