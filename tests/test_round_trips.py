import pandas as pd
import pytest

from backtests.round_trips import Fill, round_trips

STAMPS = pd.date_range("2020-01-01", periods=10, name="date")


def trips(*fills, last=110.0):
    return round_trips([Fill(*fill) for fill in fills], STAMPS, last).to_dict("records")


def test_a_trip_goes_from_opening_to_flat():
    (trip,) = trips((2, 10, 101, 100, 1.0), (5, -10, 103, 104, 1.0))
    assert (trip["direction"], trip["size"], trip["bars"]) == ("long", 10, 3)
    assert (trip["decided_at"], trip["opened_at"], trip["closed_at"]) == (
        STAMPS[1],
        STAMPS[2],
        STAMPS[5],
    )


def test_gross_is_at_the_quotes_and_costs_are_the_rest():
    (trip,) = trips((2, 10, 101, 100, 1.0), (5, -10, 103, 104, 1.0))
    assert (trip["gross"], trip["costs"], trip["net"]) == (40, 22, 18)
    assert trip["return"] == pytest.approx(18 / 1010)


def test_a_short_trip_gains_from_a_fall():
    (trip,) = trips((1, -5, 100, 100, 0.0), (2, 5, 90, 90, 0.0))
    assert (trip["direction"], trip["net"], trip["return"]) == ("short", 50, 0.1)


def test_a_reversal_closes_one_trip_and_opens_the_next_with_its_share_of_the_commission():
    first, second = trips((1, 10, 100, 100, 1.0), (3, -25, 120, 120, 5.0), (4, 15, 110, 110, 3.0))
    assert (first["closed_at"], second["opened_at"]) == (STAMPS[3], STAMPS[3])
    assert (first["costs"], second["costs"]) == (1.0 + 2.0, 3.0 + 3.0)
    assert (first["net"], second["net"]) == (200 - 3, 150 - 6)


def test_an_open_trip_is_valued_at_the_last_price():
    (trip,) = trips((4, 10, 100, 100, 0.0))
    assert pd.isna(trip["closed_at"]) and pd.isna(trip["exit_price"])
    assert (trip["net"], trip["bars"]) == (100, 5)


def test_a_position_built_in_steps_is_one_trip():
    (trip,) = trips(
        (1, 0.1, 100, 100, 0.0), (2, 0.2, 130, 130, 0.0), (3, -(0.1 + 0.2), 140, 140, 0.0)
    )
    assert trip["entry_price"] == pytest.approx(120)
    assert trip["closed_at"] == STAMPS[3]


def test_no_fills_are_no_trips():
    assert round_trips([], STAMPS, 100.0).empty
