"""The command that trades: what it finds and refuses, how it stops, and that it tells no keys."""

import json
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from model.labels.barrier import Barrier
from strategy_plugin import replay
from strategy_plugin.live.decay import DecayWatch
from strategy_plugin.live.limits import STOP
from strategy_plugin.trade import app
from tests.helpers import commands
from tests.helpers.commands import KEYS
from tests.helpers.decaying import lines as decaying_lines
from tests.helpers.exchanges import exchange_of
from tests.helpers.makers import random_bars, random_checkpoint
from tests.helpers.processes import environment

DAYS = random_bars(330, start="2022-01-03", freq="B")
FIRST = DAYS.index[260]
pytestmark = pytest.mark.usefixtures("exchange_keys")
ended = partial(commands.ended, app)


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of daily bars that has seen none of those that are live."""
    path = tmp_path_factory.mktemp("models") / "daily.ckpt"
    random_checkpoint(DAYS, instrument="SPY").save(path)
    return path


def lines_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_daily_bars_are_traded_once_their_day_is_over(daily: Path, capsys: Any) -> None:
    with exchange_of(DAYS, FIRST) as (box, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--bars", 25)
        code, out, err = ended(capsys, *words, "--enter", 0.5, "--exit", 0.5)
    assert code == 0, err
    report, lines = (
        out.partition("{")[0],
        [json.loads(line) for line in out.splitlines() if "{" in line],
    )
    for said in ("PA123, paper", "cash 100,000.00", "holds         none", "1 day", "daily.ckpt"):
        assert said in report
    first = lines[0]
    assert f"SPY: {'long' if first['wanted'] else 'flat'} at the close of {first['bar']}" in report
    assert f"now flat, probability of up {first['probability']:.4f}" in report
    dates = DAYS.index[259:284].strftime("%Y-%m-%d").tolist()
    assert [line["bar"] for line in lines] == dates
    closes = DAYS["close"].iloc[259:284].tolist()
    assert [line["close"] for line in lines] == closes  # never of a day that grows
    expected = random_checkpoint(DAYS, instrument="SPY").probabilities(DAYS).loc[dates]
    assert [line["probability"] for line in lines] == pytest.approx(expected.tolist(), abs=2e-6)
    assert len(box.account.orders) > 2
    assert lines_of(Path("runs/live/bars.jsonl").read_text()) == lines
    assert "done: 25 live bars" in out
    assert dates[-1] in Path("runs/live/status.html").read_text()
    settings = Path("runs/live/settings.toml")
    code, printed, _ = ended(capsys, "--config", settings, "--print-config")
    assert (code, printed) == (0, settings.read_text()) and 'symbols = [\n    "SPY",\n]' in printed
    decisions, differences = replay("runs/live/decisions.jsonl")
    assert decisions > 200 and not differences


def test_a_dry_run_says_what_it_would_send(daily: Path, capsys: Any) -> None:
    with exchange_of(DAYS, FIRST) as (box, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--bars", 9, "--dry-run")
        code, out, _ = ended(capsys, *words, "--enter", 0.5, "--exit", 0.5)
    assert code == 0 and not box.account.orders
    assert "dry run: nothing is sent" in out and '"not sent": ["+' in out


def test_a_lost_edge_is_an_alarm_in_every_place(daily: Path, capsys: Any) -> None:
    """An earlier run is gone on from whose forecasts came true no more often than chance."""
    folder = Path("runs/live")
    folder.mkdir(parents=True)
    told = (line for line, *_ in decaying_lines(1.0, 2_000, seed=2, change=0))
    eye, written = DecayWatch(1, "open", 1, "direction", 1.0), []
    for line in told:  # up to the bar before the one on which it would be told
        alarms = eye.take(line)
        written.append(json.dumps(line))
        if any("edge" in alarm for alarm in alarms):
            break
    (folder / "bars.jsonl").write_text("\n".join([*written[:-1], '{"torn']) + "\n")
    with exchange_of(DAYS, FIRST) as (_, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--bars", 40)
        code, out, err = ended(capsys, *words)
    assert code == 0, err
    said = "the forecasts have lost their edge"
    assert said in err and said in (folder / "status.html").read_text()
    assert [line for line in lines_of(out) if said in str(line.get("alarms"))]


def test_a_file_stop_closes_or_keeps_and_nothing_is_opened(daily: Path, capsys: Any) -> None:
    words = ("--symbols", "SPY", "--checkpoint", daily, "--enter", 0.5, "--exit", 0.5)
    folder = Path("runs/live")
    with exchange_of(DAYS, FIRST) as (box, url):
        _, out, err = ended(capsys, *words, "--url", url, "--bars", 12, "--max-order", 10.0)
        assert "A person is needed" in err and '"alarms": ["the run is frozen: an order of' in out
        assert ' "bilstm-SPY-' in out  # and which order it was
        assert "A person" in (folder / "status.html").read_text()
        assert not box.account.orders and "`max_order` is 10.00" in (folder / STOP).read_text()
        code, _, err = ended(capsys, *words, "--url", url)
        assert code == 2 and "must not be there at the start: an order of" in err


@pytest.mark.parametrize(("on_stop", "held"), [("flat", 0), ("keep", 1)])
def test_a_file_stop_that_a_person_lays_down_closes_or_keeps(
    on_stop: str, held: int, daily: Path, capsys: Any
) -> None:
    rules = ("--enter", 0.5, "--exit", 0.5, "--on-stop", on_stop)
    words = ("--symbols", "SPY", "--checkpoint", daily, *rules)
    with exchange_of(DAYS, FIRST) as (box, url):
        for _ in range(20):
            if box.account.holdings:
                break
            ended(capsys, *words, "--url", url, "--bars", 2)
        assert box.account.holdings
        box.faults.take = lambda *_: Path(
            "runs/live", STOP
        ).touch()  # while the next run is at work
        code, out, _ = ended(capsys, *words, "--url", url, "--bars", 12)
    lines = lines_of(out)
    assert code == 0 and lines[-1]["frozen"] == f"there is a file runs/live/{STOP}"
    assert bool(box.account.holdings) == bool(held) or lines[-1]["probability"] < 0.5
    assert not [line for line in lines[1:] if line["order"].startswith("+")]


FAULTS: dict[str, tuple[list[str], int, str]] = {
    "an unknown symbol": (["--symbols", "QQQ"], 10, "asset not found for QQQ (404)"),
    "a wrong account": (
        ["--account", "PA9"],
        2,
        "--account must be the one that the keys belong to",
    ),
    "real money": (["--live"], 2, "--account must be given with --live"),
    "thresholds": (["--enter", "0.5", "--exit", "0.6"], 2, "0.5 <= exit <= enter < 1"),
    "a share": (["--share", "0"], 2, "--share must be a finite number above 0, got 0"),
    "an address": (["--url", "http://example.com"], 2, "--url must be https, or http on this"),
    "a limit": (
        ["--orders-per-minute", "0"],
        2,
        "--orders-per-minute must be a whole number from 1",
    ),
    "no checkpoint": (["--checkpoint", "none.ckpt"], 4, "none.ckpt"),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_bad_input_is_one_message_and_one_code(
    case: tuple[list[str], int, str], daily: Path, capsys: Any
) -> None:
    given, code, message = case
    words = {"--symbols": "SPY", "--checkpoint": str(daily)}
    with exchange_of(DAYS, FIRST) as (_, url):
        words = {
            name: value for name, value in (words | {"--url": url}).items() if name not in given
        }
        found, out, err = ended(capsys, *(word for pair in words.items() for word in pair), *given)
    assert found == code and message in err.replace("\n", " ")
    assert err.count("error:") == 1 and "Traceback" not in err and "{" not in out


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        (("", ""), 2, "APCA_API_KEY_ID and APCA_API_SECRET_KEY must be set in the environment"),
        (("wrong", "keys"), 10, "alpaca refuses these keys (401)"),
    ],
)
def test_no_keys_and_wrong_keys_end_it_at_once(
    keys: Any, code: int, message: str, daily: Path, capsys: Any, monkeypatch: Any
) -> None:
    for name, value in zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), keys):
        monkeypatch.setenv(name, value)
    with exchange_of(DAYS, FIRST) as (_, url):
        found, _, err = ended(capsys, "--symbols", "SPY", "--checkpoint", daily, "--url", url)
    assert found == code and message in err


def test_a_folder_has_one_trader(daily: Path, capsys: Any) -> None:
    Path("runs/live").mkdir(parents=True)
    with exchange_of(DAYS, FIRST) as (box, url), FileLock("runs/live/lock"):
        code, out, err = ended(capsys, "--symbols", "SPY", "--checkpoint", daily, "--url", url)
    assert code == 7 and not out and not box.account.orders
    assert "runs/live must be the folder of one run at a time" in err and "--tag" in err


def test_a_folder_that_cannot_be_one_is_said(daily: Path, capsys: Any) -> None:
    Path("file").write_text("")
    with exchange_of(DAYS, FIRST) as (_, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--out", "file/run")
        code, out, err = ended(capsys, *words)
    assert (code, out, err.count("error:")) == (6, "", 1) and "file/run/bars.jsonl" in err


def test_damaged_lines_and_a_damaged_journal_do_not_keep_it_from_trading(
    daily: Path, capsys: Any
) -> None:
    folder = Path("runs/live")
    folder.mkdir(parents=True)
    damage = b'\xff\xfe\x00\nnull\n[1]\n"a"\n{"bar": 1}\n{"bar": "2020'
    (folder / "bars.jsonl").write_bytes(damage)
    (folder / "decisions.jsonl").write_bytes(damage)
    with exchange_of(DAYS, FIRST) as (_, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--bars", 3)
        code, out, err = ended(capsys, *words)
    assert code == 0, err
    kept = (folder / "bars.jsonl").read_bytes()
    assert kept.startswith(damage + b"\n")
    assert kept.decode(errors="replace").splitlines()[-3:] == out.splitlines()[-4:-1]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"tradable": False}, "SPY is not tradable at alpaca."),
        ({"shortable": False}, "SPY cannot be sold short at alpaca; leave shorts out."),
    ],
)
def test_what_the_venue_does_not_trade_is_said_before_anything_is_done(
    listed: dict[str, bool], message: str, daily: Path, capsys: Any
) -> None:
    with exchange_of(DAYS, FIRST, **listed) as (box, url):
        words = ("--symbols", "SPY", "--checkpoint", daily, "--url", url, "--allow-short")
        code, out, err = ended(capsys, *words)
    assert (code, out) == (10, "") and message in err and not box.account.orders


def test_a_model_of_an_interval_that_is_not_there_is_said(tmp_path: Path, capsys: Any) -> None:
    random_checkpoint(random_bars(300, freq="5min"), golden=False).save(tmp_path / "minutes.ckpt")
    with exchange_of(DAYS, FIRST) as (_, url):
        words = ("--symbols", "SPY", "--checkpoint", tmp_path / "minutes.ckpt", "--url", url)
        code, _, err = ended(capsys, *words)
    assert code == 10 and "bars of 1Min are not here, only those of 1Day" in err


def test_a_venue_that_cannot_be_reached_is_said(daily: Path, capsys: Any) -> None:
    words = ("--symbols", "SPY", "--checkpoint", daily, "--url", "http://127.0.0.1:9")
    code, _, err = ended(capsys, *words)
    assert code == 10 and "alpaca gave no answer on the account (ConnectionError)" in err


def test_a_checkpoint_of_another_interval_is_refused(tmp_path: Path, capsys: Any) -> None:
    weekly = random_checkpoint(random_bars(300, freq="W"), golden=False)
    weekly.save(tmp_path / "weekly.ckpt")
    words = ("--symbols", "SPY", "--checkpoint", tmp_path / "weekly.ckpt")
    code, _, err = ended(capsys, *words)
    assert code == 4 and "must have learnt from bars of whole minutes or of a day" in err


def test_a_model_of_trades_with_levels_is_refused(tmp_path: Path, capsys: Any) -> None:
    levels = Barrier(stop_loss="1.5%", take_profit="2atr")
    trades = random_checkpoint(DAYS, label="barrier", horizon=10, barrier=levels)
    trades.save(tmp_path / "trades.ckpt")
    with exchange_of(DAYS, FIRST) as (box, url):
        words = ("--symbols", "SPY", "--checkpoint", tmp_path / "trades.ckpt", "--url", url)
        code, _, err = ended(capsys, *words)
    said = "must forecast moves to be traded live by its probability, got"
    assert code == 4 and said in err and "rank by it with --book" in err and not box.account.orders


def test_a_model_of_other_prices_is_refused_and_one_that_knows_not_is_noted(
    daily: Path, tmp_path: Path, capsys: Any
) -> None:
    random_checkpoint(DAYS, instrument="SPY", prices="alpaca iex raw").save(tmp_path / "iex.ckpt")
    words = ("--symbols", "SPY", "--bars", 1, "--dry-run", "--checkpoint")
    with exchange_of(DAYS, FIRST) as (_, url):
        code, _, err = ended(capsys, *words, tmp_path / "iex.ckpt", "--url", url, "--feed", "sip")
        assert (
            code == 4 and "here, alpaca sip raw, got alpaca iex raw. Give the other --feed" in err
        )
        code, _, err = ended(capsys, *words, tmp_path / "iex.ckpt", "--url", url)
        assert code == 0 and "prices" not in err
        code, _, err = ended(capsys, *words, daily, "--url", url)
        assert code == 0 and "does not know from which prices it has learnt" in err
        real = ("--url", url, "--live", "--account", "PA123")
        code, _, err = ended(capsys, *words, daily, *real)
        assert code == 4 and "without it no real money is traded" in err


def test_each_symbol_has_the_interval_of_its_own_model(tmp_path: Path, capsys: Any) -> None:
    for symbol, freq in (("SPY", "D"), ("QQQ", "5min")):
        random_checkpoint(random_bars(300, freq=freq), golden=False).save(
            tmp_path / f"{symbol}.ckpt"
        )
    words = ("--symbols", "SPY", "QQQ", "--checkpoint", tmp_path / "{name}.ckpt")
    code, _, err = ended(capsys, *words)
    assert code == 4 and "bars of one interval, got 1 day of" in err and "5 minutes of" in err


def test_without_the_extra_it_says_what_to_install(
    daily: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "strategy_plugin.live.alpaca_venue")
    monkeypatch.setitem(sys.modules, "alpaca.common.exceptions", None)
    code, _, err = ended(capsys, "--symbols", "SPY", "--checkpoint", daily)
    assert code == 2 and "pip install 'backtrader-bilstm[live]'" in err


def test_a_signal_stops_it_between_two_bars_and_no_key_is_in_any_output(
    daily: Path, tmp_path: Path
) -> None:
    with exchange_of(DAYS, FIRST, speed=86_400.0) as (_, url):
        words = ["--symbols", "SPY", "--checkpoint", str(daily), "--url", url]
        process = subprocess.Popen(
            [sys.executable, "-m", "strategy_plugin.trade", *words],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        last_resort = threading.Timer(120, process.kill)
        last_resort.start()
        for line in process.stdout:
            if line.startswith("{"):
                process.send_signal(signal.SIGTERM)
                break
        out, err = process.communicate()
        last_resort.cancel()
    assert process.returncode == 128 + signal.SIGTERM and "stopped: " in out, err
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    for text in (out, err, *written):
        assert not [key for key in KEYS if key in text]
