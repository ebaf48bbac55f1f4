"""Alpaca as a venue, by its own client alpaca-py: stocks and crypto, paper and live."""

import asyncio
import datetime as dt
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import requests
from pydantic import ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from strategy_plugin.live.venue import (
    DAY,
    LOOPBACK,
    MINUTE,
    AccountState,
    Asset,
    Clock,
    Holding,
    Listener,
    OrderKind,
    OrderRefused,
    OrderRequest,
    OrderState,
    OrderStatus,
    Session,
    Stream,
    VenueBar,
    VenueError,
    VenueUnreachable,
)

with warnings.catch_warnings():
    # alpaca-py 0.44 imports what websockets 17 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.common.exceptions import APIError
    from alpaca.common.rest import RESTClient
    from alpaca.data.enums import Adjustment, DataFeed
    from alpaca.data.historical.crypto import CryptoHistoricalDataClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.live.crypto import CryptoDataStream
    from alpaca.data.live.stock import StockDataStream
    from alpaca.data.models import Bar
    from alpaca.data.requests import CryptoBarsRequest, StockBarsRequest
    from alpaca.data.timeframe import TimeFrame
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import QueryOrderStatus, TimeInForce
    from alpaca.trading.models import Order
    from alpaca.trading.requests import (
        GetCalendarRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        StopOrderRequest,
        TrailingStopOrderRequest,
    )
    from alpaca.trading.stream import TradingStream

NEW_YORK = ZoneInfo("America/New_York")
SECONDS_TO_WAIT = (5.0, 15.0)  # for a connection, for an answer: the client itself waits for ever
TRIES = 4
FRACTION = 1e-9  # of a share, the smallest part that is traded of one that is divided at all
MOST_ORDERS = 500  # in one answer
# All others are at work: new, accepted, held, pending_cancel, ...
ENDS: Mapping[str, OrderStatus] = {
    "partially_filled": "partial",
    "filled": "filled",
    "canceled": "canceled",
    "replaced": "canceled",
    "expired": "expired",
    "done_for_day": "expired",
    "rejected": "rejected",
}
Told = Callable[[Stream, bool], None]


