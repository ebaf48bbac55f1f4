"""From single fills to round trips: what was opened, closed and earned."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

COLUMNS = (
    "direction",
    "decided_at",
    "opened_at",
    "closed_at",
    "bars",
    "size",
    "entry_price",
    "exit_price",
    "gross",
    "costs",
    "net",
    "return",
)


class Fill(NamedTuple):
    """An executed order. bar: position of the bar it was filled on. quote: the bar's open, the price before spread and slippage."""

    bar: int
    size: float
    price: float
    quote: float
    commission: float


def round_trips(fills: Sequence[Fill], stamps: pd.DatetimeIndex, last_price: float) -> pd.DataFrame:
    """Return one row per round trip, from a position's opening to its end, in the order of opening.

    gross: at the quoted prices; costs: commission, spread and slippage; net = gross - costs; return: net over what was put
    in. A trip that is still open has no closed_at and is valued at `last_price`.
    """
    rows = [_row(trip, left, stamps, last_price) for trip, left in _trips(fills)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _trips(fills: Sequence[Fill]) -> Iterator[tuple[list[Fill], float]]:
    """Cut the fills where the position passes zero, and yield each part with what is left open at its end.

    A fill that turns the position around is shared between two trips.
    """
    held, trip = 0.0, list[Fill]()
    for fill in fills:
        after = held + fill.size
        if held and after and (held > 0) != (after > 0):
            yield [*trip, _part(fill, -held)], 0.0
            held, trip, fill = 0.0, [], _part(fill, after)
        trip.append(fill)
        held = after
        if not held:
            yield trip, 0.0
            trip = []
    if trip:
        yield trip, held


def _part(fill: Fill, size: float) -> Fill:
    return fill._replace(size=size, commission=fill.commission * size / fill.size)


def _row(
    trip: Sequence[Fill], left: float, stamps: pd.DatetimeIndex, last_price: float
) -> dict[str, object]:
    entries = [fill for fill in trip if (fill.size > 0) == (trip[0].size > 0)]
    exits = [fill for fill in trip if (fill.size > 0) != (trip[0].size > 0)]
    size = sum(fill.size for fill in entries)
    gross = left * last_price - sum(fill.size * fill.quote for fill in trip)
    costs = sum(fill.commission + fill.size * (fill.price - fill.quote) for fill in trip)
    entry_price = sum(fill.size * fill.price for fill in entries) / size
    last = len(stamps) - 1 if left else exits[-1].bar
    return {
        "direction": "long" if size > 0 else "short",
        "decided_at": stamps[trip[0].bar - 1],
        "opened_at": stamps[trip[0].bar],
        "closed_at": pd.NaT if left else stamps[last],
        "bars": last - trip[0].bar,
        "size": abs(size),
        "entry_price": entry_price,
        "exit_price": _average(exits),
        "gross": gross,
        "costs": costs,
        "net": gross - costs,
        "return": (gross - costs) / abs(size * entry_price),
    }


def _average(fills: Sequence[Fill]) -> float:
    """Return the mean price of fills by size, NaN for none."""
    return (
        sum(fill.size * fill.price for fill in fills) / sum(fill.size for fill in fills)
        if fills
        else float("nan")
    )
