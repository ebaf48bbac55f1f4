"""The desk: whatever the broker does, one working order, no exposure beyond the cap, and no signal lost."""

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
from strategy_plugin.orders import Desk, End, Rules, direction, stops
from tests.helpers.paper import ENDS, EQUITY, PaperOrder, PaperVenue, ended

PROTECTED = stops(stop_loss="3%", take_profit="2%")


@pytest.fixture
def venue() -> PaperVenue:
    return PaperVenue()


@pytest.fixture
def desk(venue: PaperVenue) -> Desk:
    """A desk that began without a position."""
    begun = Desk(venue, Rules(retries=2, patience=3))  # type: ignore[arg-type]
    begun.move(0)
    return begun


def test_a_target_becomes_one_order_and_waits_for_its_fill(desk: Desk, venue: PaperVenue) -> None:
    assert desk.move(1) == "+9.5" and desk.move(1) == "waiting"
    assert len(venue.orders) == 1 and desk.held == 1
    ended(desk, venue, "Completed")
    assert desk.move(1) == "" and len(venue.orders) == 1 and desk.held == 1


def test_a_reversal_is_one_order_for_both_sides(desk: Desk, venue: PaperVenue) -> None:
    venue.size = 9.5
    assert desk.move(-1) == "-19"


@pytest.mark.parametrize("status", ENDS)
def test_every_end_clears_the_working_order_once(
    desk: Desk, venue: PaperVenue, status: str
) -> None:
    desk.move(1)
    ended(desk, venue, status)
    desk.notice(replace(venue.orders[-1]))
    desk.move(direction(venue.size))
    assert desk.working is None and desk.counts[status.lower()] == 1


@pytest.mark.parametrize("status", ["Submitted", "Accepted", "Partial"])
def test_an_order_under_way_stays(desk: Desk, venue: PaperVenue, status: str) -> None:
    desk.move(1)
    desk.notice(replace(venue.orders[-1], status=status))
    assert desk.working is venue.orders[-1]


def test_what_ended_is_told_with_its_number_and_when_it_was_seen(
    desk: Desk, venue: PaperVenue
) -> None:
    desk.move(1)
    ended(desk, venue, "Completed")  # noticed
    desk.move(-1)
    venue.end(venue.orders[-1], "Completed")  # found at the next bar
    desk.move(1)
    desk.move(0)  # cancels the third
    ended(desk, venue, "Expired")
    assert desk.ends == [
        End(0, 1, "Completed"),
        End(1, 2, "Completed"),
        End(2, 3, "Canceled"),
        End(0, 4, "Expired"),
    ]


def test_the_newest_order_is_fresh_and_has_an_aim(desk: Desk, venue: PaperVenue) -> None:
    assert (desk.goal, desk.aim, desk.fresh) == (0, 0.0, False)
    desk.move(-1)
    assert (desk.goal, desk.aim, desk.fresh) == (-1, -9.5, True)


def test_an_end_without_notification_is_seen_at_the_next_bar(desk: Desk, venue: PaperVenue) -> None:
    desk.move(1)
    venue.end(venue.orders[-1], "Margin", share=0.0)
    assert desk.move(1) == "+9.5" and desk.counts["margin"] == 1


def test_orders_of_others_are_ignored(desk: Desk, venue: PaperVenue) -> None:
    desk.move(1)
    desk.notice(PaperOrder(999, 5.0, status="Rejected"))
    assert desk.working is venue.orders[-1] and not desk.counts["rejected"]


def test_an_order_no_longer_wanted_is_cancelled_and_the_new_target_sent(
    desk: Desk, venue: PaperVenue
) -> None:
    desk.move(1)
    assert desk.move(-1) == "-9.5" and desk.counts["canceled"] == 1
    assert len(venue.alive()) == 1


def test_a_cancel_that_takes_time_is_waited_for(desk: Desk, venue: PaperVenue) -> None:
    venue.cancels_at_once = False
    desk.move(1)
    assert desk.move(0) == "waiting" and len(venue.orders) == 1
    venue.end(venue.orders[-1], "Completed")  # filled before the cancel arrived
    assert desk.move(0) == "-9.5"


def test_an_order_that_hangs_is_cancelled_when_patience_ends(desk: Desk, venue: PaperVenue) -> None:
    assert [desk.move(1) for _ in range(5)] == ["+9.5", "waiting", "waiting", "waiting", "+9.5"]
    assert desk.counts["timed out"] == 1 and len(venue.alive()) == 1


