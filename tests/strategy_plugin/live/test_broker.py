"""What the broker finds at the venue, what it sends, and what it leaves alone."""

import datetime as dt
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from backtests.exchange_box.faults import Fault
from strategy_plugin.live.limits import DAY_FILE, STOP, Limits, Watchman
from strategy_plugin.live.rules import permitted_size
from strategy_plugin.live.store import assets_of
from strategy_plugin.live.venue import OrderRequest, VenueError, VenueUnreachable
from tests.helpers.exchanges import (
    MINUTE,
    Falling,
    Rising,
    exchange_of,
    minute_bars,
    placed,
    traded_live,
    venue_at,
)

BARS = minute_bars(2, 390).iloc[:480]
FIRST = BARS.index[400]
NOW = dt.datetime(2024, 1, 3, 15, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.parametrize(
    ("size", "held", "lot", "sent"),
    [
        (10.7, 0, 1, 10),
        (-10.7, 0, 1, -10),
        (0.3, 0, 1, 0),
        (0.123456, 0, 0.001, 0.123),
        (-5.0, 5.0, 1, -5.0),
        (-25.0, 10.0, 1, -10.0),
        (7.0, -3.0, 1, 3.0),
        (-0.00042, 0.00042, 0.001, -0.00042),  # dust is closed whole
        (0.3 - 1e-17, 0, 0.1, 0.3),
    ],
)
def test_an_order_is_cut_to_lots_and_closes_before_it_opens(
    size: float, held: float, lot: float, sent: float
) -> None:
    assert permitted_size(size, held, lot) == pytest.approx(sent)


def test_an_order_of_this_bar_that_a_dead_run_left_is_taken_over() -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        first = traded_live(url, bars=1)
        [left] = box.account.orders.values()
        assert left.is_open and first.strategy.traded[0].orders.working
        again = traded_live(url, bars=2)
        assert next(iter(box.account.orders)) == left.client_order_id
        assert left.status == "filled" and len(again.strategy.fills) == 1


def test_an_order_of_an_earlier_bar_is_cancelled_and_decided_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with exchange_of(BARS, FIRST, faults=[Fault("halt", 1, times=1)]) as (box, url):
        left = placed(box, "bilstm-SPY-20240103T120000-market-buy", 3)
        live = traded_live(url, bars=3)
    assert left.status == "canceled" and "an order of an earlier run is cancelled" in caplog.text
    assert live.broker.getposition(live.feed).size == sum(
        held.size for held in box.account.holdings.values()
    )


def test_an_order_of_this_bar_that_is_not_decided_again_is_cancelled() -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        minute = FIRST.tz_localize(None) - MINUTE
        left = placed(box, f"bilstm-SPY-{minute:%Y%m%dT%H%M%S}-market-buy", 3)
        traded_live(url, bars=3, feed_class=Falling)
    assert left.status == "canceled" and len(box.account.orders) == 1


def test_what_a_dead_run_left_is_settled_before_the_first_live_bar_however_late_it_is() -> None:
    class Stale(Falling):
        def _is_fresh(self, end: dt.datetime) -> bool:
            return len(self) > 23  # as in a session that is open for long

    with exchange_of(BARS, FIRST, faults=[Fault("halt", times=9)]) as (box, url):
        left = placed(box, "bilstm-SPY-20240103T120000-market-buy", 3)
        traded_live(url, bars=3, feed_class=Stale)
    assert left.status == "canceled" and not box.account.holdings


def test_an_order_of_another_hand_is_said_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with exchange_of(BARS, FIRST, faults=[Fault("halt", 1, times=9)]) as (box, url):
        other = placed(box, "by-hand", 3)
        traded_live(url, bars=3, feed_class=Falling)
    assert other.is_open and "of another hand works at alpaca and is left alone" in caplog.text


def test_a_position_that_is_there_is_read_from_the_venue() -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        traded_live(url, bars=2, feed_class=Rising)
        [held] = box.account.holdings.values()
        again = traded_live(url, bars=2, feed_class=Rising)
    assert again.broker.getposition(again.feed).size == held.size
    assert again.broker.startingvalue == pytest.approx(box.account.value(), rel=0.01)
    assert len(box.account.orders) == 1


def test_a_dry_run_decides_and_sends_nothing() -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        live = traded_live(url, bars=10, dry_run=True)
    assert not box.account.orders and live.broker.would
    assert [wanted for _, wanted, _, _ in live.strategy.decided.values()].count(1) > 2


def test_orders_that_cancel_each_other_are_refused() -> None:
    with (
        exchange_of(BARS, FIRST) as (_, url),
        pytest.raises(ValueError, match=r"one that cancels another is not sent"),
    ):
        traded_live(url, bars=9, feed_class=Rising, stop_loss="3%", take_profit="3%")


@pytest.mark.parametrize("protection", [{"stop_loss": "0.02%"}, {"trailing": "0.02%"}])
def test_a_stop_works_at_the_venue(protection: dict[str, str]) -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        live = traded_live(url, bars=40, feed_class=Rising, **protection)
    kinds = {order.kind for order in box.account.orders.values() if order.status == "filled"}
    assert kinds == {"market", "stop" if "stop_loss" in protection else "trailing_stop"}
    assert live.strategy.refusals()["SPY"]["stopped out"]
    assert live.broker.getvalue() == pytest.approx(box.account.value(), rel=1e-12)


def test_a_model_that_wants_to_trade_a_thousand_times_is_frozen(tmp_path: Path) -> None:
    watchman = Watchman(Limits(orders_per_minute=5), tmp_path)
    permitted = [
        watchman.permit(
            NOW + number * dt.timedelta(milliseconds=10), money=1, position=1, opens=True
        )
        for number in range(1_000)
    ]
    assert permitted.count("") == 5 and "more than 5 orders within a minute" in permitted[5]
    assert "more than 5 orders" in (tmp_path / STOP).read_text()
    # A later run finds the file; a person must remove it.
    assert "there is a file" in Watchman(Limits(), tmp_path).look(NOW, 100.0)


@pytest.mark.parametrize(
    ("limits", "order", "words"),
    [
        (Limits(max_order=100.0), {"money": 101.0, "position": 50.0}, "`max_order` is 100.00"),
        (Limits(max_position=100.0), {"money": 50.0, "position": 101.0}, "`max_position`"),
    ],
)
def test_what_is_too_large_is_not_sent_and_a_close_is(
    limits: Limits, order: dict[str, float], words: str
) -> None:
    assert Watchman(limits).permit(NOW, **order, opens=False) == ""
    watchman = Watchman(limits)
    assert words in watchman.permit(NOW, **order, opens=True)
    assert words in watchman.permit(NOW, money=1.0, position=1.0, opens=True)  # frozen
    assert watchman.permit(NOW, money=1.0, position=0.0, opens=False) == ""


def test_the_loss_of_a_day_freezes_and_the_next_day_counts_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchman = Watchman(Limits(max_daily_loss=0.05))
    tomorrow = NOW + dt.timedelta(days=1)
    assert [watchman.look(NOW, equity) for equity in (100.0, 96.0)] == ["", ""]
    assert [watchman.look(tomorrow, equity) for equity in (93.0, 91.5)] == ["", ""]
    with caplog.at_level("ERROR"):
        reason = watchman.look(tomorrow, 91.0)
    assert "5.21% of the day's equity is lost, `max_daily_loss` is 5.00%" in reason
    assert f"the run is frozen: {reason}. A person is needed" in caplog.text


def test_of_daily_bars_the_loss_is_that_from_one_to_the_next() -> None:
    watchman = Watchman(Limits(max_daily_loss=0.05))
    looks = [watchman.look(NOW + dt.timedelta(days=day), 100.0 - 4 * day) for day in range(6)]
    assert looks[:5] == [""] * 5 and "5.00%" not in looks[4]
    assert "is lost" in watchman.look(NOW + dt.timedelta(days=9), 70.0)


def test_a_value_that_is_none_forgives_nothing(tmp_path: Path) -> None:
    limits, day = Limits(max_daily_loss=0.05), dt.timedelta(days=1)
    watchman = Watchman(limits, tmp_path)
    assert [watchman.look(NOW, equity) for equity in (100.0, math.nan)] == ["", ""]
    assert "50.00% of the day's equity is lost" in watchman.look(NOW + day, 50.0)
    # An account that begins with nothing has nothing to lose.
    empty = Watchman(limits)
    assert [empty.look(NOW, equity) for equity in (0.0, -5.0, 100.0)] == ["", "", ""]
    assert "100.00% of the day's equity is lost" in empty.look(NOW + day, 0.0)


def test_a_restart_does_not_forgive_what_the_day_has_lost(tmp_path: Path) -> None:
    limits, day = Limits(max_daily_loss=0.05), dt.timedelta(days=1)
    assert Watchman(limits, tmp_path, "1").look(NOW, 100.0) == ""
    assert Watchman(limits, tmp_path, "1").look(NOW, 96.0) == ""
    # Another account, or none of the days before, begins with what it has.
    assert Watchman(limits, tmp_path / "other", "1").look(NOW, 91.0) == ""
    kept = (tmp_path / DAY_FILE).read_bytes()
    for account, now in (("2", NOW), ("1", NOW + 5 * day), ("1", NOW - day)):
        (tmp_path / DAY_FILE).write_bytes(kept)
        assert Watchman(limits, tmp_path, account).look(now, 50.0) == "", (account, now)
    for damaged in (b"", b"{", b'{"date": 3}', kept[:-4]):
        (tmp_path / DAY_FILE).write_bytes(damaged)
        assert Watchman(limits, tmp_path, "1").look(NOW, 50.0) == "", damaged
    # On the next day it is the last of the day before that counts.
    for now, equity, lost in ((NOW, 94.9, "5.10%"), (NOW + day, 91.1, "5.10%")):
        (tmp_path / DAY_FILE).write_bytes(kept)
        (tmp_path / STOP).unlink(missing_ok=True)
        watchman = Watchman(limits, tmp_path, "1")
        assert f"{lost} of the day's equity is lost" in watchman.look(now, equity)


def test_a_breach_freezes_though_the_disk_takes_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watchman = Watchman(Limits(max_order=10.0), tmp_path / "gone")
    assert watchman.permit(NOW, money=11.0, position=11.0, opens=True)
    assert watchman.reason and "nothing keeps a new start from trading" in caplog.text


def test_a_breach_is_said_and_nothing_is_opened_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with exchange_of(BARS, FIRST) as (box, url):
        traded_live(url, bars=20, limits=Limits(max_order=1_000.0), folder=tmp_path)
    assert not box.account.orders and (tmp_path / STOP).exists()
    assert "`max_order` is 1,000.00. A person is needed" in caplog.text


def test_symbols_that_cannot_be_traded_are_named_together() -> None:
    with exchange_of(BARS, FIRST, tradable=False) as (_, url), pytest.raises(VenueError) as caught:
        assets_of(venue_at(url), ["SPY", "QQQ"], shorts=False)
    assert "SPY is not tradable at alpaca" in str(caught.value)
    assert "asset not found for QQQ (404)" in str(caught.value)
    with (
        exchange_of(BARS, FIRST, shortable=False) as (_, url),
        pytest.raises(VenueError, match="SPY cannot be sold short at alpaca"),
    ):
        assets_of(venue_at(url), ["SPY"], shorts=True)


def test_an_order_is_sent_once_whatever_becomes_of_its_answers() -> None:
    request = OrderRequest("bilstm-SPY-1", "SPY", 3.0, "market")
    faults = [Fault("lose answer", times=1), Fault("status", times=9, status=503, path="POST")]
    with exchange_of(BARS, FIRST, faults=faults[:1]) as (box, url):
        venue = venue_at(url)
        sent = [venue.submit(request) for _ in range(3)]
        assert len(set(sent)) == 1 and len(box.account.orders) == 1
    with exchange_of(BARS, FIRST, faults=faults[1:]) as (box, url):
        with pytest.raises(VenueUnreachable, match="alpaca answered 503 on the order bilstm-SPY-1"):
            venue_at(url).submit(request)
        assert not box.account.orders


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "127.0.0.1:80"])
def test_an_address_where_keys_could_be_read_is_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match=f"`url` must be https, or http on this machine, got {url}"
    ):
        venue_at(url)
