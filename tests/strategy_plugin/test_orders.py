"""Orders: whatever the broker does, one works at a time, none beyond the cap, no signal lost."""

import warnings
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from strategy_plugin.guard import TradingWarning
from strategy_plugin.orders import OrderEnd, OrderManager, OrderRules, direction, stops
from tests.helpers.paper import ENDS, EQUITY, PaperBroker, PaperOrder, ended

PROTECTED = stops(stop_loss="3%", take_profit="2%")


@pytest.fixture
def broker() -> PaperBroker:
    return PaperBroker()


@pytest.fixture
def orders(broker: PaperBroker) -> OrderManager:
    """A orders that began without a position."""
    begun = OrderManager(broker, OrderRules(retries=2, patience=3))  # type: ignore[arg-type]
    begun.move(0)
    return begun


def test_a_target_becomes_one_order_and_waits_for_its_fill(
    orders: OrderManager, broker: PaperBroker
) -> None:
    assert orders.move(1) == "+9.5" and orders.move(1) == "waiting"
    assert len(broker.orders) == 1 and orders.held == 1
    ended(orders, broker, "Completed")
    assert orders.move(1) == "" and len(broker.orders) == 1 and orders.held == 1


def test_a_reversal_is_one_order_for_both_sides(orders: OrderManager, broker: PaperBroker) -> None:
    broker.size = 9.5
    assert orders.move(-1) == "-19"


@pytest.mark.parametrize("status", ENDS)
def test_every_end_clears_the_working_order_once(
    orders: OrderManager, broker: PaperBroker, status: str
) -> None:
    orders.move(1)
    ended(orders, broker, status)
    orders.notify(replace(broker.orders[-1]))
    orders.move(direction(broker.size))
    assert orders.working is None and orders.counts[status.lower()] == 1


@pytest.mark.parametrize("status", ["Submitted", "Accepted", "Partial"])
def test_an_order_under_way_stays(orders: OrderManager, broker: PaperBroker, status: str) -> None:
    orders.move(1)
    orders.notify(replace(broker.orders[-1], status=status))
    assert orders.working is broker.orders[-1]


def test_what_ended_is_told_with_its_number_and_when_it_was_seen(
    orders: OrderManager, broker: PaperBroker
) -> None:
    orders.move(1)
    ended(orders, broker, "Completed")  # noticed
    orders.move(-1)
    broker.end(broker.orders[-1], "Completed")  # found at the next bar
    orders.move(1)
    orders.move(0)  # cancels the third
    ended(orders, broker, "Expired")
    assert orders.ends == [
        OrderEnd(0, 1, "Completed"),
        OrderEnd(1, 2, "Completed"),
        OrderEnd(2, 3, "Canceled"),
        OrderEnd(0, 4, "Expired"),
    ]


def test_the_newest_order_is_fresh_and_has_an_aim(
    orders: OrderManager, broker: PaperBroker
) -> None:
    assert (orders.working_direction, orders.aim, orders.sent_this_bar) == (0, None, False)
    orders.move(-1)
    assert (orders.working_direction, orders.aim, orders.sent_this_bar) == (-1, -9.5, True)


def test_an_end_without_notification_is_seen_at_the_next_bar(
    orders: OrderManager, broker: PaperBroker
) -> None:
    orders.move(1)
    broker.end(broker.orders[-1], "Margin", share=0.0)
    assert orders.move(1) == "+9.5" and orders.counts["margin"] == 1


def test_orders_of_others_are_ignored(orders: OrderManager, broker: PaperBroker) -> None:
    orders.move(1)
    orders.notify(PaperOrder(999, 5.0, status="Rejected"))
    assert orders.working is broker.orders[-1] and not orders.counts["rejected"]


def test_an_order_no_longer_wanted_is_cancelled_and_the_new_target_sent(
    orders: OrderManager, broker: PaperBroker
) -> None:
    orders.move(1)
    assert orders.move(-1) == "-9.5" and orders.counts["canceled"] == 1
    assert len(broker.alive()) == 1


def test_a_cancel_that_takes_time_is_waited_for(orders: OrderManager, broker: PaperBroker) -> None:
    broker.cancels_at_once = False
    orders.move(1)
    assert orders.move(0) == "waiting" and len(broker.orders) == 1
    broker.end(broker.orders[-1], "Completed")  # filled before the cancel arrived
    assert orders.move(0) == "-9.5"


def test_an_order_that_hangs_is_cancelled_when_patience_ends(
    orders: OrderManager, broker: PaperBroker
) -> None:
    assert [orders.move(1) for _ in range(5)] == ["+9.5", "waiting", "waiting", "waiting", "+9.5"]
    assert orders.counts["timed out"] == 1 and len(broker.alive()) == 1