def test_an_opening_refused_too_often_waits_for_a_new_signal(desk: Desk, venue: PaperVenue) -> None:
    for _ in range(2):
        desk.move(1)
        ended(desk, venue, "Margin")
    desk.move(1)
    with pytest.warns(
        TradingWarning,
        match=r"data 'paper': 3 orders in a row were refused \(rejected\); the direction \+1 waits",
    ):
        ended(desk, venue, "Rejected")
    assert [desk.move(1) for _ in range(5)] == [""] * 5 and desk.counts["given up"] == 1
    desk.move(0)
    assert desk.move(1) == "+9.5"


def test_what_went_through_ends_a_row_of_refusals(desk: Desk, venue: PaperVenue) -> None:
    for target, statuses in (
        (1, ("Margin", "Margin", "Completed")),
        (0, ("Completed",)),
        (1, ("Margin", "Margin")),
    ):
        for status in statuses:
            desk.move(target)
            ended(desk, venue, status)
    assert desk.move(1) == "+9.5" and not desk.counts["given up"]


def test_after_giving_up_a_new_signal_has_all_its_tries(desk: Desk, venue: PaperVenue) -> None:
    with pytest.warns(TradingWarning, match="waits for a new signal"):
        for target in (1, 1, 1, 0, 1, 1):
            desk.move(target)
            ended(desk, venue, "Rejected")
    assert desk.move(1) == "+9.5" and desk.counts["given up"] == 1


def test_by_default_an_opening_has_four_tries_and_an_order_five_bars(venue: PaperVenue) -> None:
    desk = Desk(venue, Rules())  # type: ignore[arg-type]
    with pytest.warns(TradingWarning, match="4 orders in a row were refused"):
        for _ in range(4):
            desk.move(1)
            ended(desk, venue, "Rejected")
    desk.move(0)
    assert [desk.move(1) for _ in range(7)] == ["+9.5", *["waiting"] * 5, "+9.5"]


def test_refusals_of_a_close_do_not_count_against_the_opening_after_it(
    desk: Desk, venue: PaperVenue
) -> None:
    venue.size = 9.5
    for _ in range(2):
        desk.move(0)
        ended(desk, venue, "Margin")
    venue.size = 0.0
    desk.move(1)
    ended(desk, venue, "Margin")
    assert desk.move(1) == "+9.5" and not desk.counts["given up"]


def test_a_close_is_tried_again_on_every_bar_and_said_when_it_keeps_being_refused(
    desk: Desk, venue: PaperVenue
) -> None:
    venue.size = 9.5
    with pytest.warns(
        TradingWarning,
        match=r"3 orders in a row were refused \(rejected\); the position cannot be closed",
    ) as said:
        for _ in range(10):
            assert desk.move(0) == "-9.5"
            ended(desk, venue, "Rejected")
    assert len(said) == 1 and desk.counts["rejected"] == 10


@pytest.mark.parametrize("units, sent", [(20.0, "+10"), (20.5, "+10.5"), (9.0, "+9")])
def test_exposure_is_cut_to_the_cap_in_whole_units_where_the_sizers_were(
    desk: Desk,
    venue: PaperVenue,
    units: float,
    sent: str,
) -> None:
    venue.wanted_units, venue.cap = units, 1.05
    assert desk.move(1) == sent
    assert desk.counts["capped"] == (units > 10)


@pytest.mark.parametrize("units", [10.0, 10.000000001])
def test_what_is_just_the_cap_is_not_cut(desk: Desk, venue: PaperVenue, units: float) -> None:
    venue.wanted_units = units
    desk.move(1)
    assert venue.orders[-1].size == units and not desk.counts["capped"]


@pytest.mark.parametrize("units", [0.0, float("nan"), float("inf")])
def test_no_units_is_no_order_and_said_once(desk: Desk, venue: PaperVenue, units: float) -> None:
    venue.wanted_units = units
    with pytest.warns(
        TradingWarning,
        match=r"data 'paper': the sizer gave no units for direction \+1 .* Give more cash",
    ):
        assert desk.move(1) == "no order"
    assert desk.move(1) == "no order" and desk.counts["no order"] == 2


def test_without_units_for_the_other_side_a_reversal_closes(desk: Desk, venue: PaperVenue) -> None:
    venue.size, venue.wanted_units = 9.5, 0.0
    assert desk.move(-1) == "-9.5"


def test_an_order_left_at_the_end_is_counted(desk: Desk, venue: PaperVenue) -> None:
    desk.move(1)
    desk.close_books()
    assert desk.counts["unfilled at end"] == 1


