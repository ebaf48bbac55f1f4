"""The server of the exchange in a box: REST and websockets as Alpaca's clients ask for them.

In lockstep time stands still until a client that listens to trade updates asks for the clock: then
the next open fills, its trade updates go out, and its bar; the answer is the time of its close.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from uuid import NAMESPACE_OID, uuid5

import msgpack
import pandas as pd
from aiohttp import WSMsgType, web

from backtests.exchange_box.faults import FaultPlan
from backtests.exchange_box.market import Bar, Market, Step
from backtests.exchange_box.matching import Fill, Order, Refusal, TradingAccount
from backtests.exchange_box.wire import (
    Record,
    account_record,
    asset_record,
    bar_record,
    clock_record,
    order_record,
    position_record,
    session_record,
    streamed_bar,
    submitted,
    update_record,
)
from model.errors import OutputError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PAGE = 10_000
UNITS = (("Day", "1D"), ("Hour", "1h"), ("Min", "1min"))


def timeframe_of(interval: pd.Timedelta) -> str:
    """Return an interval as Alpaca's API spells it: 1Day, 1Hour, 5Min."""
    for name, unit in UNITS:
        amount = interval / pd.Timedelta(unit)
        if amount >= 1 and amount.is_integer():
            return f"{int(amount)}{name}"
    return str(interval)


