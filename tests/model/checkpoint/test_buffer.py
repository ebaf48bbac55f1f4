"""The rolling window depends on the bars alone, never on how often or in which calls they came."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checkpoint.buffer import FeatureBuffer
from model.features.table import FeatureEngineer
from tests.helpers.makers import fed, random_bars

BARS = random_bars(1_000)
ROWS = FeatureEngineer().transform(BARS).to_numpy()
TIMESTAMPS = BARS.index.asi8.tolist()
VALUES = BARS.to_numpy().tolist()


@pytest.mark.parametrize("count", [150, 151, 399, 1_000])
def test_the_window_is_the_last_fifty_rows_of_the_training_side_bit_for_bit(count: int) -> None:
    assert (fed(BARS.iloc[:count]).window == ROWS[count - 150 : count - 100]).all()


def test_a_window_read_at_every_bar_equals_one_read_at_the_end() -> None:
    buffer = FeatureBuffer()
    for number, (timestamp, row) in enumerate(zip(TIMESTAMPS, VALUES, strict=True), start=1):
        buffer.update(number, timestamp, *row)
        assert (buffer.window == ROWS[max(0, number - 150) : max(0, number - 100)]).all()


@pytest.mark.parametrize("count, ready", [(0, False), (149, False), (150, True), (700, True)])
def test_it_is_ready_when_150_bars_have_been_seen(count: int, ready: bool) -> None:
    assert fed(BARS.iloc[:count]).ready is ready


SHOWS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=160, max_size=200)


@settings(max_examples=50, deadline=None)
@given(SHOWS)
def test_what_was_shown_how_often_leaves_no_trace(shows: list[tuple[int, bool]]) -> None:
    require_no_trace(shows)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(SHOWS)
def test_what_was_shown_how_often_leaves_no_trace_in_five_hundred_runs(
    shows: list[tuple[int, bool]],
) -> None:
    require_no_trace(shows)


def require_no_trace(shows: list[tuple[int, bool]]) -> None:
    """Show each bar unfinished so often first; `reads`: and read the window in between."""
    buffer = FeatureBuffer()
    for number, (repeats, reads) in enumerate(shows, start=1):
        for unfinished in range(repeats):  # a bar that grows, as a replayed one does
            buffer.update(
                number,
                TIMESTAMPS[number - 1],
                *(value + unfinished for value in VALUES[number - 1]),
            )
            assert not reads or buffer.window is not None
        buffer.update(number, TIMESTAMPS[number - 1], *VALUES[number - 1])
    assert (buffer.window == fed(BARS.iloc[: len(shows)]).window).all()
    assert (buffer.inputs()[1] == TIMESTAMPS[len(shows) - 150 : len(shows)]).all()


def test_an_unchanged_bar_says_that_nothing_changed() -> None:
    buffer = fed(BARS.iloc[:150])
    assert buffer.update(150, TIMESTAMPS[149], *VALUES[149]) is False
    assert buffer.update(150, TIMESTAMPS[149], *VALUES[150]) is True
    assert buffer.update(151, TIMESTAMPS[150], *VALUES[150]) is True


def test_numbers_may_skip() -> None:
    assert (
        fed(BARS.iloc[:200], numbers=[*range(1, 101), *range(201, 301)]).window
        == fed(BARS.iloc[:200]).window
    ).all()


def test_the_first_number_may_be_nought() -> None:
    buffer = fed(BARS.iloc[:150], numbers=range(150))
    assert buffer.ready and (buffer.window == ROWS[:50]).all()


def test_a_lower_number_is_refused() -> None:
    with pytest.raises(ValueError, match="`number` must not fall: got bar 9 after bar 150"):
        fed(BARS.iloc[:150]).update(9, TIMESTAMPS[8], *VALUES[8])


def test_history_before_the_last_150_bars_leaves_no_trace() -> None:
    assert (fed(BARS).window == fed(BARS.iloc[-150:]).window).all()


@pytest.mark.parametrize("ago", [0, -1])
def test_the_inputs_are_the_raw_bars_that_the_window_depends_on(ago: int) -> None:
    values, timestamps = fed(BARS).inputs(ago)
    assert values.tolist() == VALUES[850 + ago : 1_000 + ago]
    assert timestamps.tolist() == TIMESTAMPS[850 + ago : 1_000 + ago]
