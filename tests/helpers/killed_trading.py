"""Trading that is killed, in a program of its own.

python -m tests.helpers.killed_trading N SEED forked|cold

A parent that has imported everything forks an exchange, and one trader after the other: each is
killed by SIGKILL, before or after one of its requests or at a random time, until N of them were;
the last one goes on to the end. A cold trader is a new process of Python instead. Prints as JSON
what the exchange then holds, and what it holds after a run that nobody disturbed.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

import pandas as pd
import requests
from requests.adapters import HTTPAdapter

from backtests.exchange_box.server import listen
from tests.helpers.commands import KEYS
from tests.helpers.exchanges import box_of, minute_bars, traded_live

SESSION = 390  # bars
REQUESTS = (9, 24)  # within which a trader dies; a start takes some ten
LONGEST = 0.35  # seconds that a trader lives which dies by the clock
MOST_LIVED = 20  # bars of a life in the mean: some seven by requests, up to fifty by the clock


def forked(act: Callable[[], object]) -> int:
    number = os.fork()
    if not number:
        try:
            act()
        finally:
            os._exit(1)
    return number


def served(write: int, bars: pd.DataFrame) -> NoReturn:
    """Serve an exchange until this process is killed."""

    async def serve() -> None:
        runner = await listen(box_of(bars, bars.index[SESSION]), "127.0.0.1", 0)
        os.write(write, f"{runner.addresses[0][1]}\n".encode())
        await asyncio.Event().wait()

    asyncio.run(serve())
    raise AssertionError("it is served for ever")


def trade(url: str, last: pd.Timestamp, die_at: int | None, before: bool) -> None:
    """Trade to the end, or until the request at which this process dies."""
    warnings.simplefilter("ignore")
    calls, send = count(1), HTTPAdapter.send

    def deadly(self: Any, *arguments: Any, **options: Any) -> Any:
        number = next(calls)
        if number == die_at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = send(self, *arguments, **options)
        if number == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    HTTPAdapter.send = deadly  # type: ignore[method-assign]
    traded_live(url, until=last.tz_localize(None).to_pydatetime())
    os._exit(0)


def cold(url: str, last: pd.Timestamp, die_at: int | None, before: bool) -> int:
    """Start `trade` in a process that has imported nothing yet."""
    words = (url, last.isoformat(), die_at or 0, int(before))
    return subprocess.Popen([sys.executable, "-m", __spec__.name, *map(str, words)]).pid


def state_after(bars: pd.DataFrame, kills: int, seed: int, start: str) -> dict[str, Any]:
    """Trade at an exchange of its own with so many kills; return what it then holds."""
    read, write = os.pipe()
    exchange = forked(lambda: served(write, bars))
    try:
        with os.fdopen(read) as ports:
            url = f"http://127.0.0.1:{int(ports.readline())}"
        draw, killed = random.Random(seed), 0
        for attempt in count():
            # How long a cold one takes to begin nobody knows.
            by_clock = attempt % 3 == 2 and start == "forked"
            die_at = None if by_clock or killed >= kills else draw.randint(*REQUESTS)
            before = draw.random() < 0.5
            life = url, bars.index[-2], die_at, before
            trader = forked(lambda: trade(*life)) if start == "forked" else cold(*life)
            if by_clock and killed < kills:
                time.sleep(draw.uniform(0.02, LONGEST))
                os.kill(trader, signal.SIGKILL)
            if not os.WIFSIGNALED(os.waitpid(trader, 0)[1]):
                break
            killed += 1
        return {"killed": killed, **_state(url)}
    finally:
        os.kill(exchange, signal.SIGKILL)
        os.waitpid(exchange, 0)


def _state(url: str) -> dict[str, Any]:
    headers = {"APCA-API-KEY-ID": KEYS[0], "APCA-API-SECRET-KEY": KEYS[1]}

    def get(path: str) -> Any:
        return requests.get(f"{url}/v2/{path}", headers=headers, timeout=5).json()

    orders = get("orders?status=all&direction=asc&limit=100000")
    facts = ("client_order_id", "qty", "side", "status", "filled_avg_price")
    return {
        "orders": [[order[fact] for fact in facts] for order in orders],
        "cash": get("account")["cash"],
        "positions": [[one["symbol"], one["qty"]] for one in get("positions")],
    }


if __name__ == "__main__" and sys.argv[1].startswith("http"):
    address, last, die_at, before = sys.argv[1:]
    trade(address, pd.Timestamp(last), int(die_at) or None, before == "1")
elif __name__ == "__main__":
    kills, seed, start = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    # More bars than the lives can last, on a fast machine as well: the last trader ends by itself.
    lived = MOST_LIVED * kills + 40
    bars = minute_bars(3 + lived // SESSION, SESSION).iloc[: SESSION + lived]
    both = {
        "undisturbed": state_after(bars, 0, 0, "forked"),
        "disturbed": state_after(bars, kills, seed, start),
    }
    print(json.dumps(both))
