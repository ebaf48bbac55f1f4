"""A broker that settles positions whose instrument no longer trades."""

from collections.abc import Sequence

import backtrader as bt

from strategy_plugin.feeds import Feed


class SettlingBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """Backtrader's broker, which can also settle a position without a bar to fill on.

    An order on a data that has ended never fills in Backtrader, and closing on its last bar would
    take knowing that it is the last. `BookStrategy` asks for a settlement when its patience ends.

    Params:
      - all: those of Backtrader's BackBroker

    Example::

        cerebro.broker = SettlingBroker(cash=100_000)
    """

    def settle(self, owner: bt.Strategy, data: Feed, price: float) -> bt.Order | None:
        """Close a position at a price, now and without slippage.

        Cash, position, commission, interest and trade are booked as for any fill, and the strategy
        is notified; what still works on the data is cancelled.

        Parameters
        ----------
        owner
            The strategy that is notified.
        data
            Whose position it is.
        price
            Money a unit is settled at, from 0.

        Returns
        -------
        backtrader.Order or None
            Completed; None where nothing is held.
        """
        for working in [order for order in self.pending if order.data is data]:
            self.cancel(working)
        size = self.getposition(data).size
        if not size:
            return None
        kind = bt.SellOrder if size > 0 else bt.BuyOrder
        order = kind(owner=owner, data=data, size=abs(size), price=price)
        order.addinfo(settled=True)
        self._ocoize(order, None)
        order.submit(self)
        order.accept(self)
        # A settlement is no trade in the market: no volume limits it.
        filler, self.p.filler = self.p.filler, None
        self._execute(order, ago=0, price=price)
        self.p.filler = filler
        self._get_value()
        return order

    def _get_value(self, datas: Sequence[Feed] | None = None, lever: bool = False) -> float:
        # Backtrader also values what it holds nothing of, at the close of the data: one that is no
        # number, or a data that has not begun, would spoil the whole account.
        if datas is None:
            for data in [data for data, held in self.positions.items() if not held.size]:
                del self.positions[data]
        return float(super()._get_value(datas, lever))
