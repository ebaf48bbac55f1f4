"""What a venue asks of an order's size, for the live broker and for the backtest beside it."""

import math
from typing import Any

import backtrader as bt

from strategy_plugin.feeds import Feed

BASIS_POINT = 1e-4
ROUNDING = 1e-9  # of a lot: what arithmetic leaves of a whole one


def permitted_size(size: float, held: float, lot: float) -> float:
    """Return what is sent of an order of so many units, 0 where nothing is left.

    It is a whole number of lots, and closes a position before another one is opened: no venue
    turns a position around in one order.

    Examples
    --------
    >>> permitted_size(10.7, 0.0, 1.0), permitted_size(-25.0, 10.0, 1.0)
    (10.0, -10.0)
    """
    if held * size < 0 and abs(size) >= abs(held):
        return -held
    lots = math.floor(abs(size) / lot + ROUNDING)
    return math.copysign(lots * lot, size) if lots else 0.0


class LotBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """Backtrader's broker with a venue's lots: the backtest of what is traded live.

    Params:
      - lot: the smallest part of a unit
      - lots: the same by a data's name, where it is another one
    """

    params: Any = (("lot", 1.0), ("lots", {}))

    def buy(self, owner: object, data: Feed, size: float, *args: Any, **how: Any) -> Any:
        permitted = self._permitted(data, size)
        return super().buy(owner, data, permitted, *args, **how) if permitted else None

    def sell(self, owner: object, data: Feed, size: float, *args: Any, **how: Any) -> Any:
        permitted = self._permitted(data, -size)
        return super().sell(owner, data, -permitted, *args, **how) if permitted else None

    def _permitted(self, data: Feed, size: float) -> float:
        lot = self.p.lots.get(data._name, self.p.lot)
        return permitted_size(size, self.getposition(data).size, lot)
