"""A recorded run: timing and choice, weights, returns around what is paid in."""

from array import array

import numpy as np
import pytest

from backtests.evidence.recording import RecordedData, Recording, dated_returns, timing
from backtests.simulation.vectorised import timing_gains
from model.errors import BarsError

N = 80


@pytest.fixture
def draw():
    return np.random.default_rng(6)


def recording_of(values, *closes, first=0, **more):
    datas = [
        RecordedData(f"data {number}", array("d", one), ended=730_000.0 + N)
        for number, one in enumerate(closes)
    ]
    times = array("d", 730_000.0 + np.arange(N))
    return Recording("Mine", datas, times, array("d", values), first=first, **more)


def test_timing_on_one_instrument_is_that_of_every_verdict(draw):
    weights, moves = draw.random((N, 1)), draw.normal(0, 0.01, (N, 1))
    found = timing(weights, moves, moves[:, 0])
    assert found == pytest.approx(timing_gains(weights[:, 0], moves[:, 0]))


def test_on_several_choice_counts_and_exposure_does_not(draw):
    moves = draw.normal(0.001, 0.01, (N, 2))
    benchmark = moves.mean(axis=1)
    equal = timing(np.full((N, 2), 0.5), moves, benchmark)
    assert equal == pytest.approx(np.zeros(N), abs=1e-15)
    chosen = timing(np.tile([1.0, 0.0], (N, 1)), moves, benchmark)
    assert chosen == pytest.approx(moves[:, 0] - benchmark)


def test_weights_are_those_of_the_close_before_with_the_contract_s_multiplier(draw):
    closes = 100 * np.cumprod(1 + draw.normal(0, 0.01, N))
    recording = recording_of(np.full(N, 1e4), closes, fills=array("d", (10, 0, 4.0, 30, 0, 0.0)))
    recording.datas[0].multiplier = 5.0
    found = dated_returns(recording)
    weights = np.zeros(N)
    weights[10:30] = 4.0 * 5.0 * closes[9:29] / 1e4
    moves = closes[1:] / closes[:-1] - 1
    assert found.timing == pytest.approx(timing_gains(weights[1:], moves))
    assert found.exposed.sum() == 20


def test_returns_leave_out_what_was_paid_in_and_out():
    values = np.full(N, 1000.0)
    values[40:] = 2020.0  # 1,000 paid in after the fills of bar 40, which itself gained 2 %
    values[60:] = 2550.0  # 480 ahead of bar 60, on which 2,500 gained 2 %
    recording = recording_of(
        values,
        np.linspace(100, 120, N),
        paid_in=array("d", (40, 1000.0)),
        paid_ahead=array("d", (59, 480.0)),
    )
    returns = dated_returns(recording).returns
    assert np.flatnonzero(returns).tolist() == [39, 59]
    assert returns[[39, 59]] == pytest.approx([0.02, 0.02])


def test_what_is_paid_in_does_not_hide_that_all_was_lost():
    values = np.full(N, 1000.0)
    values[40:] = 500.0  # 600 paid in after the fills of bar 40, before which it was worth -100
    recording = recording_of(values, np.linspace(100, 120, N), paid_in=array("d", (40, 600.0)))
    with pytest.raises(BarsError, match=r"worth more than 0, got -100.00 on 1999-10-13"):
        dated_returns(recording)


@pytest.mark.parametrize(
    ("first", "fill", "start"), [(20, 40, 20), (20, 5, 4), (0, 40, 0), (None, 30, 29)]
)
def test_returns_count_from_the_first_decision_or_an_earlier_fill(first, fill, start):
    recording = recording_of(
        np.full(N, 1e3), np.linspace(100, 120, N), first=first, fills=array("d", (fill, 0, 1.0))
    )
    assert len(dated_returns(recording).returns) == N - 1 - start


def test_dates_are_days_where_all_times_lie_at_their_ends():
    recording = recording_of(np.full(N, 1e3), np.linspace(100, 120, N))
    midnight = recording.dates
    recording.times = array("d", np.array(recording.times) + 0.99999999)
    assert recording.dates.equals(midnight) and str(midnight[0]) == "1999-09-03 00:00:00"
    recording.times = array("d", np.array(recording.times) - 0.5)
    assert recording.dates[0].hour == 11


def test_what_was_bought_and_sold_within_a_bar_was_traded():
    within = array("d", (30, 1, 2.0, 30, 1, 0.0))
    closes = np.linspace(100, 120, N)
    found = dated_returns(recording_of(np.full(N, 1e3), closes, closes[::-1], fills=within))
    assert found.instruments == ["data 1"] and not found.exposed.any()
    assert found.benchmark == pytest.approx(closes[::-1][1:] / closes[::-1][:-1] - 1)
