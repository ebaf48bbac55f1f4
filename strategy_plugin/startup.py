"""What a strategy checks before its first bar: its params, and whether the models fit its datas."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from strategy_plugin.feeds import Feed, is_live
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import LineSignal, ModelSignal, TradedData

# Params that do nothing where a feed brings its own probabilities, as there is no model then.
OF_A_MODEL = (
    "in_sample",
    "max_model_age",
    "max_disagreement",
    "max_gap",
    "timezone",
    "stamp",
    "precision",
)
MOST_NAMES = 5  # of checkpoints in one message


def require_params(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check the params that no other class checks, and report all faults together."""
    faults: list[str] = []

    def require(holds: bool, name: str, must: str, why: str = "") -> None:
        if not holds:
            faults.append(f"`{name}` must be {must}, got {params[name]!r}{why}")

    for name in ("max_model_age", "max_gap"):
        value = params[name]
        require(value is None or _is_whole(value, 0), name, "a whole number from 0 or None")
    for name, least in (("retries", 0), ("patience", 1)):
        require(_is_whole(params[name], least), name, f"a whole number from {least}")
    for name in ("allow_short", "adopt"):
        require(isinstance(params[name], (bool, np.bool_)), name, "True or False")
    # A wrong type would only do harm in the midst of trading.
    for name in ("names", "stop_loss", "take_profit", "trailing"):
        require(isinstance(params[name], str), name, "text")
    require(
        isinstance(params["trade_from"], (str, datetime)),
        "trade_from",
        "'', 'now' or a time as text, like '2024-05-31' or '2024-05-31 14:00'",
    )
    for name in ("checkpoint", "journal"):
        require(isinstance(params[name], (str, Path)), name, "text or a Path")
    require(params["in_sample"] in ("refuse", "trade"), "in_sample", "'refuse' or 'trade'")
    limit, cap = params["max_disagreement"], params["max_exposure"]
    is_limit = limit is None or (_is_finite(limit) and limit >= 0)
    require(is_limit, "max_disagreement", "a number from 0 or None")
    require(_is_finite(cap) and cap > 0, "max_exposure", "a finite number above 0")
    for name in ("enter", "exit"):
        require(params[name] is None or _is_finite(params[name]), name, "a number or None")
    if params["checkpoint"] == "":
        for name in OF_A_MODEL:
            require(
                params[name] == defaults[name],
                name,
                f"{defaults[name]!r} where `checkpoint` is empty",
                ": a feed of probabilities has no model that it could concern. Leave it out or "
                "give a checkpoint",
            )
    if faults:
        raise ValueError("; ".join(faults) + ".")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def require_files(schedules: list[Schedule]) -> None:
    """Refuse in_sample="trade" where it can do nothing, which is under folders.

    A folder's checkpoints come into force with their `trained_until`, never before.
    """
    folders = [str(schedule.path) for schedule in schedules if schedule.folder]
    if not folders:
        return
    idle = (
        f'`in_sample`="trade" does nothing under {_listed(folders)}: none of a folder\'s '
        "checkpoints decides on bars before its `trained_until`"
    )
    if len(folders) == len(schedules):
        raise ValueError(f"{idle}. Leave it out, or name the file of a checkpoint.")
    warnings.warn(f"{idle}. Leave it out, or name files", TradingWarning, stacklevel=3)


def require_members(schedules: list[Schedule]) -> None:
    """Refuse `max_disagreement` where no checkpoint has several members; warn where some have one.

    A folder may yet get others: those are looked at when they come.
    """

    def idle(paths: list[str]) -> str:
        return (
            f"`max_disagreement` does nothing under {_listed(paths)}, of one member each: nothing "
            "can disagree there. Leave it out, or train with several seeds or as an ensemble"
        )

    members = {
        str(schedule.file(one)): one.members
        for schedule in schedules
        for one in schedule.checkpoints
    }
    single = [path for path, ours in members.items() if len(ours) == 1]
    if len(single) == len(members) and not any(schedule.folder for schedule in schedules):
        raise ValueError(f"{idle(single)}.")
    if single:
        warnings.warn(idle(single), TradingWarning, stacklevel=3)
    known = {one.digest for schedule in schedules for one in schedule.checkpoints}

    def look_at(folder: Path, checkpoint: Checkpoint, name: str) -> None:
        if len(checkpoint.members) == 1 and checkpoint.digest not in known:
            known.add(checkpoint.digest)
            warnings.warn(idle([str(folder / name)]), TradingWarning, stacklevel=2)

    for schedule in schedules:
        schedule.require(partial(look_at, schedule.path))


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - MOST_NAMES} more" if len(paths) > MOST_NAMES else ""
    return ", ".join(paths[:MOST_NAMES]) + more


