"""How far a long work says that it is."""

import io
from collections.abc import Iterator
from itertools import count

import pytest
from rich.console import Console

from backtests.progress import time_spent, tracked


@pytest.fixture
def clock() -> Iterator[float]:
    """Half a minute later at each look."""
    return (30.0 * look for look in count())


def test_a_file_gets_a_line_a_minute(clock: Iterator[float]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100)
    passed = list(tracked(range(8), console, "walks", 8, lambda: next(clock)))
    assert passed == list(range(8))
    assert screen.getvalue().splitlines() == [
        "walks: 2 of 8 done, about 4 minutes left",
        "walks: 5 of 8 done, about 2 minutes left",
    ]


def test_a_terminal_gets_a_bar_that_goes_again() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    assert list(tracked(iter("ab"), console, "walks", 2)) == ["a", "b"]
    assert "walks" in screen.getvalue() and "done" not in screen.getvalue()


@pytest.mark.parametrize(
    "seconds, words",
    [
        (1, "1 second"),
        (99, "99 seconds"),
        (150, "2 minutes"),
        (5_900, "98 minutes"),
        (9_000, "2 hours"),
    ],
)
def test_a_time_is_told_in_words(seconds: float, words: str) -> None:
    assert time_spent(seconds) == words
