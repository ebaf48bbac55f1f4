"""A session of live trading: what is found at the start, the run itself, and how it ends."""

import datetime as dt
import json
import math
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

import backtrader as bt
import numpy as np
import pandas as pd
from rich.console import Console

from model.bars.faults import count
from model.bars.intervals import day, spoken
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError, OutputError
from model.files import as_file_name
from strategy_plugin.decision import target, thresholds
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.decay import DecayWatch
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.kept_bars import KeptBars
from strategy_plugin.live.limits import Limits, Watchman
from strategy_plugin.live.live_strategy import LiveStrategy
from strategy_plugin.live.retraining import Retraining
from strategy_plugin.live.rules import BASIS_POINT
from strategy_plugin.live.sessions import finished_bars
from strategy_plugin.live.store import LOG, REAL, LiveStore, Pace, assets_of
from strategy_plugin.live.venue import DAY, LOOPBACK, MINUTE, Venue, VenueError, without_slash
from strategy_plugin.live.watch import Alarms, StatusPage
from strategy_plugin.orders import direction
from strategy_plugin.sizers import EquityShare, FractionalCommission

if TYPE_CHECKING:
    from strategy_plugin.trade import Trading

# A room of its own for each venue, with a class `connect`; its libraries are an extra.
VENUES = {"alpaca": "strategy_plugin.live.alpaca_venue"}
MOST_READ = 50_000  # lines of earlier runs
KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
# Of an exchange on this machine, whose time may run fast.
NEARBY = Pace(idle=2.0, poll=0.1, settle=0.0)
LINES, JOURNAL, TRAININGS = "bars.jsonl", "decisions.jsonl", "trainings.log"

console = Console(highlight=False, soft_wrap=True)


def trade_live(trading: "Trading", limits: Limits, say: Callable[[str], None]) -> int:
    """Run a session, print what it finds and a line a bar, and return the exit code.

    say: shows an alarm beside the lines.
    """
    keys = _keys()
    # Models of several symbols may need different histories, and bear different timestamps.
    schedules = {
        symbol: Schedule(str(trading.checkpoint).replace("{name}", symbol))
        for symbol in trading.symbols
    }
    interval = _interval(schedules)
    venue = _venue(trading, keys)
    _require_account(venue, trading)
    assets = assets_of(venue, list(trading.symbols), trading.allow_short)
    nearby = trading.url is not None and urlsplit(trading.url).hostname in LOOPBACK
    store = LiveStore(venue, assets, interval, NEARBY if nearby else REAL)
    _report(store, schedules, trading, limits)
    page = StatusPage(trading.out)
    watch = _decay_watch(next(iter(schedules.values())).checkpoints[-1], trading)
    kept = _kept_bars(schedules, trading) if trading.retrain else {}
    retraining = None
    if trading.retrain:
        retraining = Retraining(schedules, kept, trading.out / TRAININGS, trading.features)
    with (
        _lines(trading.out / LINES) as lines,
        Alarms(page, say, trading.webhook) as alarms,
        _signals() as stopped,
    ):

        def write(bar: Mapping[str, object]) -> None:
            for alarm in watch.take(bar):
                LOG.warning("%s", alarm)
            if alarms.told:
                bar = {**bar, "alarms": [*alarms.told]}
                alarms.told.clear()
            line = json.dumps(bar, allow_nan=False)
            print(line, flush=True)
            lines.write(f"{line}\n")
            page.take_bar(bar)
            if retraining is not None:
                retraining.look(store.now())

        cerebro = _cerebro(store, schedules, kept, trading, Watchman(limits, trading.out), write)
        stopped.cerebro = cerebro
        try:
            [strategy] = cerebro.run()
        finally:
            store.stop()
            if retraining is not None:
                retraining.stop()
    broker = cerebro.broker
    held = (f"{broker.getposition(data).size:+g} {data._name}" for data in strategy.datas)
    console.print(
        f"{'stopped: ' if stopped.number else 'done: '}{count(strategy.n_live, 'live bar')}; "
        f"holds {', '.join(held)}; equity {broker.getvalue():,.2f}. Stopping closed nothing.",
        markup=False,
    )
    return 128 + stopped.number if stopped.number else 0


