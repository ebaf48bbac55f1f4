"""What there is before anything is traded: account, holdings, models, and what they would do."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from model.bars.intervals import day, spoken
from model.checkpoint.schedule import Schedule
from strategy_plugin.decision import target, thresholds
from strategy_plugin.live.connecting import listed
from strategy_plugin.live.limits import Limits
from strategy_plugin.live.series import newest_bars, with_series
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
    symbols: Mapping[str, str],
) -> dict[str, str]:
    """Return what there is before anything is done, in words by name.

    symbols: those of the other series, by the series' name.
    """
    venue = store.venue
    account, clock, holdings = venue.account(), store.ask_clock(), venue.positions()
    held = {without_slash(one.symbol): direction(one.size) for one in holdings}
    # The newest of each: it is the one that would decide now.
    models = {one.file(one.checkpoints[-1]): one.checkpoints[-1] for one in schedules.values()}
    now = pd.Timestamp(clock.now).tz_localize(None)
    forecasts = _forecasts(store, schedules, symbols, trading.max_context_age)
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
        # A file does not say from which prices of a series it has learnt.
        "series": listed(f"{name} is {one}, {venue.prices(one)}" for name, one in symbols.items()),
        "would do now": listed(
            _would_do(symbol, schedule, forecasts[symbol], held, trading, ranks)
            for symbol, schedule in schedules.items()
        ),
        "limits": listed(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in vars(limits).items()
            if value is not None
        ),
    }


class _Forecast(NamedTuple):
    """What the models say at the newest finished bar, and how old each other series is there."""

    timestamp: int
    probability: float
    ages: list[str]


def _forecasts(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    symbols: Mapping[str, str],
    max_age: float | None,
) -> dict[str, _Forecast | int]:
    """Return the forecast for each symbol, or how many bars it has where they are too few."""
    own, series = newest_bars(store, symbols, schedules)
    found: dict[str, _Forecast | int] = {}
    for symbol, schedule in schedules.items():
        (values, times, _), needed, ages = own[symbol], schedule.bars_needed, list[str]()
        if len(values) < needed:
            found[symbol] = len(values)
            continue
        if schedule.context is not None:
            values, ages = with_series(symbol, schedule.context, own, series, max_age)
        [*_, probability] = schedule.probabilities(values[-needed:], times[-needed:]).tolist()
        found[symbol] = _Forecast(int(times[-1]), probability, ages)
    return found


def _would_do(
    symbol: str,
    schedule: Schedule,
    forecast: _Forecast | int,
    holdings: Mapping[str, int],
    trading: "Trading",
    ranks: "Ranks",
) -> str:
    """Return what is decided at the newest finished bar, before any rule but the thresholds.

    Of a book it is what the symbol is ranked by. holdings: directions by symbol.
    """
    if isinstance(forecast, int):
        return f"{symbol}: nothing, as {forecast} of {schedule.bars_needed} bars are there"
    (timestamp, probability, ages), held = forecast, holdings.get(without_slash(symbol), 0)
    model, beside = schedule.at(timestamp), "".join(f"; {age}" for age in ages)
    if model is None or math.isnan(probability):
        return f"{symbol}: nothing, as there is no forecast at {day(timestamp)}{beside}"
    enter, exit = thresholds(trading.enter, trading.exit, own=(model.enter, model.exit))
    # The rule that trades, so that the report cannot promise something else.
    wanted = target(probability, held, enter=enter, exit=exit, allow_short=trading.allow_short)
    word = {1: "long", 0: "flat", -1: "short"}
    what = "ranked" if ranks.book else word[wanted]
    return (
        f"{symbol}: {what} at the close of {day(timestamp)}, now {word[held]}, probability of up "
        f"{probability:.4f}{beside}"
    )
