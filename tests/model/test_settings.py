"""Rules for settings: what they accept, and how a refusal is worded."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from model.settings import (
    Rule,
    number,
    one_of,
    optional,
    require,
    require_fields,
    require_known,
    whole,
)


@pytest.mark.parametrize(
    ("rule", "words", "good", "bad"),
    [
        (whole(1), "a whole number from 1", [1, 10**30], [0, -1, 1.0, True, "1", None]),
        (whole(0, 3), "a whole number from 0 to 3", [0, 3], [-1, 4]),
        (number(), "a finite number", [-1e9, 0, 1.5], [math.inf, -math.inf, math.nan, "1", None]),
        (number(0), "a finite number from 0", [0, 0.1], [-0.1, math.inf]),
        (number(above=0), "a finite number above 0", [1e-9, 5], [0, -1, math.nan]),
        (
            number(0, below=1),
            "a number from 0 up to but not including 1",
            [0.0, 0.99],
            [1, 1.0, -0.1],
        ),
        (number(above=0, below=1), "a number above 0 and below 1", [0.1, 0.99], [0, 1, math.nan]),
        (optional(whole(1)), "a whole number from 1", [1, None], [0, "", False]),
        (one_of("a", "b"), "one of a, b", ["a", "b"], ["c", "", None, 1]),
    ],
)
def test_a_rule_says_what_it_accepts(
    rule: Rule, words: str, good: list[Any], bad: list[Any]
) -> None:
    assert rule.words == words
    assert all(rule.holds(value) for value in good)
    assert not any(rule.holds(value) for value in bad)


def test_all_settings_that_break_their_rule_are_refused_in_one_message() -> None:
    settings = {"horizon": 0, "stamp": "noon", "fine": 1, "other": None}
    rules = {"horizon": whole(1), "stamp": one_of("open", "close"), "fine": whole(1)}
    with pytest.raises(ValueError) as refusal:
        require(settings, rules)
    assert str(refusal.value) == (
        "`horizon` must be a whole number from 1, got 0. "
        "`stamp` must be one of open, close, got 'noon'."
    )


def test_what_is_not_known_is_refused_with_the_nearest_name() -> None:
    require_known("market", ["echo"], ["echo", "walk"])
    with pytest.raises(ValueError, match=r"^unknown market: 'xyz'\. Choose from: echo, walk\.$"):
        require_known("market", ["echo", "xyz", "ecko"], ["echo", "walk"])


@dataclass(frozen=True)
class Plan:
    """Settings with a rule in the types of three of them."""

    folds: Annotated[int, whole(1)] = 1
    share: Annotated[float, "of all", number(0, below=1)] = 0.5
    stamp: Literal["open", "close"] = "open"
    name: str = ""


def test_the_fields_of_a_dataclass_keep_the_rules_in_their_types() -> None:
    require_fields(Plan(name="free"))
    with pytest.raises(ValueError) as refusal:
        require_fields(Plan(folds=0, share=1.0, stamp="noon"))  # type: ignore[arg-type]
    assert str(refusal.value) == (
        "`folds` must be a whole number from 1, got 0. "
        "`share` must be a number from 0 up to but not including 1, got 1.0. "
        "`stamp` must be one of open, close, got 'noon'."
    )


def test_settings_that_keep_their_rules_pass() -> None:
    require({"horizon": 1}, {"horizon": whole(1)})