class AlpacaVenue:
    """Alpaca's REST endpoints and streams behind the store's interface.

    Parameters
    ----------
    key, secret
        Of the account; they go into requests and nowhere else.
    paper
        Whether the account is one of paper money.
    feed
        Where prices of stocks come from: "iex", or "sip", which needs a subscription.
    url
        Another address than Alpaca's own, for one server that answers all: http on this machine
        alone, else https. None for Alpaca's.
    reconnect
        Seconds before a stream that broke is tried again, at first.
    """

    name = "alpaca"

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        paper: bool = True,
        feed: str = "iex",
        url: str | None = None,
        reconnect: float = 1.0,
    ) -> None:
        rest, stream = _addresses(url)
        self.waited = 0.0
        self._trading = TradingClient(key, secret, paper=paper, url_override=rest)
        self._stocks = StockHistoricalDataClient(key, secret, url_override=rest)
        self._crypto = CryptoHistoricalDataClient(key, secret, url_override=rest)
        for client in (self._trading, self._stocks, self._crypto):
            _make_patient(client)
            # Proxies of the environment lead away from this machine.
            client._session.trust_env = rest is None or urlsplit(rest).hostname not in LOOPBACK
        self._feed = DataFeed(feed)
        self._open: Callable[[Sequence[str], Listener], None] = self._streams_of(
            key, secret, paper, stream, reconnect
        )
        self._streams: list[Any] = []
        # They would print each lost connection with a traceback, and each second try of a request.
        logging.getLogger("alpaca").setLevel(logging.CRITICAL)
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def asset(self, symbol: str) -> Asset:
        found = self._asked(lambda: self._trading.get_asset(symbol), f"the asset {symbol}")
        is_crypto = found.asset_class.value == "crypto"
        lot = found.min_trade_increment or (FRACTION if found.fractionable else 1.0)
        return Asset(symbol, found.tradable, found.shortable, lot, is_crypto)

    def account(self) -> AccountState:
        found = self._asked(self._trading.get_account, "the account")
        blocks = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
        return AccountState(
            number=found.account_number,
            cash=float(found.cash or 0.0),
            equity=float(found.equity or 0.0),
            buying_power=float(found.buying_power or 0.0),
            blocked=", ".join(name for name in blocks if getattr(found, name)),
        )

    def positions(self) -> Sequence[Holding]:
        found = self._asked(self._trading.get_all_positions, "the positions")
        return [
            Holding(
                each.symbol,
                abs(float(each.qty)) * (-1 if each.side.value == "short" else 1),
                float(each.avg_entry_price),
                float(each.market_value or 0.0),
            )
            for each in found
        ]

    def open_orders(self) -> Sequence[OrderState]:
        asked = GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=MOST_ORDERS)
        found = self._asked(lambda: self._trading.get_orders(asked), "the open orders")
        return [_state_of(each) for each in found]

    def order(self, client_order_id: str) -> OrderState | None:
        try:
            found = self._asked(
                lambda: self._trading.get_order_by_client_id(client_order_id), client_order_id
            )
        except OrderRefused as error:
            if error.status == 404:
                return None
            raise
        return _state_of(found)

    def submit(self, request: OrderRequest) -> OrderState:
        """Send an order; the venue takes each `client_order_id` once, so a second try does no harm.

        Only an order that is not found is sent again.
        """
        for attempt in range(TRIES):
            try:
                sent = self._asked(
                    lambda: self._trading.submit_order(_order_data(request)),
                    f"the order {request.client_order_id}",
                )
                return _state_of(sent)
            except OrderRefused as error:
                # A repeated id is one that was taken: by a try before, or by an earlier run.
                known = self.order(request.client_order_id)
                if known is None:
                    raise error
                return known
            except VenueUnreachable:
                known = self.order(request.client_order_id)
                if known is not None:
                    return known
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("a loop over tries ends in one of them")

    def cancel(self, state: OrderState) -> None:
        self._asked(
            lambda: self._trading.cancel_order_by_id(state.venue_id),
            f"the end of {state.client_order_id}",
        )

    def clock(self) -> Clock:
        found = self._asked(self._trading.get_clock, "the clock")
        times = (found.timestamp, found.next_open, found.next_close)
        now, opens, closes = (when.astimezone(dt.UTC) for when in times)
        return Clock(now, found.is_open, opens, closes)

    def sessions(self, first: dt.date, last: dt.date) -> Sequence[Session]:
        asked = GetCalendarRequest(start=first, end=last)
        found = self._asked(lambda: self._trading.get_calendar(asked), "the calendar")
        return [
            Session(
                each.date,
                each.open.replace(tzinfo=NEW_YORK).astimezone(dt.UTC),
                each.close.replace(tzinfo=NEW_YORK).astimezone(dt.UTC),
            )
            for each in found
        ]

    def prices(self, symbol: str) -> str:
        return f"{self.name} crypto" if "/" in symbol else f"{self.name} {self._feed.value} raw"

    def bars(
        self, symbol: str, interval: dt.timedelta, start: dt.datetime, end: dt.datetime
    ) -> Sequence[VenueBar]:
        if interval not in (MINUTE, DAY):
            raise ValueError(f"`interval` must be a minute or a day, got {interval}.")
        frame: Any = TimeFrame.Minute if interval == MINUTE else TimeFrame.Day
        span = {"symbol_or_symbols": symbol, "timeframe": frame, "start": start, "end": end}
        if "/" in symbol:
            crypto = CryptoBarsRequest(**span)
            found = self._asked(lambda: self._crypto.get_crypto_bars(crypto), "the bars")
        else:
            # As they were traded: an adjusted history would not go with the stream.
            stock = StockBarsRequest(**span, adjustment=Adjustment.RAW, feed=self._feed)
            found = self._asked(lambda: self._stocks.get_stock_bars(stock), "the bars")
        return [_bar_of(each) for each in found.data.get(symbol, [])]

    def open_streams(self, bars_of: Sequence[str], listener: Listener) -> None:
        self._open(bars_of, listener)

    def close(self) -> None:
        for stream in self._streams:
            loop = stream._loop
            if loop is not None and loop.is_running():
                asyncio.run_coroutine_threadsafe(_end(stream), loop)

    def _streams_of(
        self, key: str, secret: str, paper: bool, url: str | None, reconnect: float
    ) -> Callable[[Sequence[str], Listener], None]:
        """Return what opens the streams: the keys stay within it."""

        def open_streams(bars_of: Sequence[str], listener: Listener) -> None:
            def run(stream: Any) -> None:
                stream.told, stream._reconnect_min_backoff = listener.on_connection, reconnect
                self._streams.append(stream)
                threading.Thread(target=stream.run, daemon=True, name=stream.told_as).start()

            def run_bars(stream: Any, symbols: Sequence[str]) -> None:
                stream.subscribe_bars(on_bar, *symbols)
                stream.subscribe_updated_bars(on_corrected, *symbols)
                run(stream)

            async def on_bar(bar: Any) -> None:
                listener.on_bar(_bar_of(bar), False)

            async def on_corrected(bar: Any) -> None:
                listener.on_bar(_bar_of(bar), True)

            async def on_update(update: Any) -> None:
                listener.on_order(_state_of(update.order))

            end = f"{url}/stream" if url else None
            updates = _Updates(key, secret, paper=paper, url_override=end)  # type: ignore[arg-type]
            updates.subscribe_trade_updates(on_update)
            run(updates)
            stocks = [symbol for symbol in bars_of if "/" not in symbol]
            pairs = [symbol for symbol in bars_of if "/" in symbol]
            if stocks:
                end = f"{url}/v2/{self._feed.value}" if url else None
                run_bars(_StockBars(key, secret, feed=self._feed, url_override=end), stocks)
            if pairs:
                end = f"{url}/v1beta3/crypto/us" if url else None
                run_bars(_CryptoBars(key, secret, url_override=end), pairs)

        return open_streams

    def _asked(self, ask: Callable[[], Any], what: str) -> Any:
        """Return an answer of the client; its faults become ours, without a word of its headers."""
        start = perf_counter()
        try:
            return ask()
        except requests.RequestException as error:
            kind = type(error).__name__
            raise VenueUnreachable(f"{self.name} gave no answer on {what} ({kind}).") from None
        except ValidationError as error:
            raise VenueError(
                f"{self.name} answered on {what} what its client does not understand: "
                f"{error.errors()[0]['msg']}."
            ) from None
        except APIError as error:
            status = error.status_code or 0
            if status == 401 or (status == 403 and what == "the account"):
                raise VenueError(
                    f"{self.name} refuses these keys ({status}). Set APCA_API_KEY_ID and "
                    "APCA_API_SECRET_KEY to those of the account, paper or live as asked for."
                ) from None
            if status == 429 or status >= 500:
                raise VenueUnreachable(f"{self.name} answered {status} on {what}.") from None
            reason = _reason(error)
            raise OrderRefused(
                f"{self.name} refuses {what}: {reason} ({status}).",
                status=status,
                short_of_money="buying power" in reason,
            ) from None
        finally:
            self.waited += perf_counter() - start