def _cerebro(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    kept: Mapping[str, KeptBars],
    trading: "Trading",
    watchman: Watchman,
    write: Callable[[Mapping[str, object]], object],
) -> bt.Cerebro:
    broker = LiveBroker(
        store=store,
        tag=trading.tag,
        watchman=watchman,
        dry_run=trading.dry_run,
        slip_perc=trading.slippage * BASIS_POINT,
    )
    broker.addcommissioninfo(FractionalCommission(commission=trading.commission * BASIS_POINT))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = broker
    daily = store.interval >= DAY
    for symbol, schedule in schedules.items():
        feed = LiveFeed(  # type: ignore[call-arg]  # Backtrader makes arguments of its params
            dataname=symbol,
            store=store,
            broker=broker,
            history=trading.history or schedule.bars_needed * 3 // 2,
            stamp=schedule.checkpoints[-1].stamp,
            keep=kept.get(symbol),
            timeframe=bt.TimeFrame.Days if daily else bt.TimeFrame.Minutes,
            compression=1 if daily else store.interval // MINUTE,
        )
        cerebro.adddata(feed, name=symbol)
    cerebro.addsizer(EquityShare, share=trading.share)
    cerebro.addstrategy(
        LiveStrategy,
        checkpoint=str(trading.checkpoint),
        enter=trading.enter,
        exit=trading.exit,
        allow_short=trading.allow_short,
        adopt=True,
        stop_loss=trading.stop_loss,
        trailing=trading.trailing,
        max_model_age=trading.max_model_age,
        journal=str(trading.out / JOURNAL),
        on_stop=trading.on_stop,
        write=write,
        bars=trading.bars,
    )
    return cerebro


def _kept_bars(schedules: Mapping[str, Schedule], trading: "Trading") -> dict[str, KeptBars]:
    """Return for each symbol the file of its bars, which are like those of its model."""
    models = {symbol: schedule.checkpoints[-1] for symbol, schedule in schedules.items()}
    return {
        symbol: KeptBars(
            trading.out / "bars" / f"{as_file_name(symbol)}.parquet",
            {"instrument": symbol, "timezone": model.timezone, "stamp": model.stamp},
        )
        for symbol, model in models.items()
    }


def _decay_watch(model: Checkpoint, trading: "Trading") -> DecayWatch:
    """Return the watch over forecasts and costs, which has read what earlier runs have written."""
    about = model.label, model.horizon, model.outcome
    watch = DecayWatch(len(trading.symbols), *about, trading.slippage)
    with suppress(FileNotFoundError), (trading.out / LINES).open(encoding="utf-8") as lines:
        for line in deque(lines, maxlen=MOST_READ):
            # Their alarms were told. A line that a killed run left torn, or of another version,
            # says nothing.
            with suppress(ValueError, KeyError, TypeError):
                watch.take(json.loads(line))
    return watch


class _Stopped:
    """Ends a run between two bars when a signal comes; a second one ends it at once."""

    def __init__(self) -> None:
        self.number = 0
        self.cerebro: bt.Cerebro | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        if self.number or self.cerebro is None:
            raise KeyboardInterrupt
        self.number = number
        self.cerebro.runstop()