def test_an_opening_refused_too_often_waits_for_a_new_signal(
    orders: OrderManager, broker: PaperBroker
) -> None:
    for _ in range(2):
        orders.move(1)
        ended(orders, broker, "Margin")
    orders.move(1)
    with pytest.warns(
        TradingWarning,
        match=r"data 'paper': 3 orders in a row were refused \(rejected\); the direction \+1 waits",
    ):
        ended(orders, broker, "Rejected")
    assert [orders.move(1) for _ in range(5)] == [""] * 5 and orders.counts["given up"] == 1
    orders.move(0)
    assert orders.move(1) == "+9.5"


def test_units_of_a_book_that_were_given_up_wait_for_others(
    orders: OrderManager, broker: PaperBroker
) -> None:
    with pytest.warns(TradingWarning, match="3 orders in a row"):
        for _ in range(3):
            assert orders.move_to(5.0) == "+5"
            ended(orders, broker, "Margin")
    assert [orders.move_to(5.0) for _ in range(5)] == [""] * 5
    assert orders.move_to(4.0) == "+4"


def test_a_position_that_is_there_at_the_start_is_closed_by_units_of_0(broker: PaperBroker) -> None:
    broker.size = 9.5
    begun = OrderManager(broker, OrderRules(retries=2, patience=3))  # type: ignore[arg-type]
    with pytest.warns(TradingWarning, match="taken over"):
        assert begun.move_to(0.0) == "-9.5"


def test_what_went_through_ends_a_row_of_refusals(
    orders: OrderManager, broker: PaperBroker
) -> None:
    for target, statuses in (
        (1, ("Margin", "Margin", "Completed")),
        (0, ("Completed",)),
        (1, ("Margin", "Margin")),
    ):
        for status in statuses:
            orders.move(target)
            ended(orders, broker, status)
    assert orders.move(1) == "+9.5" and not orders.counts["given up"]


def test_after_giving_up_a_new_signal_has_all_its_tries(
    orders: OrderManager, broker: PaperBroker
) -> None:
    with pytest.warns(TradingWarning, match="waits for a new signal"):
        for target in (1, 1, 1, 0, 1, 1):
            orders.move(target)
            ended(orders, broker, "Rejected")
    assert orders.move(1) == "+9.5" and orders.counts["given up"] == 1


def test_by_default_an_opening_has_four_tries_and_an_order_five_bars(broker: PaperBroker) -> None:
    orders = OrderManager(broker, OrderRules())  # type: ignore[arg-type]
    with pytest.warns(TradingWarning, match="4 orders in a row were refused"):
        for _ in range(4):
            orders.move(1)
            ended(orders, broker, "Rejected")
    orders.move(0)
    assert [orders.move(1) for _ in range(7)] == ["+9.5", *["waiting"] * 5, "+9.5"]


def test_refusals_of_a_close_do_not_count_against_the_opening_after_it(
    orders: OrderManager, broker: PaperBroker
) -> None:
    broker.size = 9.5
    for _ in range(2):
        orders.move(0)
        ended(orders, broker, "Margin")
    broker.size = 0.0
    orders.move(1)
    ended(orders, broker, "Margin")
    assert orders.move(1) == "+9.5" and not orders.counts["given up"]


def test_a_close_is_tried_again_on_every_bar_and_said_when_it_keeps_being_refused(
    orders: OrderManager, broker: PaperBroker
) -> None:
    broker.size = 9.5
    with pytest.warns(
        TradingWarning,
        match=r"3 orders in a row were refused \(rejected\); the position cannot be closed",
    ) as warned:
        for _ in range(10):
            assert orders.move(0) == "-9.5"
            ended(orders, broker, "Rejected")
    assert len(warned) == 1 and orders.counts["rejected"] == 10


@pytest.mark.parametrize("units, sent", [(20.0, "+10"), (20.5, "+10.5"), (9.0, "+9")])
def test_exposure_is_cut_to_the_cap_in_whole_units_where_the_sizers_were(
    orders: OrderManager,
    broker: PaperBroker,
    units: float,
    sent: str,
) -> None:
    broker.wanted_units, broker.cap = units, 1.05
    assert orders.move(1) == sent
    assert orders.counts["capped"] == (units > 10)


@pytest.mark.parametrize("units", [10.0, 10.000000001])
def test_what_is_just_the_cap_is_not_cut(
    orders: OrderManager, broker: PaperBroker, units: float
) -> None:
    broker.wanted_units = units
    orders.move(1)
    assert broker.orders[-1].size == units and not orders.counts["capped"]


@pytest.mark.parametrize("units", [0.0, float("nan"), float("inf")])
def test_no_units_is_no_order_and_said_once(
    orders: OrderManager, broker: PaperBroker, units: float
) -> None:
    broker.wanted_units = units
    with pytest.warns(
        TradingWarning,
        match=r"data 'paper': the sizer gave no units for direction \+1 .* Give more cash",
    ):
        assert orders.move(1) == "no order"
    assert orders.move(1) == "no order" and orders.counts["no order"] == 2


def test_without_units_for_the_other_side_a_reversal_closes(
    orders: OrderManager, broker: PaperBroker
) -> None:
    broker.size, broker.wanted_units = 9.5, 0.0
    assert orders.move(-1) == "-9.5"


