"""The exchange's records as Alpaca's API spells them, in JSON and in msgpack."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from uuid import uuid5

import pandas as pd

from backtests.exchange_box.market import Bar, Session, is_crypto
from backtests.exchange_box.matching import (
    MULTIPLIER,
    Fill,
    Holding,
    Listing,
    Order,
    TradingAccount,
)

ACCOUNT_NUMBER = "PA0BOX0BOX0"
Record = dict[str, Any]


def time_of(when: pd.Timestamp | None) -> str | None:
    return None if when is None else when.tz_convert("UTC").isoformat().replace("+00:00", "Z")


# Alpaca writes numbers as text, so that no client's floats round them.
def account_record(account: TradingAccount, number: str) -> Record:
    value, cash = repr(account.value()), repr(account.cash)
    return {
        "id": Listing(number).id,
        "account_number": number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "buying_power": repr(account.buying_power()),
        "cash": cash,
        "portfolio_value": value,
        "equity": value,
        "multiplier": str(MULTIPLIER),
        "shorting_enabled": any(one.shortable for one in account.listings.values()),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
    }


def asset_record(listing: Listing) -> Record:
    return {
        "id": listing.id,
        "class": "crypto" if listing.crypto else "us_equity",
        "exchange": "CRYPTO" if listing.crypto else "ARCA",
        "symbol": listing.symbol,
        "name": listing.symbol,
        "status": "active",
        "tradable": listing.tradable,
        "marginable": False,
        "shortable": listing.shortable,
        "easy_to_borrow": listing.shortable,
        "fractionable": listing.lot < 1,
        # Of stocks the real exchange states no increment: those that are divided have nine places.
        "min_trade_increment": repr(listing.lot) if listing.crypto else None,
        "min_order_size": repr(listing.lot) if listing.crypto else None,
    }


def position_record(symbol: str, held: Holding, price: float) -> Record:
    return {
        "asset_id": Listing(symbol).id,
        "symbol": symbol,
        "exchange": "CRYPTO" if is_crypto(symbol) else "ARCA",
        "asset_class": "crypto" if is_crypto(symbol) else "us_equity",
        "avg_entry_price": repr(held.price),
        "qty": repr(held.size),
        "qty_available": repr(held.size),
        "side": "long" if held.size > 0 else "short",
        "market_value": repr(held.size * price),
        "cost_basis": repr(held.size * held.price),
        "current_price": repr(price),
    }


def order_record(order: Order) -> Record:
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": time_of(order.submitted),
        "updated_at": time_of(order.ended or order.submitted),
        "submitted_at": time_of(order.submitted),
        "filled_at": time_of(order.ended) if order.status == "filled" else None,
        "expired_at": time_of(order.ended) if order.status == "expired" else None,
        "canceled_at": time_of(order.ended) if order.status == "canceled" else None,
        "failed_at": time_of(order.ended) if order.status == "rejected" else None,
        "asset_id": Listing(order.symbol).id,
        "symbol": order.symbol,
        "asset_class": "crypto" if is_crypto(order.symbol) else "us_equity",
        "qty": repr(order.size),
        "filled_qty": repr(order.filled),
        "filled_avg_price": repr(order.price) if order.filled else None,
        "order_class": "",
        "order_type": order.kind,
        "type": order.kind,
        "side": order.side,
        "time_in_force": order.in_force,
        "limit_price": None if order.limit is None else repr(order.limit),
        "stop_price": None if order.stop is None else repr(order.stop),
        "trail_price": None if order.trail is None else repr(order.trail),
        "status": order.status,
        "extended_hours": False,
    }


def update_record(event: str, order: Order, now: pd.Timestamp, fill: Fill | None = None) -> Record:
    data: Record = {"event": event, "order": order_record(order), "timestamp": time_of(now)}
    if fill is not None:
        # Of the order and what is filled of it: the same fill has the same id at every run.
        execution = uuid5(uuid5(Listing(order.symbol).uuid, order.id), repr(order.filled))
        data |= {
            "execution_id": str(execution),
            "price": repr(fill.price),
            "qty": repr(fill.size),
        }
    return {"stream": "trade_updates", "data": data}


def clock_record(now: pd.Timestamp, session: tuple[bool, pd.Timestamp, pd.Timestamp]) -> Record:
    is_open, opens, closes = session
    return {
        "timestamp": time_of(now),
        "is_open": is_open,
        "next_open": time_of(opens),
        "next_close": time_of(closes),
    }


def session_record(session: Session) -> Record:
    return {
        "date": session.date.isoformat(),
        "open": f"{session.opens:%H:%M}",
        "close": f"{session.closes:%H:%M}",
    }


def bar_record(bar: Bar) -> Record:
    # Trades are not known here: the typical price stands for their weighted mean.
    mean = (bar.high + bar.low + bar.close) / 3
    return {
        "t": time_of(bar.label),
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "n": 1,
        "vw": mean,
    }


def streamed_bar(kind: str, symbol: str, bar: Bar) -> Record:
    # In msgpack a time is a time, in JSON a text.
    label: dt.datetime = bar.label.to_pydatetime()
    return {"T": kind, "S": symbol, **bar_record(bar), "t": label}


def submitted(asked: Mapping[str, Any], number: str, now: pd.Timestamp) -> Order:
    """Return the order that a request asks for.

    Raises KeyError, TypeError or ValueError for one that is none.
    """

    def price(name: str) -> float | None:
        return None if asked.get(name) is None else float(asked[name])

    kind = asked["type"]
    if kind not in ("market", "limit", "stop", "trailing_stop") or asked["side"] not in (
        "buy",
        "sell",
    ):
        raise ValueError(f"{kind} {asked['side']}")
    return Order(
        id=number,
        client_order_id=str(asked.get("client_order_id") or number),
        symbol=str(asked["symbol"]),
        side=asked["side"],
        size=float(asked["qty"]),
        kind=kind,
        in_force=str(asked["time_in_force"]),
        submitted=now,
        limit=price("limit_price"),
        stop=price("stop_price"),
        trail=price("trail_price"),
    )
