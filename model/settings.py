"""Rules for settings, and the one refusal of those that break them.

*`name` must be X, got Y*: all faults of a class or call together, so that nobody mends them one by
one.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from model.errors import did_you_mean


class Rule(NamedTuple):
    """What a setting must be, in words and as a check of its value."""

    words: str
    holds: Callable[[Any], bool]


def require(settings: Mapping[str, object], rules: Mapping[str, Rule]) -> None:
    """Refuse all settings that break their rule in one ValueError.

    >>> require({"horizon": 0, "precision": "fp16"}, {"horizon": whole(1)})
    Traceback (most recent call last):
    ValueError: `horizon` must be a whole number from 1, got 0.
    """
    faults = [
        f"`{name}` must be {rule.words}, got {settings[name]!r}."
        for name, rule in rules.items()
        if not rule.holds(settings[name])
    ]
    if faults:
        raise ValueError(" ".join(faults))


def require_fields(config: object) -> None:
    """Refuse the fields of a dataclass that break the rule in their type.

    Rules stand in types such as Annotated[int, whole(1)] and Literal["open", "close"].
    """
    rules: dict[str, Rule] = {}
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        if get_origin(hint) is Literal:
            rules[name] = one_of(*get_args(hint))
        elif get_origin(hint) is Annotated:
            # Beside a rule there may stand what others read, such as the flag's group.
            for extra in hint.__metadata__:
                if isinstance(extra, Rule):
                    rules[name] = extra
    require(vars(config), rules)


def require_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first name that is not known, with the nearest one that is.

    >>> require_known("market", ["ecko"], ["echo", "walk"])
    Traceback (most recent call last):
    ValueError: unknown market: 'ecko'. Did you mean 'echo'? Choose from: echo, walk.
    """
    known = list(known)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"unknown {what}: {name!r}.{hint} Choose from: {', '.join(known)}.")


def optional(rule: Rule) -> Rule:
    """Return the same rule for a setting that may be left out, and is None then."""
    return Rule(rule.words, lambda value: value is None or rule.holds(value))


def whole(least: int, most: int | None = None) -> Rule:
    """Return the rule for a whole number, both bounds included; True and False are none."""
    words = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    highest = math.inf if most is None else most
    # To Python True is the number 1; as a setting it is a slip.
    return Rule(
        words,
        lambda value: (
            isinstance(value, int) and not isinstance(value, bool) and least <= value <= highest
        ),
    )


def number(least: float = -math.inf, *, above: float = -math.inf, below: float = math.inf) -> Rule:
    """Return the rule for a finite number from `least` or above `above`, and below `below`.

    True and False are none.
    """
    words = "a number" if below < math.inf else "a finite number"
    if least > -math.inf:
        words += f" from {least:g}"
    if above > -math.inf:
        words += f" above {above:g}"
    if below < math.inf:
        words += f" {'and below' if above > -math.inf else 'up to but not including'} {below:g}"
    # Every comparison with NaN is False, and infinity is not below itself: neither keeps a rule.
    return Rule(
        words,
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value < below
            and above < value
        ),
    )


def one_of(*choices: str) -> Rule:
    """Return the rule for one of a few words."""
    return Rule(f"one of {', '.join(choices)}", lambda value: value in choices)
