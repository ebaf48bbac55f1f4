"""A book's target weights: from ranks and what is held to shares of the equity. Pure functions."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Self

WEIGHTS = ("equal", "inverse-volatility")
# A share of names that is just a whole number must not lose one to binary fractions: .29 of 100.
ROUNDING = 1e-9


class BookRules(NamedTuple):
    """How a book is made of ranks; the fields are params of the strategy.

    long, short: names on either side, a whole number or a share of those ranked, 0 for none. keep:
    a held name stays until its rank falls beyond so many times its side. weights: of `WEIGHTS`.
    gross: all positions over equity, shorts included; each of two sides gets half. cap: the most of
    one name. fewest: names that must be ranked.
    """

    long: float = 0.2
    short: float = 0.2
    keep: float = 2.0
    weights: str = "equal"
    gross: float = 0.95
    cap: float = 1.0
    fewest: int = 2

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        return cls(*(params[name] for name in cls._fields))

    def counts(self, ranked: int) -> tuple[int, int]:
        """Return the names on the long and on the short side where so many are ranked.

        A share is rounded down, but not to none.
        """
        return tuple(  # type: ignore[return-value]  # two sides
            int(side) if side >= 1 or not side else max(1, math.floor(side * ranked + ROUNDING))
            for side in (self.long, self.short)
        )

    @property
    def sides(self) -> tuple[float, float]:
        """The gross exposure of the long and of the short side."""
        part = self.gross / 2 if self.long and self.short else self.gross
        return part * bool(self.long), part * bool(self.short)

    def enough(self, ranked: int) -> bool:
        """Whether so many ranked names make a book."""
        return ranked >= max(self.fewest, sum(self.counts(ranked)))


def target_weights(
    scores: Mapping[str, float],
    held: Mapping[str, float],
    rules: BookRules,
    *,
    volatility: Mapping[str, float] | None = None,
    unopened: Collection[str] = (),
) -> dict[str, float] | None:
    """Return the share of the equity that each ranked name is to have, shorts below 0.

    The names are ranked by their scores, equal ones by name. Those held stay on their side while
    their rank is within `keep` times it and the other side's own names do not claim them; the best
    of the others fill what is left. What is held without a score cannot be traded: it keeps its
    place and its exposure, and the others share the rest.

    Parameters
    ----------
    scores
        Of the names that may be traded, the higher the better.
    held
        Weights of the positions; those without a score are out of reach.
    rules
        How many names, how long kept, which weights and limits.
    volatility
        Of the names, any unit; for weights by its inverse. One without is not ranked.
    unopened
        Names that may be kept or closed, neither opened nor enlarged; they are ranked as well, and
        a place that one would get stays empty.

    Returns
    -------
    dict or None
        By name, 0 for those not to be held; None where too few are ranked for a book.

    Examples
    --------
    >>> rules = BookRules(long=1, short=1, keep=2.0, gross=1.0)
    >>> target_weights({"a": 0.6, "b": 0.5, "c": 0.4}, {"b": 0.5}, rules)
    {'a': 0.0, 'b': 0.5, 'c': -0.5}
    """
    if volatility is not None:
        scores = {name: score for name, score in scores.items() if volatility.get(name, 0.0) > 0}
    frozen = [weight for name, weight in held.items() if weight and name not in scores]
    # By name where scores are equal, so that the order of the feeds decides nothing.
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    if not rules.enough(len(ranked)):
        return None
    n_long, n_short = rules.counts(len(ranked))
    upwards = ranked[::-1]
    longs = _side(ranked, n_long, {n for n in ranked if held.get(n, 0.0) > 0}, rules, unopened)
    shorts = _side(upwards, n_short, {n for n in ranked if held.get(n, 0.0) < 0}, rules, unopened)
    # The first of either side are its own: they never are the last of the other that is kept.
    longs = [name for name in longs if name not in upwards[:n_short]]
    shorts = [name for name in shorts if name not in ranked[:n_long]]
    # A position that is out of reach keeps its place among the names of its side.
    longs = longs[: max(0, n_long - sum(weight > 0 for weight in frozen))]
    shorts = shorts[: max(0, n_short - sum(weight < 0 for weight in frozen))]
    money = _free(rules, frozen)
    weights = dict.fromkeys(sorted(scores), 0.0)
    for names, sign, total in ((longs, 1, money[0]), (shorts, -1, money[1])):
        parts = {name: 1.0 if volatility is None else 1 / volatility[name] for name in names}
        caps = {
            # What may not be enlarged has what it holds as its cap.
            name: min(rules.cap, abs(held[name])) if name in unopened else rules.cap
            for name in names
        }
        weights |= {name: sign * size for name, size in spread(total, parts, caps).items()}
    return weights


def _side(
    ranked: Sequence[str], count: int, held: set[str], rules: BookRules, unopened: Collection[str]
) -> list[str]:
    """Return the names of a side, best first: those kept before those that are new."""
    band = ranked[: math.floor(rules.keep * count + ROUNDING)] if count else []
    kept = [name for name in band if name in held]
    return kept + [name for name in ranked[:count] if name not in held and name not in unopened]


def _free(rules: BookRules, frozen: Sequence[float]) -> tuple[float, float]:
    """Return the exposure that is left to either side beside positions out of reach."""
    taken = (sum(w for w in frozen if w > 0), -sum(w for w in frozen if w < 0))
    long, short = (max(0.0, side - own) for side, own in zip(rules.sides, taken, strict=True))
    left = max(0.0, rules.gross - sum(taken))
    # One side beyond its half by what it cannot sell takes it from the other.
    part = min(1.0, left / (long + short)) if long + short else 0.0
    return long * part, short * part


def spread(total: float, parts: Mapping[str, float], caps: Mapping[str, float]) -> dict[str, float]:
    """Return the total in proportion to the parts, none above its cap.

    What a cap cuts off goes to the others in proportion; what nobody may take is left.

    Parameters
    ----------
    total
        To be spread, from 0.
    parts
        By name, above 0.
    caps
        The most of each name.

    Returns
    -------
    dict
        By name; the sum is the total, or that of the caps where it is less.

    Examples
    --------
    >>> spread(1.0, {"a": 3.0, "b": 1.0}, {"a": 0.6, "b": 0.6})
    {'a': 0.6, 'b': 0.4}
    """
    found: dict[str, float] = {}
    open = dict(parts)
    while open:
        scale = max(0.0, total - math.fsum(found.values())) / math.fsum(open.values())
        # What one cap cuts off may lift others over theirs: another round, until none is.
        full = [name for name, part in open.items() if part * scale >= caps[name]]
        if not full:
            found |= {name: part * scale for name, part in open.items()}
            break
        for name in full:
            found[name] = caps[name]
            del open[name]
    return found
