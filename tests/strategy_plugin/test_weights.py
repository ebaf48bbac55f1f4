"""A book's weights: who is held, how much of each, and what never happens."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategy_plugin.weights import BookRules, spread, target_weights

NAMES = [f"n{number:02d}" for number in range(12)]
FEW = settings(max_examples=60, deadline=None)
SIDES = st.one_of(st.integers(0, 4), st.floats(0.05, 0.5))


@st.composite
def books(draw: Any) -> dict[str, Any]:
    """The arguments of a book of up to twelve names, with ties, halted and closing-only names."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    long, short = draw(SIDES), draw(SIDES)
    rules = BookRules(
        long=long or (0 if short else 1),
        short=short,
        keep=draw(st.floats(1.0, 4.0)),
        gross=draw(st.floats(0.1, 3.0)),
        cap=draw(st.floats(0.02, 1.0)),
    )
    # Multiples of a tenth: many ties.
    scores = {name: draw(st.integers(0, 10)) / 10 for name in names}
    weight = st.floats(-0.3, 0.3).map(lambda weight: 0.0 if abs(weight) < 0.01 else weight)
    held = {name: draw(weight) for name in draw(st.lists(st.sampled_from(NAMES), unique=True))}
    volatility = {name: draw(st.floats(0.001, 0.1)) for name in names}
    return {
        "scores": scores,
        "held": held,
        "rules": rules,
        "volatility": draw(st.sampled_from([None, volatility])),
        "unopened": set(draw(st.lists(st.sampled_from(NAMES), max_size=3))),
    }


def frozen(book: dict[str, Any]) -> float:
    return sum(abs(w) for name, w in book["held"].items() if name not in book["scores"])


@FEW
@given(books())
def test_neither_gross_nor_cap_is_ever_passed(book: dict[str, Any]) -> None:
    weights = target_weights(**book)
    if weights is None:
        return
    rules = book["rules"]
    total = sum(map(abs, weights.values()))
    assert total <= max(0.0, rules.gross - frozen(book)) + 1e-9
    assert max(map(abs, weights.values())) <= rules.cap
    for name in set(weights) & book["unopened"]:
        assert abs(weights[name]) <= abs(book["held"].get(name, 0.0))
        assert weights[name] * book["held"].get(name, 0.0) >= 0


@FEW
@given(books(), st.randoms(use_true_random=False))
def test_the_order_of_the_names_says_nothing(book: dict[str, Any], draw: random.Random) -> None:
    shuffled = dict(book)
    for part in ("scores", "held", "volatility"):
        if book[part] is not None:
            shuffled[part] = dict(draw.sample(list(book[part].items()), len(book[part])))
    assert target_weights(**shuffled) == target_weights(**book)


@FEW
@given(books())
def test_a_book_that_is_as_it_should_be_stays(book: dict[str, Any]) -> None:
    weights = target_weights(**book)
    if weights is None:
        return
    again = target_weights(**book | {"held": book["held"] | weights})
    assert again == pytest.approx(weights, abs=1e-12)


def changed(book: dict[str, Any], keep: float) -> int | None:
    weights = target_weights(**book | {"rules": book["rules"]._replace(keep=keep)})
    if weights is None:
        return None
    return sum(
        (weight > 0) != (book["held"].get(name, 0.0) > 0)
        or (weight < 0) != (book["held"].get(name, 0.0) < 0)
        for name, weight in weights.items()
    )


@FEW
@given(books(), st.floats(1.0, 4.0))
def test_keeping_longer_changes_no_more_names(book: dict[str, Any], keep: float) -> None:
    # Without room on a side a name is chosen and gets nothing, whatever is kept.
    if frozen(book):
        return
    shorter, longer = sorted((book["rules"].keep, keep))
    few, many = changed(book, longer), changed(book, shorter)
    assert few is many is None or few <= many


SCORES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5, "f": 0.4}


@pytest.mark.parametrize(
    ("held", "rules", "wanted"),
    [
        ({}, {}, {"a": 0.5, "f": -0.5}),
        ({"b": 0.4}, {}, {"b": 0.5, "f": -0.5}),  # within twice the side
        ({"b": 0.4}, {"keep": 1.0}, {"a": 0.5, "f": -0.5}),
        ({"c": 0.4}, {}, {"a": 0.5, "f": -0.5}),  # beyond it
        ({"f": 0.4}, {"keep": 6.0}, {"a": 0.5, "f": -0.5}),  # the best short is no long to keep
        ({"e": -0.4, "a": -0.1}, {}, {"a": 0.5, "e": -0.5}),
        ({}, {"short": 0}, {"a": 1.0}),
        ({}, {"long": 0.5, "short": 0, "cap": 0.2}, {"a": 0.2, "b": 0.2, "c": 0.2}),
        ({"halted": 0.3}, {"long": 2}, {"a": 0.2, "f": -0.5}),  # it keeps its place and exposure
        ({"halted": 0.9}, {"long": 2}, {"f": -0.1}),  # and what it has beyond its half
        ({"halted": -0.5}, {}, {"a": 0.5}),
        ({}, {"fewest": 7}, None),
        ({}, {"long": 4, "short": 3}, None),
    ],
)
def test_who_is_held(
    held: dict[str, float], rules: dict[str, Any], wanted: dict[str, float] | None
) -> None:
    book = BookRules(**{"long": 1, "short": 1, "gross": 1.0} | rules)
    weights = target_weights(SCORES, held, book)
    found = weights and {name: weight for name, weight in weights.items() if weight}
    assert found == (wanted and pytest.approx(wanted))


def test_calm_names_weigh_more_and_one_without_a_volatility_is_not_ranked() -> None:
    rules = BookRules(long=2, short=0, gross=0.9)
    volatility = {"a": 0.0, "b": 0.01, "c": 0.02, "d": math.nan}
    weights = target_weights(SCORES, {}, rules, volatility=volatility)
    assert weights == pytest.approx({"b": 0.6, "c": 0.3})


def test_a_name_not_to_be_opened_may_be_kept_or_closed() -> None:
    rules = BookRules(long=2, short=0, keep=1.0, gross=1.0)
    weights = target_weights(SCORES, {"a": 0.2, "f": 0.2}, rules, unopened={"a", "f"})
    assert weights == pytest.approx({"a": 0.2, "b": 0.8, "c": 0, "d": 0, "e": 0, "f": 0})
    weights = target_weights(SCORES, {"a": 0.2, "f": 0.2}, rules, unopened={"a", "b", "f"})
    assert weights == pytest.approx({"a": 0.2, "b": 0, "c": 0, "d": 0, "e": 0, "f": 0})


@pytest.mark.parametrize(
    ("side", "ranked", "count"),
    [(3, 60, 3), (0.2, 60, 12), (0.29, 100, 29), (0.1, 3, 1), (0, 9, 0)],
)
def test_a_side_is_a_number_or_a_share(side: float, ranked: int, count: int) -> None:
    assert BookRules(long=side, short=0).counts(ranked) == (count, 0)


def test_what_a_cap_cuts_off_goes_to_the_others() -> None:
    parts = {"a": 6.0, "b": 3.0, "c": 1.0}
    assert spread(1.0, parts, dict.fromkeys(parts, 0.5)) == pytest.approx(
        {"a": 0.5, "b": 0.375, "c": 0.125}
    )
    assert sum(spread(1.0, parts, dict.fromkeys(parts, 0.2)).values()) == pytest.approx(0.6)
