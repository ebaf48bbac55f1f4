"""Stop loss, take profit and trailing stop: from the words of a parameter to a distance in price."""

import math
from collections import deque
from typing import NamedTuple

ATR_BARS = 14
UNITS = ("%", "atr")


class Distance(NamedTuple):
    """How far from the entry: percent of its price, or average true ranges."""

    amount: float
    unit: str

    def of(self, price: float, atr: float) -> float:
        """Return the distance in price."""
        return self.amount * (price / 100 if self.unit == "%" else atr)


class Stops(NamedTuple):
    """The protection of a position; None where there is none."""

    stop_loss: Distance | None = None
    take_profit: Distance | None = None
    trailing: Distance | None = None


class AverageTrueRange:
    """The mean of the last true ranges; nan until there are enough of them."""

    def __init__(self) -> None:
        self._ranges: deque[float] = deque(maxlen=ATR_BARS)
        self._close = math.nan

    @property
    def value(self) -> float:
        return math.fsum(self._ranges) / ATR_BARS if len(self._ranges) == ATR_BARS else math.nan

    def update(self, high: float, low: float, close: float) -> None:
        """Take the next bar; the first one has no close before it and so no true range."""
        if not math.isnan(self._close):
            self._ranges.append(max(high, self._close) - min(low, self._close))
        self._close = close


def stops(stop_loss: str = "", take_profit: str = "", trailing: str = "") -> Stops:
    """Return the protection that the parameters ask for, each "" or like "3%" or "2atr". Raises ValueError for other words."""
    if stop_loss and trailing:
        raise ValueError(
            f"`stop_loss` and `trailing` must not both be given, got {stop_loss!r} and {trailing!r}. "
            "A trailing stop starts as a stop loss of the same distance."
        )
    for name, text in (("stop_loss", stop_loss), ("trailing", trailing)):
        if (found := _distance(name, text)) and found.unit == "%" and found.amount >= 100:
            raise ValueError(
                f"`{name}` must be less than 100%, got {text!r}: no price lies below 0."
            )
    return Stops(
        _distance("stop_loss", stop_loss),
        _distance("take_profit", take_profit),
        _distance("trailing", trailing),
    )


def _distance(name: str, text: str) -> Distance | None:
    if not text:
        return None
    for unit in UNITS:
        number = text.removesuffix(unit).strip()
        if text.endswith(unit) and _is_positive(number):
            return Distance(float(number), unit)
    raise ValueError(
        f"`{name}` must be a number above 0 with its unit, like '3%' or '2atr', got {text!r}."
    )


def _is_positive(number: str) -> bool:
    try:
        return 0 < float(number) < float("inf")
    except ValueError:
        return False