class Exchange:
    """A market, one account and those who are connected.

    Parameters
    ----------
    speed
        How many seconds of the market pass in one; None for lockstep.
    keys
        The key and the secret that are let in.
    """

    def __init__(
        self,
        market: Market,
        account: TradingAccount,
        *,
        number: str,
        keys: tuple[str, str],
        speed: float | None = None,
        faults: FaultPlan | None = None,
    ) -> None:
        self.market, self.account, self.number = market, account, number
        self.faults = faults or FaultPlan()
        self._keys, self._speed = keys, speed
        self._step = market.first_live  # the next that begins
        self._now = market.steps[self._step - 1].ends
        self._started = 0.0  # of the loop's time, where time runs
        self._bars: dict[web.WebSocketResponse, set[str]] = {}
        self._updates: set[web.WebSocketResponse] = set()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: list[Record] = []  # of a bar that comes once more after the next one
        self._n_orders = 0
        # History has traded: positions are worth its last closes before the first live bar.
        for step in market.steps[: self._step]:
            account.last |= {symbol: bar.close for symbol, bar in step.bars.items()}

    @property
    def live_bar(self) -> int:
        """The number of the newest live bar, from 1; 0 before the first."""
        return self._step - self.market.first_live

    @property
    def ended(self) -> bool:
        return self._step >= len(self.market.steps)

    def now(self) -> pd.Timestamp:
        if self._speed is None or not self._started:
            return self._now
        passed = asyncio.get_running_loop().time() - self._started
        return self._now + pd.Timedelta(seconds=passed * self._speed)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/v2/account", self._get_account),
                web.get("/v2/assets/{symbol:.+}", self._get_asset),
                web.get("/v2/positions", self._get_positions),
                web.get("/v2/orders", self._get_orders),
                web.post("/v2/orders", self._post_order),
                web.get("/v2/orders:by_client_order_id", self._get_by_client_order_id),
                web.get("/v2/orders/{id}", self._get_order),
                web.delete("/v2/orders/{id}", self._delete_order),
                web.get("/v2/clock", self._get_clock),
                web.get("/v2/calendar", self._get_calendar),
                web.get("/v2/stocks/bars", self._get_bars),
                web.get("/v1beta3/crypto/us/bars", self._get_bars),
                web.get("/stream", self._stream_updates),
                web.get("/v2/iex", self._stream_bars),
                web.get("/v2/sip", self._stream_bars),
                web.get("/v1beta3/crypto/us", self._stream_bars),
            ]
        )
        if self._speed is not None:
            app.on_startup.append(self._start_clock)
        app.on_shutdown.append(self._hang_up)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who has the keys, play the faults of requests, and spell refusals."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await handler(request)
        given = tuple(request.headers.get(f"APCA-API-{name}") for name in ("KEY-ID", "SECRET-KEY"))
        # As at Alpaca: before anything of the request is looked at.
        if given != self._keys:
            return _refused(Refusal(401, 40110000, "request is not authorized"))
        place = f"{request.method} {request.path}"
        if fault := self.faults.take("status", self.live_bar, place):
            headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
            message = {"code": fault.status * 100_000, "message": "the fault script says so"}
            return web.json_response(message, status=fault.status, headers=headers)
        if self.faults.take("cut request", self.live_bar, place):
            return _cut(request)
        try:
            return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except ConnectionError:  # whoever asked is gone
            return _cut(request)

    async def _get_account(self, request: web.Request) -> web.Response:
        return web.json_response(account_record(self.account, self.number))

    async def _get_asset(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self.account.listings:
            raise Refusal(404, 40410000, f"asset not found for {symbol}")
        return web.json_response(asset_record(self.account.listings[symbol]))

    async def _get_positions(self, request: web.Request) -> web.Response:
        account = self.account
        return web.json_response(
            [
                position_record(symbol, held, account.last[symbol])
                for symbol, held in account.holdings.items()
            ]
        )

    async def _get_orders(self, request: web.Request) -> web.Response:
        status = request.query.get("status", "open")
        found = [
            order
            for order in self.account.orders.values()
            if status == "all" or order.is_open == (status == "open")
        ]
        limit = int(request.query.get("limit", 50))
        newest = found if request.query.get("direction") == "asc" else found[::-1]
        return web.json_response([order_record(order) for order in newest[:limit]])

    async def _get_by_client_order_id(self, request: web.Request) -> web.Response:
        name = request.query.get("client_order_id", "")
        if name not in self.account.orders:
            raise Refusal(404, 40410000, f"order not found for {name}")
        return web.json_response(order_record(self.account.orders[name]))

    async def _get_order(self, request: web.Request) -> web.Response:
        return web.json_response(order_record(self.account.order(request.match_info["id"])))

    async def _post_order(self, request: web.Request) -> web.StreamResponse:
        if self.faults.take("reject order", self.live_bar):
            raise Refusal(403, 40310000, "trade denied: the fault script says so")
        self._n_orders += 1
        # Of the account and the count, so that the same run has the same ids.
        number = str(uuid5(NAMESPACE_OID, f"{self.number} {self._n_orders}"))
        try:
            order = submitted(await request.json(), number, self.now())
        except (KeyError, TypeError, ValueError) as error:
            raise Refusal(422, 42210000, f"no order that is known here: {error}") from None
        self.account.submit(order)
        await self._tell(update_record("new", order, self.now()))
        # The order stands, and whoever sent it does not know: he must find it by his own id.
        if self.faults.take("lose answer", self.live_bar):
            return _cut(request)
        return web.json_response(order_record(order))

    async def _delete_order(self, request: web.Request) -> web.Response:
        order = self.account.order(request.match_info["id"])
        self.account.cancel(order, self.now())
        await self._tell(update_record("canceled", order, self.now()))
        return web.Response(status=204)

    async def _get_clock(self, request: web.Request) -> web.Response:
        # Not before the client listens: fills that nobody is told of would be lost.
        if self._speed is None and self._updates:
            await self._advance()
        now = self.now()
        return web.json_response(clock_record(now, self.market.session_at(now)))

    async def _get_calendar(self, request: web.Request) -> web.Response:
        first, last = request.query.get("start", ""), request.query.get("end", "9999")
        sessions = [
            one for one in self.market.sessions if first <= one.date.isoformat() <= last[:10]
        ]
        return web.json_response([session_record(one) for one in sessions])

    async def _get_bars(self, request: web.Request) -> web.Response:
        asked, native = request.query.get("timeframe"), timeframe_of(self.market.interval)
        # Alpaca would make bars of any length of its trades; here there are none.
        if asked != native:
            raise Refusal(400, 40010001, f"bars of {asked} are not here, only those of {native}")
        symbols = request.query["symbols"].split(",")
        limit = min(int(request.query.get("limit", PAGE)), PAGE)
        found: dict[str, list[Record]] = {symbol: [] for symbol in symbols}
        following: str | None = None
        first = int(request.query.get("page_token", 0))
        for place, symbol, bar in self._history(request, symbols):
            if place >= first:
                # A page ends between two steps, and holds one at the least, or it would never end.
                if sum(map(len, found.values())) >= limit and place > first:
                    following = str(place)
                    break
                found[symbol].append(bar_record(bar))
        return web.json_response({"bars": found, "next_page_token": following})

    def _history(self, request: web.Request, symbols: list[str]) -> Iterator[tuple[int, str, Bar]]:
        """Yield the bars that are known now; a day that is not over shows its open alone."""
        start = _utc(request.query.get("start", "1970-01-01"))
        end = _utc(request.query.get("end", "2200-01-01"))
        steps = list(self.market.steps[: self._step])
        if self.market.daily and not self.ended:
            # Alpaca's history shows the day that still trades: whoever takes it for whole looks
            # ahead.
            growing = self.market.steps[self._step]
            if growing.opens <= self.now():
                bars = {
                    symbol: Bar(bar.label, bar.open, bar.open, bar.open, bar.open, 0.0)
                    for symbol, bar in growing.bars.items()
                }
                steps.append(replace(growing, bars=bars))
        for place, step in enumerate(steps):
            for symbol, bar in step.bars.items():
                if symbol in symbols and start <= bar.label <= end:
                    yield place, symbol, bar

    async def _stream_updates(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                asked = json.loads(message.data)
                if asked["action"] == "authenticate":
                    data = asked["data"]
                    is_known = (data.get("key_id"), data.get("secret_key")) == self._keys
                    status = "authorized" if is_known else "unauthorized"
                    answer = {"action": "authenticate", "status": status}
                    await _send_json(socket, {"stream": "authorization", "data": answer})
                    # Alpaca hangs up on a wrong key.
                    if not is_known:
                        break
                elif asked["action"] == "listen":
                    await _send_json(socket, {"stream": "listening", "data": asked["data"]})
                    self._updates.add(socket)
        finally:
            self._updates.discard(socket)
        return socket

    async def _stream_bars(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await _send(socket, [{"T": "success", "msg": "connected"}])
        known = False
        try:
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                asked = msgpack.unpackb(message.data)
                if asked["action"] == "auth":
                    known = (asked.get("key"), asked.get("secret")) == self._keys
                    error = {"T": "error", "code": 402, "msg": "auth failed"}
                    await _send(
                        socket, [{"T": "success", "msg": "authenticated"} if known else error]
                    )
                elif asked["action"] == "subscribe" and known:
                    self._bars[socket] = set(asked.get("bars", ()))
                    told = {name: asked.get(name, []) for name in ("bars", "updatedBars")}
                    await _send(socket, [{"T": "subscription", **told}])
        finally:
            self._bars.pop(socket, None)
        return socket

    async def _advance(self) -> None:
        """Let one step pass, in lockstep."""
        # Two requests at once must not play the same step twice.
        async with self._turn:
            if not self.ended:
                step = self.market.steps[self._step]
                self._step += 1
                await self._open(step)
                self._now = step.ends
                await self._close(step)

    async def _run_clock(self) -> None:
        assert self._speed is not None
        self._started = asyncio.get_running_loop().time()
        while not self.ended:
            step = self.market.steps[self._step]
            await self._until(step.opens)
            await self._open(step)
            await self._until(step.ends)
            self._step += 1
            await self._close(step)

    async def _until(self, when: pd.Timestamp) -> None:
        assert self._speed is not None
        left = (when - self.now()).total_seconds() / self._speed
        await asyncio.sleep(max(0.0, left))

    async def _start_clock(self, app: web.Application) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._run_clock()))

    async def _open(self, step: Step) -> None:
        """Fill what works at an open, and tell of it."""
        # In lockstep the step is counted before it is played, on a clock after it.
        account, bar = self.account, self.live_bar + (self._speed is not None)
        if self.faults.take("cut updates", bar):
            await _close_all(self._updates)
        # Orders for a day end with its session, before the next one opens.
        sessions = [one for one in self.market.sessions if one.closes <= step.opens]
        if sessions:
            for order in account.expire(sessions[-1].closes, step.opens):
                await self._tell(update_record("expired", order, step.opens))
        account.halted = bool(account.open_orders() and self.faults.take("halt", bar))
        for symbol, one in step.bars.items():
            if account.open_orders(symbol) and self.faults.take("reject fill", bar):
                for order in account.open_orders(symbol):
                    order.status, order.ended = "rejected", step.opens
                    await self._tell(update_record("rejected", order, step.opens))
            part = self.faults.take("part fill", bar) if account.open_orders(symbol) else None
            share = part.share if part else 1.0
            for done in list(account.fill_at_open(symbol, one.open, step.opens, share)):
                await self._tell_of(done, step.opens)

    async def _close(self, step: Step) -> None:
        """Fill what a bar reaches, and send it."""
        for symbol, bar in step.bars.items():
            for done in list(self.account.fill_within(symbol, bar, step.ends)):
                await self._tell_of(done, step.ends)
            self.account.last[symbol] = bar.close
        if self.market.daily:
            return  # whoever trades by days asks the history once the close is past
        number = self.live_bar
        if self.faults.take("cut stream", number):
            await _close_all(self._bars)
        sent = [streamed_bar("b", symbol, bar) for symbol, bar in step.bars.items()]
        # What came late comes after the bar that follows it.
        late, self._late = self._late, []
        if self.faults.take("miss bar", number):
            sent = []
        if self.faults.take("repeat bar", number):
            sent = [*sent, *sent]
        if self.faults.take("late bar", number):
            self._late = sent
        if fault := self.faults.take("correct bar", number):
            sent += [
                streamed_bar("u", symbol, bar._replace(volume=bar.volume * (1 + fault.share)))
                for symbol, bar in step.bars.items()
            ]
        for socket, symbols in list(self._bars.items()):
            records = [record for record in sent + late if record["S"] in symbols]
            if records:
                await _send(socket, records)

    async def _tell_of(self, done: Fill | Order, now: pd.Timestamp) -> None:
        if isinstance(done, Order):
            await self._tell(update_record("rejected", done, now))
            return
        event = "fill" if done.order.status == "filled" else "partial_fill"
        await self._tell(update_record(event, done.order, now, done))

    async def _tell(self, record: Record) -> None:
        for socket in list(self._updates):
            await _send_json(socket, record)

    async def _hang_up(self, app: web.Application) -> None:
        await _close_all([*self._updates, *self._bars])


async def listen(box: Exchange, host: str, port: int) -> web.AppRunner:
    """Begin to serve; OutputError where the port is taken."""
    application = box.application()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise OutputError(
            f"`port` must be free, got {port}: {error.strerror}. Give another one."
        ) from None
    return runner


def _utc(text: str) -> pd.Timestamp:
    when = pd.Timestamp(text)
    return when.tz_localize("UTC") if when.tzinfo is None else when.tz_convert("UTC")


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response({"code": refusal.code, "message": str(refusal)}, status=refusal.status)


def _cut(request: web.Request) -> web.Response:
    """Cut the connection: what is answered into it, nobody reads."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send(socket: web.WebSocketResponse, records: list[Record]) -> None:
    await _send_bytes(socket, msgpack.packb(records, datetime=True))


async def _send_json(socket: web.WebSocketResponse, record: Record) -> None:
    await _send_bytes(socket, json.dumps(record).encode())


async def _send_bytes(socket: web.WebSocketResponse, data: bytes) -> None:
    # A client may go at any moment, also while it is written to.
    if not socket.closed:
        try:
            await socket.send_bytes(data)
        except ConnectionError:
            await socket.close()


async def _close_all(sockets: Iterable[web.WebSocketResponse]) -> None:
    for socket in list(sockets):  # they leave the set while they close
        await socket.close()
