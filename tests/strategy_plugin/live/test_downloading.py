"""The history of a venue becomes bars to train on, which know what kind of prices they hold."""

from functools import partial
from typing import Any

import pandas as pd
import pytest

from model import read_bars
from strategy_plugin.history import app
from tests.helpers import commands
from tests.helpers.exchanges import exchange_of, minute_bars
from tests.helpers.makers import random_bars

DAYS = random_bars(330, start="2022-01-03", freq="B")
MINUTES = minute_bars(45, 60)
pytestmark = pytest.mark.usefixtures("exchange_keys")
ended = partial(commands.ended, app)


def test_days_are_saved_with_what_they_are_and_gone_on_from(capsys: Any) -> None:
    with exchange_of(DAYS, DAYS.index[300]) as (box, url):
        words = ("--symbols", "SPY", "--since", "2022-01-10", "--url", url)
        code, out, err = ended(capsys, *words)
        assert (code, err) == (0, "") and out == "bars/SPY.parquet: 295 bars to 2023-02-24\n"
        box.pass_over(5)
        _, out, _ = ended(capsys, *words)
    assert "300 bars" in out
    bars = read_bars("bars/SPY.parquet")
    pd.testing.assert_frame_equal(bars, DAYS[5:305], check_freq=False, check_names=False)
    said = {"instrument": "SPY", "timezone": None, "stamp": "open", "prices": "alpaca iex raw"}
    assert {name: bars.attrs[name] for name in said} == said


def test_longer_bars_are_made_of_minutes_over_several_requests(capsys: Any) -> None:
    with exchange_of(MINUTES, MINUTES.index[-30]) as (_, url):
        words = ("--symbols", "SPY", "--since", "2024-01-01", "--interval", "15min", "--url", url)
        code, _, err = ended(capsys, *words, "--out", "minutes")
    assert code == 0, err
    bars = read_bars("minutes/SPY.parquet", minimum_bars=None)
    quarters = (
        MINUTES[:-30].groupby(pd.Grouper(freq="15min")).agg({"open": "first", "volume": "sum"})
    )
    expected = quarters.dropna()
    assert bars.attrs["timezone"] == "UTC" and len(bars) == 45 * 4 - 2
    assert bars["open"].tolist() == expected["open"].tolist()
    assert bars["volume"].tolist() == expected["volume"].tolist()


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (["--since", "soon"], 2, "--since must be a date, as 2016-01-01, got 'soon'"),
        (["--interval", "2days"], 2, "--interval must be whole minutes up to a day"),
        (["--interval", "fast"], 2, "--interval must be whole minutes up to a day"),
        (["--symbols", "QQQ"], 10, "asset not found for QQQ"),
        (["--since", "2030-01-01"], 3, "SPY has no finished bar since 2030-01-01"),
        (["--url", "http://127.0.0.1:9"], 10, "alpaca gave no answer on the asset SPY"),
    ],
)
def test_bad_input_is_one_message_and_one_code(
    given: list[str], code: int, message: str, capsys: Any
) -> None:
    with exchange_of(DAYS, DAYS.index[300]) as (_, url):
        words = {"--symbols": "SPY", "--since": "2022-01-10", "--url": url} | {given[0]: given[1]}
        found, _, err = ended(capsys, *(word for pair in words.items() for word in pair))
    assert found == code and message in err.replace("\n", " ") and err.count("error:") == 1