def test_an_order_that_ended_unheard_is_not_left_at_the_end(desk: Desk, venue: PaperVenue) -> None:
    desk.move(1)
    venue.end(venue.orders[-1], "Completed")
    desk.close_books()
    assert desk.counts["unfilled at end"] == 0 and desk.counts["completed"] == 1


def test_what_rounding_leaves_of_a_position_is_no_position(desk: Desk, venue: PaperVenue) -> None:
    venue.size = 1e-15
    assert desk.held == 0 and desk.move(0) == "" and desk.move(1) == "+9.5"


@pytest.mark.parametrize(
    "size, held", [(0.5, 1), (-0.5, -1), (1e-8, 1), (-1e-8, -1), (1e-9, 1), (0.0, 0), (-1e-12, 0)]
)
def test_a_small_position_is_one(size: float, held: int) -> None:
    assert direction(size) == held


def test_every_order_sent_is_counted(desk: Desk, venue: PaperVenue) -> None:
    for target in (1, 0, -1):
        desk.move(target)
        ended(desk, venue, "Completed")
    assert desk.counts["sent"] == desk.counts["completed"] == 3


class Broker(RuleBasedStateMachine):
    """A broker that fills in parts, refuses, cancels late, forgets to notify and notifies twice, while prices jump."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = PaperVenue()
        self.desk = Desk(self.venue, Rules(retries=2, patience=3, stops=PROTECTED))  # type: ignore[arg-type]
        self.desk.move(0)
        self.sent = 0

    @rule(
        signal=st.sampled_from([-1, 0, 1]),
        price=st.floats(20, 500),
        units=st.sampled_from([0.0, 0.3, 9.5, 1e6, float("nan")]),
    )
    def bar(self, signal: int, price: float, units: float) -> None:
        self.venue.price, self.venue.wanted_units = price, units
        with warnings.catch_warnings(action="ignore"):
            self.desk.move(signal)
        opened = [order for order in self.venue.orders[self.sent :] if not order.protective]
        self.sent = len(self.venue.orders)
        for order in opened:
            after = abs(self.venue.size + order.size)
            assert after <= abs(self.venue.size) or after * price <= self.venue.cap * EQUITY * (
                1 + 1e-9
            )
        for order in self.venue.alive(protective=True):
            assert order in self.venue.cancels or order.size == -self.venue.size

    @rule(size=st.sampled_from([0.0, 4.0, -4.0]))
    def somebody_else_trades(self, size: float) -> None:
        self.venue.size = size

    @precondition(lambda self: self.venue.alive())
    @rule(
        data=st.data(),
        status=st.sampled_from([*ENDS, "Partial"]),
        share=st.sampled_from([0.0, 0.4]),
        notices=st.integers(0, 2),
    )
    def outcome(self, data: st.DataObject, status: str, share: float, notices: int) -> None:
        order = data.draw(st.sampled_from(self.venue.alive()))
        self.venue.end(order, status, share)
        with warnings.catch_warnings(action="ignore"):
            for _ in range(notices):
                self.desk.notice(replace(order))

    @rule(at_once=st.booleans())
    def cancel_policy(self, at_once: bool) -> None:
        self.venue.cancels_at_once = at_once

    @invariant()
    def at_most_one_working_order(self) -> None:
        working, protective = self.venue.alive(protective=False), self.venue.alive(protective=True)
        assert len(working) <= 1 and len(protective) <= 2 and not (working and protective)

    @invariant()
    def every_end_is_counted_once(self) -> None:
        known = {
            order.ref for order in (self.desk.working, *self.desk.protection) if order is not None
        }
        over = [
            order for order in self.venue.orders if not order.alive() and order.ref not in known
        ]
        assert sum(self.desk.counts[status.lower()] for status in ENDS) == len(over)

    def teardown(self) -> None:
        """A signal that is new and lasts is reached, whatever went before."""
        self.venue.cancels_at_once, self.venue.wanted_units, self.venue.price = True, 9.5, 100.0
        for signal in (0, 1, -1):
            for _ in range(8):
                with warnings.catch_warnings(action="ignore"):
                    self.desk.move(signal)
                for order in self.venue.alive(protective=False):
                    self.venue.end(order, "Completed")
            assert direction(self.venue.size) == signal


def test_no_broker_breaks_the_desk() -> None:
    run_state_machine_as_test(
        Broker, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


@pytest.mark.slow
def test_no_broker_of_three_thousand_breaks_the_desk() -> None:
    run_state_machine_as_test(
        Broker, settings=settings(max_examples=3_000, stateful_step_count=60, deadline=None)
    )
