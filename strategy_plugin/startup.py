"""What a strategy checks before its first bar: its params, and whether the models fit its datas."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import backtrader as bt
import numpy as np
import pandas as pd

from model.bars.intervals import bar_interval, spoken
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.labels.barrier import Barrier
from model.labels.labelling import Labelling
from model.settings import Rule, number, one_of, optional, whole
from strategy_plugin.decision import BARRIER, PROBABILITY
from strategy_plugin.delivered import FEWEST_TO_TELL
from strategy_plugin.feeds import Feed, is_live
from strategy_plugin.guard import TradingWarning
from strategy_plugin.instrument import (
    LineSignal,
    ModelSignal,
    TradedData,
    datas_to_trade,
    names_of,
)
from strategy_plugin.weights import ROUNDING, WEIGHTS, BookRules

# Params that do nothing where a feed brings its own probabilities, as there is no model then.
OF_A_MODEL = (
    "in_sample",
    "max_model_age",
    "max_disagreement",
    "max_gap",
    "timezone",
    "stamp",
    "features",
    "context",
    "max_context_age",
    "precision",
)
MOST_NAMES = 5  # of checkpoints in one message


def _kind(words: str, *kinds: type) -> Rule:
    return Rule(words, lambda value: isinstance(value, kinds))


TEXT, FLAG = _kind("text", str), _kind("True or False", bool)
PATH = _kind("text or a Path", str, Path)
SIDE = Rule(
    "a whole number of names, or a share of them below 1; 0 for none",
    lambda value: whole(0).holds(value) or number(0, below=1).holds(value),
)
THRESHOLD = optional(number())._replace(words="a number or None")
FROM_0_OR_NONE = optional(whole(0))._replace(words="a whole number from 0 or None")
ABOVE_0 = number(above=0)
# What a strategy's params must be. A wrong type would only do harm in the midst of trading.
RULES: dict[str, Rule] = {
    "max_model_age": FROM_0_OR_NONE,
    "max_gap": FROM_0_OR_NONE,
    "retries": whole(0),
    "patience": whole(1),
    "allow_short": FLAG,
    "exit_by": one_of(PROBABILITY, BARRIER),
    "horizon": whole(0),
    "adopt": FLAG,
    "features": TEXT,
    "context": TEXT,
    "max_context_age": optional(number(0)),
    "names": TEXT,
    "stop_loss": TEXT,
    "take_profit": TEXT,
    "trailing": TEXT,
    "trade_from": _kind(
        "'', 'now' or a time as text, like '2024-05-31' or '2024-05-31 14:00'", str, datetime
    ),
    "checkpoint": PATH,
    "journal": PATH,
    "in_sample": one_of("refuse", "trade")._replace(words="'refuse' or 'trade'"),
    "max_disagreement": optional(number(0))._replace(words="a number from 0 or None"),
    "max_exposure": ABOVE_0,
    "enter": THRESHOLD,
    "exit": THRESHOLD,
    # Those of a book.
    "long": SIDE,
    "short": SIDE,
    "keep": number(1)._replace(words="a number from 1, where no name is kept beyond its side"),
    "weights": one_of(*WEIGHTS),
    "window": whole(2),
    "gross": ABOVE_0,
    "cap": ABOVE_0,
    "fewest": whole(1),
    "rebalance": whole(1),
    "wait": ABOVE_0,
    "delisting_loss": Rule(
        "a share from 0 to 1", lambda value: number(0).holds(value) and value <= 1
    ),
    "fractional": FLAG,
}


def require_params(params: Mapping[str, object], defaults: Mapping[str, object]) -> None:
    """Check the params that no other class checks, and report all faults together."""
    # A sweep over np.arange gives NumPy's numbers, which are no int to Python.
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in params.items()
    }
    faults = [
        f"`{name}` must be {rule.words}, got {params[name]!r}"
        for name, rule in RULES.items()
        if name in plain and not rule.holds(plain[name])
    ]
    if params["checkpoint"] == "":
        faults += [
            f"`{name}` must be {defaults[name]!r} where `checkpoint` is empty, got "
            f"{params[name]!r}: a feed of probabilities has no model that it could concern. Leave "
            "it out or give a checkpoint"
            for name in OF_A_MODEL
            if params[name] != defaults[name]
        ]
    if faults:
        raise ValueError("; ".join(faults) + ".")


def require_files(schedules: list[Schedule]) -> None:
    """Refuse in_sample="trade" where it can do nothing, which is under folders.

    A folder's checkpoints come into force with their `trained_until`, never before.
    """
    folders = [str(schedule.path) for schedule in schedules if schedule.folder]
    if not folders:
        return
    idle = (
        f'`in_sample`="trade" does nothing under {first_few(folders)}: none of a folder\'s '
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
            f"`max_disagreement` does nothing under {first_few(paths)}, of one member each: "
            "nothing can disagree there. Leave it out, or train with several seeds or as an "
            "ensemble"
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


def first_few(paths: list[str]) -> str:
    """Return the first of several names, and how many more there are."""
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
    # NaT is a time to pandas, and would be compared with every bar as false.
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


def require_alike(traded: Sequence[TradedData]) -> None:
    """Refuse models of several datas whose forecasts are about unlike things: no ranks are in them.

    Raises ValueError with what they forecast.
    """
    # A probability of tomorrow's rise and one of the week's are no ranks of each other.
    for part in ("label", "horizon", "barrier", "own_label", "outcome"):
        kinds: dict[object, list[str]] = {}
        for instrument in traded:
            if instrument.signal.indicator is not None:
                checkpoint = instrument.signal.indicator.schedule.checkpoints[0]
                kinds.setdefault(getattr(checkpoint, part), []).append(instrument.name)
        if len(kinds) > 1:
            shown = "; ".join(f"{kind}: {first_few(names)}" for kind, names in kinds.items())
            raise ValueError(
                f"the models of a book must forecast the same, got {part} {shown}. Give models "
                "that were trained alike."
            )


def require_directions(traded: Sequence[TradedData]) -> None:
    """Refuse models that rank instruments: of one by itself they say nothing.

    Raises ValueError with the first one's file.
    """
    for instrument in traded:
        indicator = instrument.signal.indicator
        if indicator is None:
            continue
        for checkpoint in indicator.schedule.checkpoints:
            if checkpoint.outcome != "direction":
                raise ValueError(
                    f"{indicator.schedule.file(checkpoint)} forecasts which of several instruments "
                    "does better, not whether one goes up. Trade it with BookStrategy, or train "
                    'one with outcome="direction".'
                )


def require_barrier_alone(params: Mapping[str, object], defaults: Mapping[str, object]) -> None:
    """Refuse params that have no part in how positions are closed.

    Raises ValueError with all of them.
    """
    by_barrier = params["exit_by"] == BARRIER
    idle = ("exit", "allow_short", "trailing") if by_barrier else ("horizon",)
    given = [f"`{name}`" for name in idle if params[name] != defaults[name]]
    if given:
        raise ValueError(
            f"{', '.join(given)} must be left out with exit_by={params['exit_by']!r}: "
            + (
                "a barrier closes long positions at stop_loss, take_profit or after horizon bars."
                if by_barrier
                else 'positions are closed by the forecast. Give exit_by="barrier".'
            )
        )


def barrier_in_force(
    params: Mapping[str, object], traded: Sequence[TradedData]
) -> tuple[str, str, int]:
    """Return take profit, stop loss and horizon: those given, or those of the models' training.

    Raises ValueError where none are given and not all models have the same, and for those that
    make no trade. Models that forecast something else are warned of.
    """
    # Their kinds were seen to before.
    given = str(params["take_profit"]), str(params["stop_loss"]), cast(int, params["horizon"])
    indicators = [one.signal.indicator for one in traded]
    schedules = [indicator.schedule for indicator in indicators if indicator is not None]
    known = {
        barrier_of(one)
        for schedule in schedules
        for one in schedule.checkpoints
        if one.barrier is not None
    }
    if not any(given):
        if len(known) != 1:
            learnt = f"{len(known)} different ones" if known else "none of their own"
            raise ValueError(
                '`take_profit`, `stop_loss` and `horizon` must be given with exit_by="barrier", '
                f"got none, and the models have {learnt}. Give them."
            )
        [given] = known
    take_profit, stop_loss, horizon = given
    if not (horizon and (take_profit or stop_loss)):
        raise ValueError(
            "`horizon` and a level, `take_profit` or `stop_loss`, must be given together or not at "
            f'all with exit_by="barrier", got take_profit={take_profit!r}, stop_loss={stop_loss!r} '
            f"and horizon={horizon}. Give those that the model has, too: what is given replaces "
            "all three."
        )
    trade = Labelling(BARRIER, horizon, Barrier(stop_loss, take_profit))

    def look_at(schedule: Schedule, checkpoint: Checkpoint, name: str) -> None:
        if barrier_of(checkpoint) != given:
            warnings.warn(
                f"{schedule.path}: {name} forecasts {checkpoint.labelling}, and is traded as "
                f"{trade}: its probabilities are of something else",
                TradingWarning,
                stacklevel=2,
            )

    for schedule in schedules:
        schedule.require(partial(look_at, schedule))
    return given


def note_trades(traded: Sequence[TradedData]) -> None:
    """Warn where a model forecasts trades with levels, and the forecast closes the positions."""
    for instrument in traded:
        indicator = instrument.signal.indicator
        checkpoint = None if indicator is None else indicator.schedule.checkpoints[0]
        if checkpoint is not None and checkpoint.barrier is not None:
            warnings.warn(
                f"data {instrument.name!r}: the model forecasts {checkpoint.labelling}, and the "
                'forecast closes positions all the same: exit_by="barrier" trades just that',
                TradingWarning,
                stacklevel=3,
            )


def barrier_of(checkpoint: Checkpoint) -> tuple[str, str, int]:
    """Return take profit, stop loss and horizon of the trades that a model forecasts."""
    barrier = checkpoint.barrier
    levels = (barrier.take_profit, barrier.stop_loss) if barrier is not None else ("", "")
    return *levels, checkpoint.horizon


def note_other_instruments(traded: Sequence[TradedData]) -> None:
    """Warn where a data has another name than the instrument its model was trained on."""
    for instrument in traded:
        indicator, name = instrument.signal.indicator, instrument.data._name
        if indicator is None or _says_nothing(name):
            continue
        trained_on = {checkpoint.instrument for checkpoint in indicator.schedule.checkpoints}
        others = {known for known in trained_on if known and not _same(known, name)}
        # One of a folder that fits is enough: it may hold models of several instruments.
        if others and others == trained_on:
            warnings.warn(
                f"data {name!r}: its model was trained on {first_few(sorted(others))}. If that is "
                "another instrument, its forecasts mean nothing here; train one on this data",
                TradingWarning,
                stacklevel=3,
            )


def _same(one: str, other: str) -> bool:
    """Whether two names may mean one instrument: nvda, NVDA.US and NVDA_daily do."""
    shorter, longer = sorted(
        ("".join(filter(str.isalnum, name.casefold())) for name in (one, other)), key=len
    )
    # A letter or two lie in nearly every name: there only the whole one is the same.
    words = re.split(r"[^0-9a-z]+", f"{one} {other}".casefold())
    return shorter in longer if len(shorter) > 2 else words.count(shorter) > 1


def note_absent_peers(traded: Sequence[TradedData]) -> None:
    """Warn where instruments that a model learnt to compare are not among the datas."""
    names = [instrument.data._name for instrument in traded]
    for instrument in traded:
        indicator = instrument.signal.indicator
        if indicator is None or not instrument.is_placed or all(map(_says_nothing, names)):
            continue
        path = indicator.schedule.path
        known = {name for one in indicator.schedule.checkpoints for name in one.instruments or ()}
        absent = sorted(one for one in known if not any(_same(one, name) for name in names))
        if absent:
            warnings.warn(
                f"{len(absent)} of the {len(known)} instruments that {path} learnt to compare are "
                f"not among the {len(names)} datas traded, {first_few(absent)}: places among "
                "others mean something else",
                TradingWarning,
                stacklevel=3,
            )
            return


def _says_nothing(name: str) -> bool:
    """Whether a name is one that nobody gave: "data" and "data0" say nothing of what is traded."""
    return name.rstrip("0123456789") in ("", "data")


def note_fractions(traded: Iterable[TradedData], whole: str) -> None:
    """Warn where a live feed is traded in fractional units, which few brokers take.

    whole: how whole ones are asked for.
    """
    # In a backtest the broker is ours, and takes any part of a unit.
    live = [instrument.name for instrument in traded if is_live(instrument.source)]
    if live:
        warnings.warn(
            f"{first_few(live)}: orders are in fractional units, as in the backtest. Where the "
            f"broker takes only whole ones: {whole}, in the backtest too",
            TradingWarning,
            stacklevel=3,
        )


def require_one_kind(datas: Sequence[Feed], names: str) -> None:
    """Refuse datas of several intervals where they are not named, and unlike ones that are.

    Ranks compare what is known at one time of moves that are as long.
    """
    chosen = datas_to_trade(datas, names) if names else datas
    declared = [
        f"{data._compression or 1} {bt.TimeFrame.TName(data._timeframe)}" for data in chosen
    ]
    for intervals in (declared, map(_shown_interval, chosen)):
        kinds: dict[str, list[str]] = {}
        for interval, name in zip(intervals, names_of(chosen), strict=True):
            if interval:
                kinds.setdefault(interval, []).append(name)
        if len(kinds) > 1:
            shown = "; ".join(f"{kind}: {first_few(members)}" for kind, members in kinds.items())
            raise ValueError(
                f"the datas of a book must have bars of one interval, got {shown}. Leave the "
                "others out, or name those to trade with `names`."
            )


def _shown_interval(data: Feed) -> str:
    """Return the interval of a feed's DataFrame, "" where there is none, or few bars to tell by.

    A feed is of days to Backtrader unless it is declared otherwise, whatever its bars are.
    """
    index = getattr(getattr(data.p, "dataname", None), "index", None)
    # Such a feed shows other bars than its DataFrame has.
    rebuilt = data.resampling or data.replaying
    if rebuilt or not isinstance(index, pd.DatetimeIndex) or len(index) < FEWEST_TO_TELL:
        return ""
    return spoken(bar_interval(index))


def require_book(rules: BookRules, names: int) -> None:
    """Refuse a book that so many names can never fill, and report all faults together."""
    long, short = rules.counts(names)
    faults = []
    if not long + short:
        faults.append("`long` and `short` must not both be 0: nothing would be held")
    if names < max(long + short, rules.fewest):
        faults.append(
            f"a book of {long} long and {short} short with `fewest`={rules.fewest} must have at "
            f"least {max(long + short, rules.fewest)} names, got {names}"
        )
    for side, count, gross in zip(("long", "short"), (long, short), rules.sides, strict=True):
        # Else a part of the money would lie idle, and nobody be told.
        if count * rules.cap < gross * (1 - ROUNDING):
            faults.append(
                f"`cap` must be at least {gross / count:.4g}, so that {count} {side} can hold "
                f"their part of `gross`={rules.gross}, which is {gross:.4g}; got {rules.cap}"
            )
    if faults:
        raise ValueError("; ".join(faults) + ".")
