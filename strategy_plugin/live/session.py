"""A session of live trading: what is found at the start, the run itself, and how it ends."""

import datetime as dt
import json
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import backtrader as bt
import pandas as pd
from rich.console import Console

from model.bars.faults import count
from model.bars.intervals import spoken
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError, OutputInUse
from model.files import as_file_name, locked, require_writable, write_atomically
from model.settings_file import SETTINGS
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.connecting import (
    connected,
    listed,
    require_account,
    require_exits,
    require_prices,
)
from strategy_plugin.live.decay import DecayWatch
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.kept_bars import KeptBars
from strategy_plugin.live.limits import Limits, Watchman
from strategy_plugin.live.live_strategy import LiveBook, LiveStrategy
from strategy_plugin.live.report import report
from strategy_plugin.live.retraining import Retraining
from strategy_plugin.live.rules import BASIS_POINT
from strategy_plugin.live.series import (
    assets_of_series,
    bars_needed,
    series_starts,
    series_with_bars,
    symbols_of_series,
)
from strategy_plugin.live.store import LOG, REAL, LiveStore, Pace, assets_of
from strategy_plugin.live.venue import DAY, LOOPBACK, MINUTE, Venue
from strategy_plugin.live.watch import LINES, PAGE, Alarms, RunFolder
from strategy_plugin.sizers import EquityShare, FractionalCommission

if TYPE_CHECKING:
    from strategy_plugin.trade import Ranks, Trading

MOST_READ = 50_000  # lines of earlier runs
# Of an exchange on this machine, whose time may run fast.
NEARBY = Pace(idle=2.0, poll=0.1, settle=0.0, wait=1.0)
JOURNAL, TRAININGS, LOCK = "decisions.jsonl", "trainings.log", "lock"

console = Console(highlight=False, soft_wrap=True)


def trade_live(
    trading: "Trading",
    ranks: "Ranks",
    limits: Limits,
    say: Callable[[str], None],
    settings_file: str = "",
) -> int:
    """Run a session, print what it finds and a line a bar, and return the exit code.

    say: shows an alarm beside the lines. settings_file: the text that the folder is to keep.
    """
    venue = connected(trading, paper=not trading.live)
    # Models of several symbols may need different histories, and bear different timestamps.
    schedules = {
        symbol: Schedule(str(trading.checkpoint).replace("{name}", symbol))
        for symbol in trading.symbols
    }
    interval, symbols = _interval(schedules), symbols_of_series(schedules, trading, ranks)
    require_exits(schedules, ranks)
    account = require_account(venue, trading)
    require_prices(venue, schedules, trading)
    shorts = bool(ranks.short) if ranks.book else trading.allow_short
    assets = assets_of(venue, list(trading.symbols), shorts)
    others = assets_of_series(venue, symbols, schedules, assets)
    nearby = trading.url is not None and urlsplit(trading.url).hostname in LOOPBACK
    store = LiveStore(venue, assets, interval, NEARBY if nearby else REAL, others)
    with _held(trading.out):
        write_atomically(trading.out / SETTINGS, settings_file.encode())
        for name, text in report(store, schedules, trading, ranks, limits, symbols).items():
            console.print(f"{name:14}{text}", markup=False)
        watchman = Watchman(limits, trading.out, account)
        return _run(store, schedules, symbols, trading, ranks, watchman, say)


def _run(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    symbols: Mapping[str, str],
    trading: "Trading",
    ranks: "Ranks",
    watchman: Watchman,
    say: Callable[[str], None],
) -> int:
    """Trade until a signal or the last bar; return the exit code."""
    folder = RunFolder(trading.out)
    watch = _decay_watch(next(iter(schedules.values())).checkpoints[-1], trading)
    kept: dict[str, KeptBars] = {}
    kept_series: dict[str, KeptBars] = {}
    retraining = None
    if trading.retrain:
        kept = _kept_bars(store.venue, schedules, trading)
        kept_series = _kept_series(store.venue, schedules, symbols, trading)
        log = trading.out / TRAININGS
        retraining = Retraining(schedules, kept, log, trading.features, kept_series)
    with Alarms(folder, say, trading.webhook) as alarms, _signals() as stopped:

        def write(bar: Mapping[str, object]) -> None:
            line = _with_alarms(bar, watch, alarms)
            print(folder.take_bar(line), flush=True)
            if retraining is not None:
                retraining.look(store.now())

        feeds = _Feeds(symbols, kept, kept_series)
        cerebro = _cerebro(store, schedules, feeds, trading, ranks, watchman, write)
        stopped.cerebro = cerebro
        try:
            [strategy] = cerebro.run()
        finally:
            store.stop()
            if retraining is not None:
                retraining.stop()
    console.print(_ending(strategy, bool(stopped.number)), markup=False)
    return 128 + stopped.number if stopped.number else 0


def _ending(strategy: LiveStrategy | LiveBook, stopped: bool) -> str:
    """Return in words how a run ended, and what it leaves."""
    broker = strategy.broker
    held = (f"{broker.getposition(data).size:+g} {data._name}" for data in strategy.datas)
    return (
        f"{'stopped: ' if stopped else 'done: '}{count(strategy.n_live, 'live bar')}; "
        f"holds {', '.join(held)}; equity {broker.getvalue():,.2f}. Stopping closed nothing."
    )


def _with_alarms(
    bar: Mapping[str, object], watch: DecayWatch, alarms: Alarms
) -> Mapping[str, object]:
    """Return the line of a bar with all alarms since the one before, those of decay included."""
    for alarm in watch.take(bar):
        LOG.warning("%s", alarm)
    if not alarms.told:
        return bar
    told, alarms.told = alarms.told, []
    return {**bar, "alarms": told}