connect = AlpacaVenue


class _Retries(Retry):
    """Tries again what can do no harm: any request but an order's, and whatever was too many."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return status_code == 429 or super().is_retry(method, status_code, has_retry_after)


class _Patience(HTTPAdapter):
    """Waits so long for an answer and no longer."""

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        return super().send(request, *args, **options | {"timeout": SECONDS_TO_WAIT})


def _make_patient(client: RESTClient) -> None:
    # The client itself would send an order again whose answer was lost.
    client._retry = 0
    retries = _Retries(
        total=TRIES,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "DELETE"),
        backoff_factor=0.1,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _Patience(max_retries=retries))


class _Telling:
    """What a stream of Alpaca's client is mixed with: it tells when it is there and when it broke.

    The client itself connects again and again without a word.
    """

    told: Told
    told_as: Stream
    opening: tuple[str, str]  # what the message says by which the stream is there

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        key, word = self.opening
        if msg.get(key) == word:
            self.told(self.told_as, True)
        await super()._dispatch(msg)  # type: ignore[misc]  # the client's

    async def close(self) -> None:
        if self._ws:  # type: ignore[attr-defined]
            self.told(self.told_as, False)
        await super().close()  # type: ignore[misc]


class _Updates(_Telling, TradingStream):
    told_as, opening = "updates", ("stream", "listening")


class _StockBars(_Telling, StockDataStream):
    told_as, opening = "bars", ("T", "subscription")


class _CryptoBars(_Telling, CryptoDataStream):
    told_as, opening = "bars", ("T", "subscription")


async def _end(stream: Any) -> None:
    await stream.stop_ws()
    await stream.close()  # else it would wait five seconds for one more message


def _addresses(url: str | None) -> tuple[str | None, str | None]:
    """Return the addresses of requests and of streams; ValueError for one that is unsafe."""
    if url is None:
        return None, None
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or not parts.netloc:
        raise ValueError(
            f"`url` must be https, or http on this machine, got {url}: keys would be readable on "
            "the way."
        )
    url = url.rstrip("/")
    return url, "ws" + url.removeprefix("http")


def _order_data(request: OrderRequest) -> Any:
    crypto = "/" in request.symbol
    common = {
        "symbol": request.symbol,
        "qty": abs(request.size),
        "side": "buy" if request.size > 0 else "sell",
        "time_in_force": TimeInForce.GTC if crypto or request.kind != "market" else TimeInForce.DAY,
        "client_order_id": request.client_order_id,
    }
    kinds: Mapping[OrderKind, Callable[[], Any]] = {
        "market": lambda: MarketOrderRequest(**common),
        "limit": lambda: LimitOrderRequest(**common, limit_price=request.limit),
        "stop": lambda: StopOrderRequest(**common, stop_price=request.stop),
        "trailing_stop": lambda: TrailingStopOrderRequest(**common, trail_price=request.trail),
    }
    return kinds[request.kind]()


def _state_of(order: Order) -> OrderState:
    sign = -1 if order.side is not None and order.side.value == "sell" else 1
    return OrderState(
        order.client_order_id,
        str(order.id),
        order.symbol or "",
        sign * float(order.qty or 0.0),
        sign * float(order.filled_qty or 0.0),
        float(order.filled_avg_price or 0.0),
        ENDS.get(order.status.value, "open"),
    )


def _bar_of(bar: Bar) -> VenueBar:
    return VenueBar(
        bar.symbol,
        bar.timestamp.astimezone(dt.UTC),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
    )


def _reason(error: APIError) -> str:
    try:
        return str(error.message)
    except (ValueError, KeyError):
        return "no reason given"
