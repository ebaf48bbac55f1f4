"""What there is before anything is traded: account, holdings, models, and what they would do."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from model.bars.intervals import day, spoken
from model.checkpoint.schedule import Schedule
from strategy_plugin.decision import target, thresholds
from strategy_plugin.live.connecting import listed
from strategy_plugin.live.limits import Limits
from strategy_plugin.live.sessions import finished_bars
from strategy_plugin.live.store import LiveStore
from strategy_plugin.live.venue import without_slash
from strategy_plugin.orders import direction

if TYPE_CHECKING:
    from strategy_plugin.trade import Ranks, Trading


def report(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    trading: "Trading",
    ranks: "Ranks",
    limits: Limits,
) -> dict[str, str]:
    """Return what there is before anything is done, in words by name."""
    venue = store.venue
    account, clock, holdings = venue.account(), store.ask_clock(), venue.positions()
    held = {without_slash(one.symbol): direction(one.size) for one in holdings}
    # The newest of each: it is the one that would decide now.
    models = {one.file(one.checkpoints[-1]): one.checkpoints[-1] for one in schedules.values()}
    now = pd.Timestamp(clock.now).tz_localize(None)
    return {
        "account": f"{account.number}, {'REAL MONEY' if trading.live else 'paper'}"
        f"{', dry run: nothing is sent' if trading.dry_run else ''}",
        "money": f"cash {account.cash:,.2f}, equity {account.equity:,.2f}, "
        f"buying power {account.buying_power:,.2f}",
        "holds": listed(f"{one.size:+g} {one.symbol} at {one.price:g}" for one in holdings),
        "open orders": listed(
            f"{one.size:+g} {one.symbol} ({one.client_order_id})" for one in venue.open_orders()
        ),
        "trades": listed(
            f"{symbol} in parts of {asset.lot:g}{'' if asset.shortable else ', no shorts'}"
            for symbol, asset in store.assets.items()
        ),
        "bars": f"{spoken(pd.Timedelta(store.interval))}; the venue's clock says "
        f"{clock.now:%Y-%m-%d %H:%M} UTC, {'open' if clock.is_open else 'closed'}",
        "model": "; ".join(
            f"{file}, {model.digest[:12]}, trained until "
            f"{day(model.trained_until)}, {(now - model.trained_until).days} days ago"
            for file, model in models.items()
        ),
        "would do now": listed(
            _would_do(store, symbol, schedule, held.get(without_slash(symbol), 0), trading, ranks)
            for symbol, schedule in schedules.items()
        ),
        "limits": listed(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in vars(limits).items()
            if value is not None
        ),
    }


def _would_do(
    store: LiveStore,
    symbol: str,
    schedule: Schedule,
    held: int,
    trading: "Trading",
    ranks: "Ranks",
) -> str:
    """Return what is decided at the newest finished bar, before any rule but the thresholds.

    Of a book it is what the symbol is ranked by.
    """
    calendar, needed, interval = store.calendars[symbol], schedule.bars_needed, store.interval
    start = calendar.start_of_history(store.now(), needed, interval)
    found = finished_bars(store.venue, calendar, symbol, interval, start, store.now())[-needed:]
    if len(found) < needed:
        return f"{symbol}: nothing, as {len(found)} of {needed} bars are there"
    stamp = schedule.checkpoints[-1].stamp
    times = [calendar.timestamp(bar, end, interval, stamp) for bar, end in found]
    index = pd.DatetimeIndex(times).tz_localize(None).as_unit("ns")
    values = np.array([bar[2:] for bar, _ in found], dtype=np.float64)
    probability = float(schedule.probabilities(values, index.asi8)[-1])
    model = schedule.at(int(index.asi8[-1]))
    if model is None or math.isnan(probability):
        return f"{symbol}: nothing, as there is no forecast at {day(index[-1])}"
    enter, exit = thresholds(trading.enter, trading.exit, own=(model.enter, model.exit))
    # The rule that trades, so that the report cannot promise something else.
    wanted = target(probability, held, enter=enter, exit=exit, allow_short=trading.allow_short)
    word = {1: "long", 0: "flat", -1: "short"}
    what = "ranked" if ranks.book else word[wanted]
    return (
        f"{symbol}: {what} at the close of {day(index[-1])}, now {word[held]}, probability of up "
        f"{probability:.4f}"
    )
