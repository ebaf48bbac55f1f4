"""The time from a live bar to its order: our share of it, and that of the client and the venue.

Both are of the same bars, at an exchange in a box in a process of its own. A side of the benchmark.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd

from backtests.benchmarks.engine import bars_of
from backtests.benchmarks.rounds import Sample, Samples, Size, scratch
from backtests.benchmarks.trading import TRADING, WINDOW, model
from model.runtime import torch_threads
from strategy_plugin.decision import Reading
from strategy_plugin.instrument import TradedData
from strategy_plugin.live.broker import LiveBroker
from strategy_plugin.live.connecting import KEYS, VENUES
from strategy_plugin.live.feed import LiveFeed
from strategy_plugin.live.live_strategy import LiveStrategy
from strategy_plugin.live.store import LiveStore, Pace, assets_of
from strategy_plugin.live.venue import MINUTE, Venue, VenueError

SYMBOL = "BTC/USD"  # it never closes
BOX = "box"  # key and secret
QUICK = Pace(idle=0.3, poll=0.3, settle=0.0)
SECONDS_TO_START = 60.0
NEEDED = WINDOW + 1  # bars of the first forecast
WARM_UP = 5  # orders that are not counted


class Restless(LiveStrategy):
    """Opens and closes in turn, so that each bar has an order; the model is asked all the same."""

    def decide(self, instrument: TradedData, reading: Reading) -> tuple[int, str]:
        _, reason = super().decide(instrument, reading)
        return (instrument.orders.held if reason else 1 - instrument.orders.held), reason


def ordering(size: Size) -> list[Samples]:
    """Trade so many bars; return our share of the time to each order, and that of the client.

    Both go by the clock: the client waits, and works in other threads.
    """
    folder = scratch()
    bars = bars_of(0, size.ours + NEEDED)
    minutes = pd.date_range("2020-01-01", periods=len(bars), freq="min", tz="UTC", unit="ns")
    bars.set_axis(minutes).to_csv(folder / "minutes.csv")
    checkpoint = folder / "minutes.ckpt"
    replace(
        model(), bar_interval=pd.Timedelta(MINUTE), timezone="UTC", instrument=None, golden=None
    ).save(checkpoint)
    lines: list[Mapping[str, Any]] = []
    with torch_threads(1), exchange(folder / "minutes.csv", minutes[NEEDED]) as venue:
        store = LiveStore(venue, assets_of(venue, [SYMBOL], shorts=False), MINUTE, QUICK)
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.broker = broker = LiveBroker(store=store)
        feed: Any = LiveFeed  # Backtrader makes arguments of its params
        how = {"store": store, "broker": broker, "history": NEEDED, "qcheck": 0.05}
        cerebro.adddata(feed(dataname=SYMBOL, timeframe=bt.TimeFrame.Minutes, **how), SYMBOL)
        rules = TRADING | {"checkpoint": str(checkpoint), "in_sample": "trade"}
        cerebro.addstrategy(Restless, write=lines.append, bars=size.ours - 1, **rules)
        cerebro.run()
    ordered = [line for line in lines if line["order"][:1] in ("+", "-")][WARM_UP:]
    shares = [
        (
            line["milliseconds"] - line["milliseconds at the venue"],
            line["milliseconds at the venue"],
        )
        for line in ordered
    ]
    return [
        Samples([Sample(1, share / 1e3, share / 1e3) for share in side])
        for side in zip(*shares, strict=True)
    ]


@contextmanager
def exchange(file: Path, live_from: pd.Timestamp) -> Iterator[Venue]:
    """Start an exchange in a box that replays a file, and give its venue."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("--data", file, "--symbol", SYMBOL, "--live-from", live_from, "--port", port)
    process = subprocess.Popen(
        [sys.executable, "-m", "backtests.exchange", "--fractional", *map(str, words)],
        env=os.environ | dict.fromkeys(KEYS, BOX),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield _reached(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


def _reached(url: str, process: subprocess.Popen[bytes]) -> Venue:
    """Return the venue at an address, as soon as it answers; VenueError where its process ends."""
    # Its room is imported here: what it needs is an extra.
    venue: Venue = import_module(VENUES["alpaca"]).connect(BOX, BOX, url=url)
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            venue.account()
            return venue
        except VenueError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.1)
