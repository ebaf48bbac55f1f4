"""What a book decides, date by date: whether it is ranked, its weights, and the units of each name.

Trading and its replay both decide here, so that they cannot come apart.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from strategy_plugin.decision import AT_FAULT, DECIDED, RESTING
from strategy_plugin.orders import OrderManager
from strategy_plugin.sizers import units_of
from strategy_plugin.weights import BookRules, target_weights


class Candidate(NamedTuple):
    """A name with a bar on a date.

    score: what it is ranked by. reason: why it may not be ranked or opened, "" where it may.
    volatility: of its closes, NaN where it is not known. worth: money a unit stands for.
    """

    score: float
    reason: str
    volatility: float
    worth: float

    @property
    def tradable(self) -> bool:
        """Whether orders may go out on its bar."""
        return self.reason not in (*RESTING, AT_FAULT)

    @property
    def ranked(self) -> bool:
        return self.reason in DECIDED and math.isfinite(self.score)


class Book:
    """The state of a book: weights as ranked last, and the units that each name is worked towards.

    rebalance: dates from one ranking to the next. fractional: False rounds down to whole units.
    n_ranked, n_thin: dates with a ranking, and those with too few names.
    """

    def __init__(self, rules: BookRules, rebalance: int, fractional: bool) -> None:
        self.rules, self.rebalance, self._fractional = rules, rebalance, fractional
        self._since = rebalance  # dates since the last ranking
        self.weights: dict[str, float] = {}
        self.units: dict[str, float] = {}
        self.n_ranked = self.n_thin = 0

    def is_due(self, candidates: Mapping[str, Candidate]) -> bool:
        """Return whether a date is to be ranked; once for each date."""
        # Dates of warm-up, and those on which nothing is live, are no dates of the book.
        self._since += any(one.tradable for one in candidates.values())
        return self._since >= self.rebalance

    def rank(
        self, candidates: Mapping[str, Candidate], held: Mapping[str, float], equity: float
    ) -> list[str]:
        """Set weights and units anew; return the names whose weight is less than a unit.

        Where too few names are ranked the book stays, and the next date is due as well.
        """
        ranked = {name: one for name, one in candidates.items() if one.ranked}
        inverse = self.rules.weights != "equal"
        weights = target_weights(
            {name: one.score for name, one in ranked.items()},
            held,
            self.rules,
            volatility={name: one.volatility for name, one in ranked.items()} if inverse else None,
            unopened={name for name, one in ranked.items() if one.reason},
        )
        if weights is None:
            # Where nothing has a forecast yet the book is early, not thin.
            self.n_thin += bool(ranked)
            return []
        self._since, self.weights = 0, weights
        self.n_ranked += 1
        for name, weight in weights.items():
            # At the newest close; the open at which it fills is not known.
            units = units_of(
                abs(weight),
                equity=equity,
                traded=1,
                worth=candidates[name].worth,
                fractional=self._fractional,
            )
            self.units[name] = math.copysign(units, weight)
        return [name for name, weight in weights.items() if weight and not self.units[name]]

    def moves(
        self, candidates: Mapping[str, Candidate], orders: Mapping[str, OrderManager]
    ) -> dict[str, float]:
        """Return the units of the names that a new order would bring there."""
        return {
            name: units
            for name, one in candidates.items()
            if one.tradable
            and (units := self.units.get(name)) is not None
            and units != orders[name].broker.size
            and not orders[name].works_towards(units)
        }

    def cut_openings(
        self, moves: Mapping[str, float], orders: Mapping[str, OrderManager], share: float
    ) -> None:
        """Leave a share of all that the moves open; what they close stays whole."""
        for name, units in moves.items():
            stays = common_units(orders[name].broker.size, units)
            opening = (units - stays) * share
            # Towards 0: rounded up, it would take cash that is not there.
            self.units[name] = stays + (opening if self._fractional else math.trunc(opening))


class TrailingVolatility:
    """The standard deviation of a name's last log moves; NaN before there are so many."""

    def __init__(self, window: int) -> None:
        self._moves = deque[float](maxlen=window)
        self.close = math.nan

    def add(self, close: float) -> None:
        """Take the close of a sound bar."""
        if not math.isnan(self.close):
            self._moves.append(math.log(close / self.close))
        self.close = close

    @property
    def value(self) -> float:
        # Of fewer moves it would be another figure, and a young name get a weight by luck.
        if len(self._moves) != self._moves.maxlen:
            return math.nan
        # Exact sums: the same bits whatever bar the history starts at.
        mean = math.fsum(self._moves) / len(self._moves)
        return math.sqrt(math.fsum((move - mean) ** 2 for move in self._moves) / len(self._moves))


def common_units(one: float, other: float) -> float:
    """Return what two positions have in common, 0 where they are on different sides."""
    return math.copysign(min(abs(one), abs(other)), one) if one * other > 0 else 0.0