def _cerebro(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    feeds: "_Feeds",
    trading: "Trading",
    ranks: "Ranks",
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
    _add_feeds(cerebro, store, schedules, feeds, trading)
    shared = {
        "checkpoint": str(trading.checkpoint),
        "max_model_age": trading.max_model_age,
        "context": ",".join(feeds.symbols),
        "max_context_age": trading.max_context_age,
        "journal": str(trading.out / JOURNAL),
        "on_stop": trading.on_stop,
        "write": write,
        "bars": trading.bars,
    }
    if ranks.book:
        # Below a lot of the coarsest nothing is traded.
        divided = all(asset.lot < 1 for asset in store.assets.values())
        cerebro.addstrategy(LiveBook, fractional=divided, **ranks.params, **shared)
        return cerebro
    cerebro.addsizer(EquityShare, share=trading.share)
    cerebro.addstrategy(
        LiveStrategy,
        enter=trading.enter,
        exit=trading.exit,
        allow_short=trading.allow_short,
        adopt=True,
        stop_loss=trading.stop_loss,
        trailing=trading.trailing,
        **shared,
    )
    return cerebro


def _add_feeds(
    cerebro: bt.Cerebro,
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    feeds: "_Feeds",
    trading: "Trading",
) -> None:
    """Add a feed for each symbol, and behind them those of other series, which are not traded."""
    histories = {
        symbol: trading.history
        or bars_needed(schedule, store.calendars[symbol], store.interval) * 3 // 2
        for symbol, schedule in schedules.items()
    }
    # Backtrader's first data is one that is traded.
    series = _series_feeds(store, schedules, feeds, histories)
    for symbol, schedule in schedules.items():
        feed = _feed(
            store,
            symbol,
            schedule.checkpoints[-1].stamp,
            broker=cerebro.broker,
            history=histories[symbol],
            keep=feeds.kept.get(symbol),
            after=tuple(series.values()),
        )
        cerebro.adddata(feed, name=symbol)
    for name, feed in series.items():
        cerebro.adddata(feed, name=name)


def _series_feeds(
    store: LiveStore,
    schedules: Mapping[str, Schedule],
    feeds: "_Feeds",
    histories: Mapping[str, int],
) -> dict[str, LiveFeed]:
    """Return a feed for each other series by its name, as far back as the models look."""
    symbols, kept = feeds.symbols, feeds.kept_series
    return {
        name: _feed(store, symbols[name], stamp, since=start, keep=kept.get(name))
        for name, (start, stamp) in series_starts(store, symbols, schedules, histories).items()
    }


def _feed(store: LiveStore, symbol: str, stamp: str, **params: object) -> LiveFeed:
    daily = store.interval >= DAY
    return LiveFeed(  # type: ignore[call-arg]  # Backtrader makes arguments of its params
        dataname=symbol,
        store=store,
        stamp=stamp,
        timeframe=bt.TimeFrame.Days if daily else bt.TimeFrame.Minutes,
        compression=1 if daily else store.interval // MINUTE,
        **params,
    )


def _kept_bars(
    venue: Venue, schedules: Mapping[str, Schedule], trading: "Trading"
) -> dict[str, KeptBars]:
    """Return for each symbol the file of its bars, which are like those of its model."""
    models = {symbol: schedule.checkpoints[-1] for symbol, schedule in schedules.items()}
    return {
        symbol: KeptBars(
            trading.out / "bars" / f"{as_file_name(symbol)}.parquet",
            {
                "instrument": symbol,
                "timezone": model.timezone,
                "stamp": model.stamp,
                "prices": venue.prices(symbol),
            },
        )
        for symbol, model in models.items()
    }


def _kept_series(
    venue: Venue,
    schedules: Mapping[str, Schedule],
    symbols: Mapping[str, str],
    trading: "Trading",
) -> dict[str, KeptBars]:
    """Return for each other series the file of its bars, which is named after it."""
    return {
        series.name: KeptBars(
            trading.out / "series" / f"{series.name}.parquet",
            {
                "instrument": series.name,
                # Of dates a training is told it beside the file.
                "timezone": None if series.clock.dates else series.clock.zone,
                "stamp": series.clock.stamp,
                "prices": venue.prices(symbols[series.name]),
            },
        )
        for schedule in schedules.values()
        for series in series_with_bars(schedule.context)
    }


def _decay_watch(model: Checkpoint, trading: "Trading") -> DecayWatch:
    """Return the watch over forecasts and costs, which has read what earlier runs have written."""
    about = model.label, model.horizon, model.outcome
    watch = DecayWatch(len(trading.symbols), *about, trading.slippage)
    with (
        suppress(FileNotFoundError),
        open(trading.out / LINES, encoding="utf-8", errors="replace") as lines,
    ):
        for line in deque(lines, maxlen=MOST_READ):
            # Their alarms were told. A line that a killed run left torn, that is damaged or of
            # another version says nothing.
            with suppress(ValueError, KeyError, TypeError, ArithmeticError):
                watch.take(json.loads(line))
    return watch


class _Feeds(NamedTuple):
    """What the feeds are of: the symbols of other series, and what is kept of all bars, by name."""

    symbols: Mapping[str, str]
    kept: Mapping[str, KeptBars]
    kept_series: Mapping[str, KeptBars]


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
def _held(out: Path) -> Iterator[None]:
    """Hold the folder of a run, which must take its files, against other runs."""
    for name in (LINES, JOURNAL, PAGE):
        require_writable(out / name)
    refusal = OutputInUse(
        f"{out} must be the folder of one run at a time, and another one trades in it. Stop that "
        "one, or give another `out`, and another `tag` on the same account."
    )
    with locked(out / LOCK, refusal, out):
        yield


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
            f"{listed(found.values())}. Trade the others in a run with a `tag` of its own."
        )
    return next(iter(found))
