"""The command that trades, with ranks: a book of several names by one checkpoint."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backtests.exchange_box.market import Market
from backtests.exchange_box.matching import Listing, TradingAccount
from backtests.exchange_box.server import Exchange
from strategy_plugin import replay
from strategy_plugin.live.limits import STOP
from strategy_plugin.live.reconciling import reconcile
from strategy_plugin.trade import app
from tests.helpers import commands
from tests.helpers.commands import KEYS
from tests.helpers.exchanges import COSTS, served
from tests.helpers.makers import random_bars, random_checkpoint

UNIVERSE = {
    name: random_bars(270, seed, start="2022-01-03", freq="B") for seed, name in enumerate("ABC")
}
FIRST = UNIVERSE["A"].index[200]
BOOK = ("--book", "--long", 1, "--short", 1, "--fewest", 3, "--history", 151)


@pytest.fixture(autouse=True)
def _(exchange_keys: None) -> None:
    random_checkpoint(UNIVERSE["A"]).save("one.ckpt")


@pytest.fixture
def market() -> Iterator[tuple[Exchange, str]]:
    account = TradingAccount(100_000.0, COSTS, {name: Listing(name) for name in UNIVERSE})
    box = Exchange(Market(UNIVERSE, pd.Timestamp(FIRST)), account, number="PA1", keys=KEYS)
    with served(box) as url:
        yield box, url


def ended(capsys: Any, *words: object) -> tuple[int, list[dict[str, Any]], str, str]:
    code, out, err = commands.ended(
        app, capsys, "--symbols", *UNIVERSE, "--checkpoint", "one.ckpt", *words
    )
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return code, lines, out, err


def test_ranks_are_traded_as_in_the_backtest(market: Any, capsys: Any) -> None:
    box, url = market
    costs = ("--commission", COSTS.commission, "--slippage", COSTS.in_price * 1e4)
    code, lines, out, err = ended(capsys, *BOOK, *costs, "--url", url, "--bars", 9)
    assert code == 0, err
    assert "A: ranked at the close of 2022-10-07, now flat, probability of up" in out
    assert len(lines) == 27 and {line["symbol"] for line in lines} == {*"ABC"}
    held = {tuple(one["position"] for one in lines[start : start + 3]) for start in range(0, 27, 3)}
    assert len(held) > 2 and {order.side for order in box.account.orders.values()} == {
        "buy",
        "sell",
    }
    assert not replay("runs/live/decisions.jsonl").differences
    found = reconcile("runs/live/decisions.jsonl", UNIVERSE)
    assert not found.differences and len(found.steps) == 27
    for step in found.steps:
        assert step.position == step.backtest_position
        assert step.equity == pytest.approx(step.backtest_equity, rel=1e-9)


@pytest.mark.parametrize("on_stop", ["flat", "keep"])
def test_a_frozen_book_stays_as_it_is_or_is_closed(on_stop: str, market: Any, capsys: Any) -> None:
    box, url = market
    ended(capsys, *BOOK, "--url", url, "--bars", 2)
    before = {name: held.size for name, held in box.account.holdings.items()}
    # While the next run is at work.
    box.faults.take = lambda *_: Path("runs/live", STOP).touch()
    code, lines, _, err = ended(capsys, *BOOK, "--url", url, "--bars", 4, "--on-stop", on_stop)
    assert code == 0 and lines[-1]["frozen"], err
    frozen = [line for line in lines if line["frozen"]]
    after = {name: held.size for name, held in box.account.holdings.items()}
    if on_stop == "flat":
        assert len(before) == 2 and not after
    else:
        assert after and not [line for line in frozen[3:] if line["order"]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("--book", "--enter", 0.6, "--share", 0.5),
            "--enter, --share must be left out with --book",
        ),
        (("--long", 1), "--long must be left out without --book, as nothing goes by it then"),
        (("--book", "--long", 2, "--short", 2), "must have at least 4 names, got 3"),
        (("--book", "--keep", 0.5), "--keep must be a finite number from 1, got 0.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    given: tuple[object, ...], message: str, market: Any, capsys: Any
) -> None:
    code, _, _, err = ended(capsys, *given, "--url", market[1])
    assert code == 2 and message in err.replace("\n", " ")