def test_an_order_left_at_the_end_is_counted(orders: OrderManager, broker: PaperBroker) -> None:
    orders.move(1)
    orders.count_unfilled()
    assert orders.counts["unfilled at end"] == 1


def test_an_order_that_ended_unheard_is_not_left_at_the_end(
    orders: OrderManager, broker: PaperBroker
) -> None:
    orders.move(1)
    broker.end(broker.orders[-1], "Completed")
    orders.count_unfilled()
    assert orders.counts["unfilled at end"] == 0 and orders.counts["completed"] == 1


def test_what_rounding_leaves_of_a_position_is_no_position(
    orders: OrderManager, broker: PaperBroker
) -> None:
    broker.size = 1e-15
    assert orders.held == 0 and orders.move(0) == "" and orders.move(1) == "+9.5"


@pytest.mark.parametrize(
    "size, held", [(0.5, 1), (-0.5, -1), (1e-8, 1), (-1e-8, -1), (1e-9, 1), (0.0, 0), (-1e-12, 0)]
)
def test_a_small_position_is_one(size: float, held: int) -> None:
    assert direction(size) == held


def test_every_order_sent_is_counted(orders: OrderManager, broker: PaperBroker) -> None:
    for target in (1, 0, -1):
        orders.move(target)
        ended(orders, broker, "Completed")
    assert orders.counts["sent"] == orders.counts["completed"] == 3


class UnreliableBroker(RuleBasedStateMachine):
    """Fills in parts, refuses, cancels late, notifies never or twice, while prices jump."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = PaperBroker()
        self.orders = OrderManager(self.broker, OrderRules(retries=2, patience=3, stops=PROTECTED))  # type: ignore[arg-type]
        self.orders.move(0)
        self.sent = 0

    @rule(
        signal=st.sampled_from([-1, 0, 1]),
        price=st.floats(20, 500),
        units=st.sampled_from([0.0, 0.3, 9.5, 1e6, float("nan")]),
    )
    def bar(self, signal: int, price: float, units: float) -> None:
        self.broker.price, self.broker.wanted_units = price, units
        with warnings.catch_warnings(action="ignore"):
            self.orders.move(signal)
        opened = [order for order in self.broker.orders[self.sent :] if not order.protective]
        self.sent = len(self.broker.orders)
        for order in opened:
            after = abs(self.broker.size + order.size)
            assert after <= abs(self.broker.size) or after * price <= self.broker.cap * EQUITY * (
                1 + 1e-9
            )
        for order in self.broker.alive(protective=True):
            assert order in self.broker.cancels or order.size == -self.broker.size

    @rule(size=st.sampled_from([0.0, 4.0, -4.0]))
    def somebody_else_trades(self, size: float) -> None:
        self.broker.size = size

    @precondition(lambda self: self.broker.alive())
    @rule(
        data=st.data(),
        status=st.sampled_from([*ENDS, "Partial"]),
        share=st.sampled_from([0.0, 0.4]),
        notices=st.integers(0, 2),
    )
    def outcome(self, data: st.DataObject, status: str, share: float, notices: int) -> None:
        order = data.draw(st.sampled_from(self.broker.alive()))
        self.broker.end(order, status, share)
        with warnings.catch_warnings(action="ignore"):
            for _ in range(notices):
                self.orders.notify(replace(order))

    @rule(at_once=st.booleans())
    def cancel_policy(self, at_once: bool) -> None:
        self.broker.cancels_at_once = at_once

    @invariant()
    def at_most_one_working_order(self) -> None:
        working, protective = (
            self.broker.alive(protective=False),
            self.broker.alive(protective=True),
        )
        assert len(working) <= 1 and len(protective) <= 2 and not (working and protective)

    @invariant()
    def every_end_is_counted_once(self) -> None:
        known = {
            order.ref
            for order in (self.orders.working, *self.orders.protection)
            if order is not None
        }
        over = [
            order for order in self.broker.orders if not order.alive() and order.ref not in known
        ]
        assert sum(self.orders.counts[status.lower()] for status in ENDS) == len(over)

    def teardown(self) -> None:
        """A signal that is new and lasts is reached, whatever went before."""
        self.broker.cancels_at_once, self.broker.wanted_units, self.broker.price = True, 9.5, 100.0
        for signal in (0, 1, -1):
            for _ in range(8):
                with warnings.catch_warnings(action="ignore"):
                    self.orders.move(signal)
                for order in self.broker.alive(protective=False):
                    self.broker.end(order, "Completed")
            assert direction(self.broker.size) == signal


def test_no_broker_breaks_the_desk() -> None:
    run_state_machine_as_test(
        UnreliableBroker, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


@pytest.mark.slow
def test_no_broker_of_three_thousand_breaks_the_desk() -> None:
    run_state_machine_as_test(
        UnreliableBroker,
        settings=settings(max_examples=3_000, stateful_step_count=60, deadline=None),
    )
