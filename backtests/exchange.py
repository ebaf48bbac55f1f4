"""The command that is an exchange in a box: bars replayed as a live market on this machine.

python backtests/exchange.py --data bars.csv --live-from 2018-01-02 --speed lockstep
"""

import asyncio
import math
import os
import signal
from dataclasses import dataclass
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
from model.cli import ACCOUNT_AND_COSTS, DATA, VERSION, BarsOptions, bar_files, run, sources_of
from model.settings import number, optional, require_fields, whole

if TYPE_CHECKING:
    from backtests.exchange_box.server import Exchange

HOST = "127.0.0.1"
KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
BOX = "box"  # key and secret where the environment has none
FRACTION = 1e-9  # of a unit, the smallest part that Alpaca trades of what it divides

app = App(version=VERSION, name="backtests/exchange.py")
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Replay:
    """How bars are replayed; every field is a flag of the command.

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

    live_from: str | None = None
    symbol: str | None = None
    speed: str = "lockstep"
    port: Annotated[int, whole(1, 65_535)] = 8765
    fractional: Annotated[bool, Parameter(negative=())] = False
    no_shorts: Annotated[bool, Parameter(negative=())] = False
    faults: Path | None = None
    seed: Annotated[int | None, optional(whole(0))] = None
    fault_rate: Annotated[float, number(above=0, below=1)] = 0.02
    cash: Annotated[float, number(above=0)] = 100_000.0

    def __post_init__(self) -> None:
        require_fields(self)
        if not 0 < self.pace < math.inf:
            raise ValueError(
                f'`speed` must be "real", a factor above 0 or "lockstep", got {self.speed!r}.'
            )

    @property
    def pace(self) -> float:
        """How many seconds of the market pass in one; in lockstep that is not asked for."""
        try:
            return 1.0 if self.speed in ("real", "lockstep") else float(self.speed)
        except ValueError:
            return 0.0

    def listing(self, symbol: str) -> Listing:
        # Alpaca lends no coins: a pair cannot be sold short.
        pair = is_crypto(symbol)
        lot = FRACTION if self.fractional else 1.0
        return Listing(symbol, lot, shortable=not self.no_shorts and not pair, crypto=pair)


@app.default
def exchange(
    bars_options: Annotated[BarsOptions, Parameter(name="*", group=DATA)] = BarsOptions(),
    *,
    replay: Annotated[Replay, Parameter(name="*")] = Replay(),
    costs: Annotated[Costs, Parameter(name="*", group=ACCOUNT_AND_COSTS)] = Costs(),
) -> None:
    """Replay bars as a live market that speaks Alpaca's protocol, on this machine alone.

    The key and the secret it lets in are those of the environment, APCA_API_KEY_ID and
    APCA_API_SECRET_KEY, else "box" and "box".
    """
    try:
        # An extra: whoever only backtests need not install a web server.
        server = import_module("backtests.exchange_box.server")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the exchange needs the package {error.name}, which is not there: "
            "pip install 'backtrader-bilstm[live]'."
        ) from None
    faults = read_faults(replay.faults) if replay.faults else []
    market = _market(bars_options, replay)
    replayed = len(market.steps) - market.first_live
    if replay.seed is not None:
        faults += random_faults(replay.seed, replayed, replay.fault_rate)
    listings = {symbol: replay.listing(symbol) for symbol in market.symbols}
    box = server.Exchange(
        market,
        TradingAccount(replay.cash, costs, listings),
        number=ACCOUNT_NUMBER,
        keys=tuple(os.environ.get(name) or BOX for name in KEYS),
        speed=None if replay.speed == "lockstep" else replay.pace,
        faults=FaultPlan(faults),
    )
    first = day(market.steps[market.first_live].opens.tz_localize(None))
    what = (
        f"http://{HOST}:{replay.port}: {', '.join(market.symbols)}, bars of "
        f"{server.timeframe_of(market.interval)}, {market.first_live} of history, {replayed} live "
        f"from {first} UTC, speed {replay.speed}, {costs}, {count(len(faults), 'fault')}. Ctrl-C "
        "ends it."
    )
    asyncio.run(serve(server, box, replay.port, what))


def _market(options: BarsOptions, replay: Replay) -> Market:
    files = bar_files([options.data]) if options.data else []
    sources = [options] if len(files) < 2 else sources_of(options, files)
    if replay.symbol and len(sources) > 1:
        raise ValueError(
            "`symbol` must be left out with several files: each is called after its file."
        )
    bars = {replay.symbol or source.file_name.upper(): source.read() for source in sources}
    index = next(iter(bars.values())).index
    try:
        given = index[len(index) * 4 // 5] if replay.live_from is None else replay.live_from
        first = pd.Timestamp(given)
    except ValueError:
        raise ValueError(
            f"`live_from` must be a date or a time, like 2018-01-02, got {replay.live_from!r}."
        ) from None
    return Market(bars, first)


async def serve(server: ModuleType, box: "Exchange", port: int, what: str) -> None:
    """Serve until the process is told to end; `what` is printed once it does."""
    runner = await server.listen(box, HOST, port)
    console.print(what, markup=False)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # So that clients see the connection closed, and not a machine that is gone.
    for ending in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(ending, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    run(app)
