"""The words of a stop, and the distance they mean."""

import math
import warnings
from typing import Any

import pytest

from model.labels.distances import Distance, average_true_range
from strategy_plugin.guard import TradingWarning
from strategy_plugin.orders import OrderEnd, OrderManager, OrderRules, stops
from tests.helpers.paper import PaperBroker, ended


@pytest.mark.parametrize(
    "words, distance", [("3%", 3.0), ("0.5 %", 0.5), ("2atr", 8.0), ("1.5 atr", 6.0)]
)
def test_a_distance_is_percent_of_the_entry_or_true_ranges(words: str, distance: float) -> None:
    stop_loss = stops(stop_loss=words).stop_loss
    assert stop_loss and stop_loss.in_price(price=100.0, atr=4.0) == distance


@pytest.mark.parametrize(
    "words", ["3", "%", "atr", "-1%", "0atr", "nan%", "inf%", "3 percent", "two%"]
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(
        ValueError,
        match="`take_profit` must be a number above 0 with its unit, like '3%' or '2atr', got",
    ):
        stops(take_profit=words)


def test_a_trailing_stop_beside_a_stop_loss_is_refused() -> None:
    with pytest.raises(
        ValueError, match="`stop_loss` and `trailing` must not both be given, got '3%' and '2atr'"
    ):
        stops(stop_loss="3%", trailing="2atr")


def test_nothing_asked_for_is_no_protection() -> None:
    assert not any(stops()) and stops(trailing="2atr").trailing == Distance(2.0, "atr")


def test_the_average_true_range_is_that_of_fourteen_bars_with_a_close_before_them() -> None:
    bars = [(103.0 + number, 101.0, 100.0) for number in range(14)]
    assert math.isnan(average_true_range(bars))
    assert average_true_range([*bars, *[(104.0, 101.0, 100.0)] * 14]) == 4.0


PROTECTED = stops(stop_loss="3%", take_profit="2%")


@pytest.fixture
def broker() -> PaperBroker:
    return PaperBroker()


@pytest.fixture
def guarded(broker: PaperBroker) -> OrderManager:
    """A orders whose long position has been filled and protected."""
    orders = OrderManager(broker, OrderRules(stops=PROTECTED))  # type: ignore[arg-type]
    orders.move(1)
    ended(orders, broker, "Completed")
    assert orders.move(1) == "protected"
    return orders


def test_a_position_is_protected_by_a_pair(guarded: OrderManager, broker: PaperBroker) -> None:
    assert [order.size for order in broker.alive()] == [-9.5, -9.5]
    assert guarded.move(1) == ""


def test_a_signal_exit_cancels_the_pair_first(guarded: OrderManager, broker: PaperBroker) -> None:
    assert guarded.move(0) == "-9.5"
    assert len(broker.alive()) == 1 and guarded.counts["canceled"] == 2


def test_a_signal_exit_waits_until_the_pair_is_gone(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.cancels_at_once = False
    assert guarded.move(0) == "waiting"
    for order in broker.alive():
        broker.end(order, "Canceled", share=0.0)
    assert guarded.move(0) == "-9.5"


def test_after_a_stop_the_direction_waits_for_a_new_signal(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    ended(guarded, broker, "Completed")
    assert [guarded.move(1), guarded.move(1)] == ["", ""] and guarded.counts["stopped out"] == 1
    guarded.move(0)
    assert guarded.move(1) == "+9.5"


def test_after_a_stop_silence_is_no_new_signal(guarded: OrderManager, broker: PaperBroker) -> None:
    ended(guarded, broker, "Completed")
    assert [guarded.move(1), guarded.move(0, has_forecast=False), guarded.move(1)] == ["", "", ""]
    assert [guarded.move(0, has_forecast=True), guarded.move(1)] == ["", "+9.5"]


def test_a_cancelled_pair_is_no_stop(guarded: OrderManager, broker: PaperBroker) -> None:
    guarded.move(0)
    ended(guarded, broker, "Completed")
    assert guarded.counts["stopped out"] == 0 and guarded.move(1) == "+9.5"


def test_after_a_stop_the_other_direction_is_free(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    ended(guarded, broker, "Completed")
    assert guarded.move(-1) == "-9.5"


def test_a_pair_that_was_refused_is_placed_again(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    for order in broker.alive():
        order.status = "Rejected"
    with pytest.warns(
        TradingWarning,
        match=r"an order of the protective pair was refused \(rejected\); it is placed again",
    ):
        assert guarded.move(1) == "protected"


def sizes(broker: PaperBroker) -> list[float]:
    return [order.size for order in broker.alive()]


def test_of_a_stop_that_fills_in_parts_the_rest_is_closed_at_once(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    stop, limit = broker.alive()
    broker.end(stop, "Partial", share=0.4)
    broker.end(limit, "Canceled")  # hosts do so at the first part
    guarded.ends.clear()
    assert guarded.move(1) == "-5.7" and sizes(broker) == [-5.7]
    assert guarded.ends == [
        OrderEnd(1, 3, "Canceled"),
        OrderEnd(1, 2, "Partial"),
        OrderEnd(2, 2, "Canceled"),
    ]
    ended(guarded, broker, "Completed")
    assert [guarded.move(1), guarded.move(1)] == ["", ""] and guarded.counts["stopped out"] == 1


def test_a_reversal_while_a_stop_fills_in_parts_goes_ahead(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.end(broker.alive()[0], "Partial", share=0.4)
    assert guarded.move(-1) == "-15.2" and len(broker.alive()) == 1


def test_a_pair_of_which_one_was_cancelled_elsewhere_is_made_whole(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.end(broker.alive()[0], "Canceled")
    assert guarded.move(1) == "protected" and sizes(broker) == [-9.5, -9.5]


def test_a_pair_follows_a_position_that_was_changed_elsewhere(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.size = 4.0
    assert guarded.move(1) == "protected" and sizes(broker) == [-4.0, -4.0]


def test_a_pair_that_follows_waits_until_the_old_one_is_gone(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.size, broker.cancels_at_once = 4.0, False
    assert guarded.move(1) == "waiting" and sizes(broker) == [-9.5, -9.5]


def test_a_pair_is_cancelled_where_the_position_was_closed_elsewhere(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.size = 0.0
    assert guarded.move(0) == "" and sizes(broker) == []


def test_a_position_whose_stops_cannot_be_placed_is_said_and_tried_again(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    for order in broker.alive():
        broker.end(order, "Canceled")
    broker.gives_stops = False
    with pytest.warns(
        TradingWarning,
        match="data 'paper': the broker gave no order, or there is no price for one; the position",
    ):
        assert guarded.move(1) == "unprotected"
    broker.gives_stops = True
    assert guarded.move(1) == "protected" and guarded.counts["unprotected"] == 1


@pytest.mark.parametrize(
    "wanted, missing", [({"stop_loss": "3%"}, 0), ({"stop_loss": "3%", "take_profit": "2%"}, 1)]
)
def test_fewer_orders_than_asked_for_are_said(
    broker: PaperBroker, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str], missing: int
) -> None:
    monkeypatch.setattr(
        broker, "protect", lambda protection: [broker._send(-broker.size, protective=True)]
    )
    orders = OrderManager(broker, OrderRules(stops=stops(**wanted)))  # type: ignore[arg-type]
    orders.move(1)
    ended(orders, broker, "Completed")
    with warnings.catch_warnings(record=True, action="always") as warned:
        assert orders.move(1) == "protected"
    assert len(warned) == orders.counts["unprotected"] == missing


def test_at_rest_nothing_is_ordered_and_ends_are_seen(
    guarded: OrderManager, broker: PaperBroker
) -> None:
    broker.end(broker.alive()[0], "Canceled")
    assert guarded.rest() == "" and len(broker.alive()) == 1 and guarded.counts["canceled"] == 1


def found(broker: PaperBroker, **rules: Any) -> OrderManager:
    """A orders that begins with a position."""
    broker.size = 9.5
    return OrderManager(broker, OrderRules(**rules))  # type: ignore[arg-type]


def test_a_position_found_at_the_start_is_taken_over_and_said(broker: PaperBroker) -> None:
    orders = found(broker)
    with pytest.warns(
        TradingWarning,
        match=r"a position of \+9.5 was there at the start and is taken over. Orders",
    ):
        assert orders.move(1) == ""
    assert orders.move(0) == "-9.5"


def test_beside_stops_of_an_earlier_run_nothing_is_ordered(broker: PaperBroker) -> None:
    orders = found(broker, stops=PROTECTED)
    with pytest.warns(
        TradingWarning, match="Stops of an earlier run may still work .* and start with adopt=True"
    ):
        assert [orders.move(1), orders.move(0), orders.move(-1)] == ["not ours"] * 3
    broker.size = 0.0  # the earlier run's stop was filled
    assert not broker.orders and orders.move(1) == "+9.5" and orders.counts["not ours"] == 3


def test_a_position_that_is_adopted_gets_its_stops(broker: PaperBroker) -> None:
    orders = found(broker, stops=PROTECTED, adopt=True)
    with pytest.warns(TradingWarning, match="is taken over"):
        assert orders.move(1) == "protected" and sizes(broker) == [-9.5, -9.5]