def first_traded(
    trade_from: str | datetime, data: Feed, signal: ModelSignal | LineSignal
) -> int | None:
    """Return the time of the first bar that may be traded, in nanoseconds since 1970.

    It is in the zone of the signal's own times, as `trained_until` is. None for all bars.

    Raises ValueError for text that is no time or has its day and month in an order of its own, and
    where the zone cannot be told.
    """
    if trade_from == "":
        return None
    indicator = signal.indicator
    trained_in = None if indicator is None else indicator.schedule.checkpoints[0].timezone
    dates = signal.daily or (indicator is None and data._timeframe >= bt.TimeFrame.Days)
    if trade_from == "now":
        # A date is that of the exchange; within the day only one zone is sure, that of Backtrader.
        if not dates and trained_in not in (None, "UTC"):
            raise ValueError(_unsure_zone(trade_from, data, trained_in))
        now = pd.Timestamp.now().normalize() if dates else pd.Timestamp.now("UTC")
        return int(now.tz_localize(None).as_unit("ns").value)
    try:
        # Not pandas: it reads "10.11.2017" as the 11th of October, and orders a month too early.
        first = pd.Timestamp(
            datetime.fromisoformat(trade_from) if isinstance(trade_from, str) else trade_from
        )
    except ValueError as error:
        raise ValueError(
            f"`trade_from` must be '', 'now' or a time, year first, got {trade_from!r}. Write it "
            "like '2024-05-31' or '2024-05-31 14:00'."
        ) from error
    if pd.isna(first):
        raise ValueError(f"`trade_from` must be a time, got {trade_from!r}.")
    if first.tzinfo is not None:
        if dates or trained_in is None:
            raise ValueError(_unsure_zone(trade_from, data, trained_in))
        first = first.tz_convert(trained_in).tz_localize(None)
    return int(first.as_unit("ns").value)


def _unsure_zone(trade_from: object, data: Feed, zone: str | None) -> str:
    return (
        f"`trade_from`={str(trade_from)!r} cannot be compared with the times of data "
        f"{data._name!r}, which are {'dates' if zone is None else f'in {zone}'}. Give a time "
        "without a zone, in that of the feed."
    )


def note_other_instruments(traded: Sequence[TradedData]) -> None:
    """Warn where a data has another name than the instrument its model was trained on."""
    for instrument in traded:
        indicator, name = instrument.signal.indicator, instrument.data._name
        # "data" and "data0" say nothing of what is traded.
        if indicator is None or name.rstrip("0123456789") in ("", "data"):
            continue
        trained_on = {checkpoint.instrument for checkpoint in indicator.schedule.checkpoints}
        others = {known for known in trained_on if known and not _same(known, name)}
        if others and others == trained_on:
            warnings.warn(
                f"data {name!r}: its model was trained on {_listed(sorted(others))}. If that is "
                "another instrument, its forecasts mean nothing here; train one on this data",
                TradingWarning,
                stacklevel=3,
            )


def _same(one: str, other: str) -> bool:
    """Whether two names may mean one instrument: nvda, NVDA.US and NVDA_daily do."""
    a, b = ("".join(filter(str.isalnum, name.casefold())) for name in (one, other))
    return a in b or b in a


def note_fractions(sizer: bt.Sizer, traded: Iterable[TradedData]) -> None:
    """Warn where a live feed is traded in fractional units, which few brokers take."""
    live = [instrument.name for instrument in traded if is_live(instrument.source)]
    if live and getattr(getattr(sizer, "p", None), "fractional", False):
        kind = type(sizer).__name__
        warnings.warn(
            f"{_listed(live)}: orders are in fractional units, as in the backtest. Where the "
            f"broker takes only whole ones: cerebro.addsizer({kind}, fractional=False), in the "
            "backtest too",
            TradingWarning,
            stacklevel=3,
        )
