"""The command that is an exchange in a box: bars replayed as a live market on this machine.

python backtests/exchange.py --data bars.csv --live-from 2018-01-02 --speed lockstep
"""

import asyncio
import os
import signal
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console

from backtests.exchange_box.faults import FaultPlan, random_faults, read_faults
from backtests.exchange_box.market import Market, is_crypto
from backtests.exchange_box.matching import Listing, TradingAccount
from backtests.exchange_box.wire import ACCOUNT_NUMBER
from backtests.simulation.account import Costs
from model.bars.faults import count
from model.bars.intervals import day
from model.cli import ACCOUNT_AND_COSTS, DATA, VERSION, BarsOptions, bar_files, run
from model.settings import number, optional, require, whole

if TYPE_CHECKING:
    from backtests.exchange_box.server import Exchange

HOST = "127.0.0.1"
KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
BOX = "box"  # key and secret where the environment has none
FRACTION = 1e-9  # of a unit, the smallest part that Alpaca trades of what it divides

app = App(version=VERSION, name="backtests/exchange.py")
console = Console(highlight=False, soft_wrap=True)


@app.default
def exchange(
    bars_options: Annotated[BarsOptions, Parameter(name="*", group=DATA)] = BarsOptions(),
    *,
    live_from: str | None = None,
    symbol: str | None = None,
    speed: str = "lockstep",
    port: int = 8765,
    fractional: Annotated[bool, Parameter(negative=())] = False,
    no_shorts: Annotated[bool, Parameter(negative=())] = False,
    faults: Path | None = None,
    seed: int | None = None,
    fault_rate: float = 0.02,
    cash: Annotated[float, Parameter(group=ACCOUNT_AND_COSTS)] = 100_000.0,
    costs: Annotated[Costs, Parameter(name="*", group=ACCOUNT_AND_COSTS)] = Costs(),
) -> None:
    """Replay bars as a live market that speaks Alpaca's protocol, on this machine alone.

    The key and the secret it lets in are those of the environment, APCA_API_KEY_ID and
    APCA_API_SECRET_KEY, else "box" and "box".

    Parameters
    ----------
    live_from
        The date or time from which on bars are live; before it they are history. Default: the last
        fifth.
    symbol
        What the instrument is called; a pair with a slash, as BTC/USD, never closes. Default: the
        instrument's name in capitals.
    speed
        "real", a factor like 60, or "lockstep": time passes when a client asks for the clock.
    port
        Where it listens.
    fractional
        Let parts of a unit be traded.
    no_shorts
        Refuse to sell what is not held.
    faults
        A script of faults in TOML.
    seed
        Play faults at random with this seed.
    fault_rate
        How many faults at random come per bar.
    cash
        Money at the start.
    """
    require(
        {"port": port, "seed": seed, "fault_rate": fault_rate, "cash": cash},
        {
            "port": whole(1, 65_535),
            "seed": optional(whole(0)),
            "fault_rate": number(above=0, below=1),
            "cash": number(above=0),
        },
    )
    try:
        server = import_module("backtests.exchange_box.server")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the exchange needs the package {error.name}, which is not there: "
            "pip install 'backtrader-bilstm[live]'."
        ) from None
    pace = _pace(speed)
    scripted = read_faults(faults) if faults else []
    market = _market(bars_options, symbol, live_from)
    replayed = len(market.steps) - market.first_live
    if seed is not None:
        scripted += random_faults(seed, replayed, fault_rate)
    listings = {
        name: Listing(
            name,
            lot=FRACTION if fractional else 1.0,
            shortable=not no_shorts and not is_crypto(name),
            crypto=is_crypto(name),
        )
        for name in market.symbols
    }
    keys = (os.environ.get(KEYS[0]) or BOX, os.environ.get(KEYS[1]) or BOX)
    box = server.Exchange(
        market,
        TradingAccount(cash, costs, listings),
        number=ACCOUNT_NUMBER,
        keys=keys,
        speed=pace,
        faults=FaultPlan(scripted),
    )
    first = day(market.steps[market.first_live].opens.tz_localize(None))
    console.print(
        f"http://{HOST}:{port}: {', '.join(market.symbols)}, bars of "
        f"{server.timeframe_of(market.interval)}, {market.first_live} of history, {replayed} live "
        f"from {first} UTC, speed {speed}, {costs}, {count(len(scripted), 'fault')}. Ctrl-C ends "
        "it.",
        markup=False,
    )
    asyncio.run(serve(server, box, port))


def _pace(speed: str) -> float | None:
    """Return how many seconds of the market pass in one, None for lockstep."""
    if speed == "lockstep":
        return None
    try:
        pace = 1.0 if speed == "real" else float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise ValueError(f'`speed` must be "real", a factor above 0 or "lockstep", got {speed!r}.')
    return pace


def _market(options: BarsOptions, symbol: str | None, live_from: str | None) -> Market:
    files = bar_files([options.data]) if options.data else []
    sources = [replace(options, data=file) for file in files] if len(files) > 1 else [options]
    if symbol and len(sources) > 1:
        raise ValueError(
            "`symbol` must be left out with several files: each is called after its file."
        )
    bars = {symbol or source.file_name.upper(): source.read() for source in sources}
    index = next(iter(bars.values())).index
    try:
        first = index[len(index) * 4 // 5] if live_from is None else pd.Timestamp(live_from)
    except ValueError:
        raise ValueError(
            f"`live_from` must be a date or a time, like 2018-01-02, got {live_from!r}."
        ) from None
    return Market(bars, pd.Timestamp(first))


async def serve(server: ModuleType, box: "Exchange", port: int) -> None:
    """Serve until the process is told to end."""
    runner = await server.listen(box, HOST, port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    run(app)
