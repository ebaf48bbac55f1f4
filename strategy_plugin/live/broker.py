"""The broker: the venue's account as Backtrader sees it, with orders that are sent once.

The venue is the truth: cash and positions are read from it at the start, after every fill and when
a stream comes back. What an order has become is asked for by its id before the next decision.
"""

import datetime as dt
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any

import backtrader as bt

from strategy_plugin.feeds import Feed
from strategy_plugin.journal import Terms
from strategy_plugin.live.limits import Limits, Watchman
from strategy_plugin.live.rules import permitted_size
from strategy_plugin.live.store import LOG, LiveStore
from strategy_plugin.live.venue import (
    Holding,
    OrderKind,
    OrderRefused,
    OrderRequest,
    OrderState,
    VenueError,
    VenueUnreachable,
    without_slash,
)

KINDS: dict[int, OrderKind] = {
    bt.Order.Market: "market",
    bt.Order.Limit: "limit",
    bt.Order.Stop: "stop",
    bt.Order.StopTrail: "trailing_stop",
}
MOST_LETTERS = 20  # of a strategy's name in an id, of which the venue takes 128


class LiveBroker(bt.BrokerBase):  # type: ignore[misc]
    """The account at a venue.

    Params:
      - store: the LiveStore
      - tag: the strategy's name in the ids of its orders: orders of another tag are left alone
      - watchman: what holds orders against limits
      - dry_run: send nothing; each order is cancelled where it would be sent
      - slip_perc: what an order at the market is expected to pay beside the quote, as a fraction
    """

    params = (
        ("store", None),
        ("tag", "bilstm"),
        ("watchman", None),
        ("dry_run", False),
        ("slip_perc", 0.0),
    )

    cuts_to_lots = True

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.store: LiveStore = self.p.store
        self.watchman: Watchman = self.p.watchman or Watchman(Limits())
        self.tag = re.sub(r"[^A-Za-z0-9]+", "", self.p.tag)[:MOST_LETTERS]
        self.would: list[str] = []  # what a dry run did not send
        self.cash = self.startingcash = self.startingvalue = 0.0
        self._positions: dict[str, bt.Position] = {}
        self._others = 0.0  # money in what other strategies hold
        self._datas: dict[str, Feed] = {}
        self._orders: dict[str, bt.Order] = {}  # at work, by client_order_id
        self._left: dict[str, OrderState] = {}  # what an earlier run of this tag left at work
        self._kept: dict[str, str] = {}  # of these the one of the newest bar, by symbol
        self._notifications: deque[bt.Order] = deque()
        self._n_bars = 0

    @property
    def terms(self) -> Terms:
        """What a backtest of the same is to trade by."""
        return {
            "lots": {symbol: asset.lot for symbol, asset in self.store.assets.items()},
            "commission": float(self.comminfo[None].p.commission),
            "slippage": float(self.p.slip_perc),
        }

    def start(self) -> None:
        super().start()
        self.store.start()
        self.read_account()
        for state in self.store.venue.open_orders():
            if state.client_order_id.startswith(f"{self.tag}-"):
                self._left[state.client_order_id] = state
            else:
                LOG.warning(
                    "an order of another hand works at %s and is left alone: %s, %+g %s",
                    self.store.venue.name,
                    state.client_order_id,
                    state.size,
                    state.symbol,
                )
        self.startingcash, self.startingvalue = self.cash, self.getvalue()

    def read_account(self) -> None:
        """Read cash and positions from the venue."""
        account = self.store.venue.account()
        ours = {without_slash(symbol): symbol for symbol in self.store.assets}
        self.cash, self._others = account.cash, 0.0
        held: dict[str, Holding] = {}
        for one in self.store.venue.positions():
            symbol = ours.get(without_slash(one.symbol))
            if symbol is None:
                self._others += one.value
            else:
                held[symbol] = one
        for symbol in self.store.assets:
            found = held.get(symbol)
            position = self._positions.setdefault(symbol, bt.Position())
            position.set(found.size if found else 0.0, found.price if found else 0.0)

    def getcash(self) -> float:
        return self.cash

    get_cash = getcash

    def getvalue(self, datas: object = None) -> float:
        """Return the money that the account is worth at the newest closes."""
        value = self.cash + self._others
        for symbol, position in self._positions.items():
            data = self._datas.get(symbol)
            if position.size:
                price = data.close[0] if data is not None and len(data) else position.price
                value += position.size * price
        return value

    get_value = getvalue

    def getposition(self, data: Feed, clone: bool = True) -> bt.Position:
        symbol = str(data.p.dataname)
        self._datas[symbol] = data
        position = self._positions.setdefault(symbol, bt.Position())
        return position.clone() if clone else position

    def get_notification(self) -> bt.Order | None:
        return self._notifications.popleft() if self._notifications else None

    def buy(self, owner: object, data: Feed, size: float, **how: Any) -> bt.Order | None:
        return self._send(bt.order.BuyOrder, owner, data, size, **how)

    def sell(self, owner: object, data: Feed, size: float, **how: Any) -> bt.Order | None:
        return self._send(bt.order.SellOrder, owner, data, -size, **how)

    def _send(
        self,
        kind: type,
        owner: object,
        data: Feed,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        exectype: int | None = None,
        trailamount: float | None = None,
        oco: object = None,
        **how: Any,
    ) -> bt.Order | None:
        """Send an order; None where the venue's lots leave nothing of it.

        An order that would turn a position around closes it only: the next bar opens the other.
        """
        exectype = bt.Order.Market if exectype is None else exectype
        if exectype not in KINDS or oco is not None:
            raise ValueError(
                "a live order must be at the market, a limit, a stop or a trailing stop by itself; "
                "one that cancels another is not sent. Give `stop_loss` or `trailing` alone."
            )
        symbol = str(data.p.dataname)
        self._datas[symbol] = data
        held = self.getposition(data).size
        size = permitted_size(size, held, self.store.assets[symbol].lot)
        if not size:
            return None
        order = kind(
            owner=owner,
            data=data,
            size=abs(size),
            price=price,
            pricelimit=plimit,
            exectype=exectype,
            trailamount=trailamount,
        )
        order.addcomminfo(self.getcommissioninfo(data))
        order.addinfo(**how)
        request = OrderRequest(
            self.id_of(data, KINDS[exectype], size),
            symbol,
            size,
            KINDS[exectype],
            limit=price if exectype == bt.Order.Limit else None,
            stop=price if exectype == bt.Order.Stop else None,
            trail=trailamount,
        )
        order.submit(self)
        self._notify(order)
        self._submit(order, request, held)
        return order

    def id_of(self, data: Feed, kind: OrderKind, size: float) -> str:
        """Return the id of an order: a function of strategy, symbol, bar and intent."""
        return "-".join(
            (
                self.tag,
                without_slash(str(data.p.dataname)),
                f"{bt.num2date(data.datetime[0]):%Y%m%dT%H%M%S}",
                kind,
                "buy" if size > 0 else "sell",
            )
        )

    def _submit(self, order: bt.Order, request: OrderRequest, held: float) -> None:
        price = float(order.data.close[0])
        reason = self.watchman.permit(
            self.store.now(),
            money=abs(request.size) * price,
            position=abs(held + request.size) * price,
            opens=held * request.size >= 0,
        )
        if reason:
            LOG.error("%s is not sent: %s. A person is needed", request.client_order_id, reason)
            self._end(order, order.reject)
            return
        if self.p.dry_run:
            self.would.append(f"{request.size:+g} {request.symbol}, {request.kind}")
            self._end(order, order.cancel)
            return
        self._orders[request.client_order_id] = order
        order.addinfo(client_order_id=request.client_order_id)
        try:
            self._take(self.store.venue.submit(request))
        except OrderRefused as error:
            del self._orders[request.client_order_id]
            LOG.warning("%s", error)
            self._end(order, order.margin if error.short_of_money else order.reject)
        except VenueUnreachable as error:
            # It may have been taken or not: it is asked for before the next decision.
            LOG.warning("%s It is looked up by its id.", error)

    def cancel(self, order: bt.Order) -> None:
        name, venue = order.info.get("client_order_id"), self.store.venue
        if name not in self._orders:
            return
        try:
            state = venue.order(name)
            if state is not None and state.alive:
                with suppress(OrderRefused):  # it was filled meanwhile
                    venue.cancel(state)
                state = venue.order(name)
        except VenueUnreachable as error:
            LOG.warning("%s It is cancelled again on the next bar.", error)
            return
        if state is not None:
            self._take(state)

    def next(self) -> None:
        """Take what became of orders; before a decision all that work are asked for."""
        again = False
        while True:
            try:
                state = self.store.orders.get_nowait()
            except Empty:
                break
            if state is None:
                again = True
            else:
                self._take(state)
        n_bars = sum(len(data) for data in self._datas.values())
        if n_bars > self._n_bars or again:
            self._n_bars = n_bars
            for name in list(self._orders):
                self._look_up(name)
        if again:
            self._unless_unreachable(self.read_account)

    def _look_up(self, name: str) -> None:
        try:
            state = self.store.venue.order(name)
        except VenueError as error:
            LOG.warning("%s It is asked for again on the next bar.", error)
            return
        if state is not None:
            self._take(state)
        elif name in self._orders:
            order = self._orders.pop(name)
            LOG.warning("%s never reached %s", name, self.store.venue.name)
            self._end(order, order.reject)

    def settle(self, symbol: str, bar: dt.datetime) -> None:
        """Settle what an earlier run left, before the first live bar of a symbol.

        An order that was sent on this very bar is kept: the decision is made again, finds it by
        its id and takes it over. Any other waited for a bar that has come and gone: it is
        cancelled, and decided anew.
        """
        for name, state in list(self._left.items()):
            if without_slash(state.symbol) != without_slash(symbol):
                continue
            if f"-{bar:%Y%m%dT%H%M%S}-" in name:
                self._kept[symbol] = name
                LOG.info("an order of an earlier run works on this bar: %s", name)
            else:
                LOG.warning("an order of an earlier run is cancelled: %s", name)
                self._withdraw(state)
            del self._left[name]
        self._unless_unreachable(self.read_account)

    def end_of_turn(self, symbol: str) -> None:
        """Cancel what an earlier run sent on the newest bar and this one did not decide again."""
        name = self._kept.get(symbol)
        if name is None:
            return
        try:
            state = None if name in self._orders else self.store.venue.order(name)
            if state is not None and state.alive:
                LOG.warning("an order of an earlier run is not decided again, cancelled: %s", name)
                self._withdraw(state)
        except VenueUnreachable as error:
            LOG.warning("%s It is looked for again.", error)
            return
        del self._kept[symbol]

    def _withdraw(self, state: OrderState) -> None:
        try:
            self.store.venue.cancel(state)
        except OrderRefused as error:
            LOG.info("%s", error)  # it has ended meanwhile; the account is read next
        self._unless_unreachable(self.read_account)

    def _take(self, state: OrderState) -> None:
        """Bring an order to the state that the venue knows; the same state twice does nothing."""
        order = self._orders.get(state.client_order_id)
        if order is None:
            return
        filled = state.filled - order.executed.size
        if abs(filled) > 1e-12:
            self._execute(order, filled, state)
        before = order.status
        ends: dict[str, Callable[[], object]] = {
            "open": order.accept,
            "partial": order.partial,
            "filled": order.completed,
            "canceled": order.cancel,
            "expired": lambda: setattr(order, "status", bt.Order.Expired),
            "rejected": order.reject,
        }
        if state.status != "open" or order.status == bt.Order.Submitted:
            ends[state.status]()
        if not order.alive():
            del self._orders[state.client_order_id]
        if order.status != before or abs(filled) > 1e-12:
            self._notify(order)

    def _execute(self, order: bt.Order, size: float, state: OrderState) -> None:
        """Book a part that was filled; the account then is read from the venue."""
        data, comminfo = order.data, order.comminfo
        done, position = order.executed, self.getposition(order.data, clone=False)
        price = (state.price * state.filled - done.price * done.size) / size
        before = position.price
        psize, pprice, opened, closed = position.update(size, price)
        order.execute(
            data.datetime[0],
            size,
            price,
            closed,
            comminfo.getvaluesize(-closed, before) if closed else 0.0,
            comminfo.getcommission(closed, price) if closed else 0.0,
            opened,
            comminfo.getvaluesize(opened, price) if opened else 0.0,
            comminfo.getcommission(opened, price) if opened else 0.0,
            comminfo.margin,
            comminfo.profitandloss(-closed, before, price) if closed else 0.0,
            psize,
            pprice,
        )
        self._unless_unreachable(self.read_account)

    def _unless_unreachable(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except VenueUnreachable as error:
            LOG.warning("%s The figures are those known before.", error)

    def _end(self, order: bt.Order, end: Callable[[], object]) -> None:
        end()
        self._notify(order)

    def _notify(self, order: bt.Order) -> None:
        self._notifications.append(order.clone())