@contextmanager
def _signals() -> Iterator[_Stopped]:
    stopped = _Stopped()
    endings = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        endings.remove(signal.SIGHUP)
    before = {ending: signal.signal(ending, stopped) for ending in endings}
    try:
        yield stopped
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """Open the file of the lines, to which each goes at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}. Give another `out`."
        ) from None
    with file:
        yield file


def _keys() -> tuple[str, str]:
    """Return the key and the secret of the environment, which stand nowhere else."""
    missing = [name for name in KEYS if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} must be set in the environment: the key and the secret of "
            "the account, paper or live. They are no flags, so that no list of processes shows "
            "them."
        )
    return os.environ[KEYS[0]], os.environ[KEYS[1]]


def _venue(trading: "Trading", keys: tuple[str, str]) -> Venue:
    try:
        room = import_module(VENUES[trading.store])
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`store` {trading.store} needs the package {error.name}, which is not there: "
            "pip install 'backtrader-bilstm[live]'."
        ) from None
    venue: Venue = room.connect(*keys, paper=not trading.live, feed=trading.feed, url=trading.url)
    return venue


def _interval(schedules: Mapping[str, Schedule]) -> dt.timedelta:
    """Return the one interval of the bars that the models were trained on.

    CheckpointError where no such bars can be had live, or the models have several.
    """
    found: dict[dt.timedelta, str] = {}
    for schedule in schedules.values():
        interval = schedule.checkpoints[-1].bar_interval.to_pytimedelta()
        whole_minutes = interval >= MINUTE and not interval % MINUTE and interval < DAY
        if not (whole_minutes or interval == DAY):
            raise CheckpointError(
                f"{schedule.path} must have learnt from bars of whole minutes or of a day to be "
                f"traded live, got {spoken(pd.Timedelta(interval))}. Train on such bars."
            )
        found[interval] = f"{spoken(pd.Timedelta(interval))} of {schedule.path}"
    if len(found) > 1:
        raise CheckpointError(
            "the models of a run must have learnt from bars of one interval, got "
            f"{_listed(found.values())}. Trade the others in a run with a `tag` of its own."
        )
    return next(iter(found))


def _require_account(venue: Venue, trading: "Trading") -> None:
    """Refuse an account that is not the one meant, or may not trade."""
    found = venue.account()
    if trading.account not in (None, found.number):
        raise ValueError(
            f"`account` must be the one that the keys belong to, got {trading.account}; theirs "
            f"ends in {found.number[-3:]}."
        )
    if found.blocked:
        raise VenueError(f"{venue.name} lets this account trade nothing: {found.blocked}.")


def _report(
    store: LiveStore, schedules: Mapping[str, Schedule], trading: "Trading", limits: Limits
) -> None:
    """Print what there is before anything is done."""
    venue = store.venue
    account, clock, holdings = venue.account(), store.ask_clock(), venue.positions()
    held = {without_slash(one.symbol): direction(one.size) for one in holdings}
    models = {one.file(one.checkpoints[-1]): one.checkpoints[-1] for one in schedules.values()}
    now = pd.Timestamp(clock.now).tz_localize(None)
    rows = {
        "account": f"{account.number}, {'REAL MONEY' if trading.live else 'paper'}"
        f"{', dry run: nothing is sent' if trading.dry_run else ''}",
        "money": f"cash {account.cash:,.2f}, equity {account.equity:,.2f}, "
        f"buying power {account.buying_power:,.2f}",
        "holds": _listed(f"{one.size:+g} {one.symbol} at {one.price:g}" for one in holdings),
        "open orders": _listed(
            f"{one.size:+g} {one.symbol} ({one.client_order_id})" for one in venue.open_orders()
        ),
        "trades": _listed(
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
        "would do now": _listed(
            f"{symbol}: "
            f"{_would_do(store, symbol, schedule, held.get(without_slash(symbol), 0), trading)}"
            for symbol, schedule in schedules.items()
        ),
        "limits": _listed(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in vars(limits).items()
            if value is not None
        ),
    }
    for name, text in rows.items():
        console.print(f"{name:14}{text}", markup=False)


def _would_do(
    store: LiveStore, symbol: str, schedule: Schedule, held: int, trading: "Trading"
) -> str:
    """Return what is decided at the newest finished bar, before any rule but the thresholds."""
    calendar, needed = store.calendars[symbol], schedule.bars_needed
    found = finished_bars(store.venue, calendar, symbol, store.interval, store.now(), needed)
    if len(found) < needed:
        return f"nothing, as {len(found)} of {needed} bars are there"
    times = [bar.start if schedule.checkpoints[-1].stamp == "open" else end for bar, end in found]
    index = pd.DatetimeIndex(times).tz_localize(None).as_unit("ns")
    if store.interval >= DAY:
        # Their labels are midnight at the venue, which is the same day in UTC.
        index = index.normalize()
    values = np.array([bar[2:] for bar, _ in found], dtype=np.float64)
    probability = float(schedule.probabilities(values, index.asi8)[-1])
    model = schedule.at(int(index.asi8[-1]))
    if model is None or math.isnan(probability):
        return f"nothing, as there is no forecast at {day(index[-1])}"
    enter, exit = thresholds(trading.enter, trading.exit, own=(model.enter, model.exit))
    wanted = target(probability, held, enter=enter, exit=exit, allow_short=trading.allow_short)
    word = {1: "long", 0: "flat", -1: "short"}
    return (
        f"{word[wanted]} at the close of {day(index[-1])}, now {word[held]}, probability of up "
        f"{probability:.4f}"
    )


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "none"
