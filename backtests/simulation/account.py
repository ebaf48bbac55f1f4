"""What trading costs, and the account it is paid from: the settings of a simulation."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from model.settings import Rule, number, optional, require_fields, whole
from strategy_plugin.decision import BARRIER, PROBABILITY, thresholds
from strategy_plugin.weights import BookRules

BASIS_POINT = 1e-4
WORTH = 0.01  # an alpha a year that is worth having, by default
BasisPoints = Annotated[float, Rule("a number of basis points from 0", number(0).holds)]
Side = Annotated[
    float,
    Rule(
        "a whole number of names, or a share of them below 1; 0 for none",
        lambda value: number(0).holds(value) and (value < 1 or value == math.floor(value)),
    ),
]
Share = Annotated[float, Rule("a share from 0 to 1", number(0, below=math.nextafter(1, 2)).holds)]


@dataclass(frozen=True)
class Costs:
    """What a trade costs on each side, in basis points of its value (1 bp = 0.01 %).

    Every field is a flag of the command.

    Parameters
    ----------
    commission
        The broker's commission per side, in basis points of the trade's value (1 = 0.01 %).
    half_spread
        Half the distance between bid and ask, in basis points: what an order at the market pays per
        side.
    slippage
        How much worse than the quote an order fills, per side, in basis points.
    """

    commission: BasisPoints = 1.0
    half_spread: BasisPoints = 0.5
    slippage: BasisPoints = 0.5

    def __post_init__(self) -> None:
        require_fields(self)

    @property
    def in_price(self) -> float:
        """The part that is paid in a worse price, as a fraction of it."""
        # Commission is paid beside the price, and known to the broker as such.
        return (self.half_spread + self.slippage) * BASIS_POINT

    @property
    def per_side(self) -> float:
        return self.commission + self.half_spread + self.slippage

    def __str__(self) -> str:
        return (
            f"{self.per_side:g} basis points per side: commission {self.commission:g}, "
            f"half spread {self.half_spread:g}, slippage {self.slippage:g}"
        )


@dataclass(frozen=True)
class Account:
    """The money at the start and the rule it is traded by; every field is a flag of the command.

    Parameters
    ----------
    cash
        Money at the start.
    enter
        Probability from which a long position is opened; default: each checkpoint's own, or .50.
    exit
        Probability from which it is kept; default: each checkpoint's own, or .50.
    allow_short
        Also go short, by the same thresholds mirrored at one half.
    exit_by
        What closes a position: "probability", or with the label "barrier" also "barrier": its take
        profit, its stop loss, or the next open after its horizon.
    worth
        The alpha a year that is worth having, as a fraction: where it is surely less, the verdict
        is "no edge".
    """

    cash: Annotated[float, number(above=0)] = 100_000.0
    enter: float | None = None
    exit: float | None = None
    allow_short: bool = False
    exit_by: Literal["probability", "barrier"] = PROBABILITY
    worth: Annotated[float, number(above=0)] = WORTH

    def __post_init__(self) -> None:
        require_fields(self)
        if self.exit_by == BARRIER:
            if self.exit is not None or self.allow_short:
                raise ValueError(
                    "`exit` and `allow_short` must be left out with exit_by='barrier': long "
                    "positions alone, and no probability closes them."
                )
        # One alone would be paired with one that validation chose for another.
        elif (self.enter is None) != (self.exit is None):
            raise ValueError(
                "`enter` and `exit` must be given together or not at all, "
                f"got {self.enter} and {self.exit}."
            )
        thresholds(self.enter, self.exit)  # refuses what the strategy would refuse


@dataclass(frozen=True)
class BookSettings:
    """How the names of a universe are ranked and held in one account.

    Every field is a flag of the command, and a param of BookStrategy unless it says otherwise.

    Parameters
    ----------
    long
        Names held long, the best: a whole number, or a share below 1 of those ranked; 0 for none.
    short
        Names held short, the worst, in the same way.
    keep
        A name that is held stays until its rank falls beyond so many times its side; default: what
        would have earned most on each fold's validation part.
    rebalance
        Dates from one ranking to the next; default: chosen with keep.
    weights
        "equal", or "inverse-volatility" over the last window moves.
    window
        Moves of the close that tell the volatility.
    gross
        All positions over the equity, shorts included; each of two sides gets half.
    cap
        The most of one name, as a share of the equity.
    fewest
        Names with a forecast that a date must have, else the book stays as it is.
    fractional
        Trade parts of units; --no-fractional rounds down to whole ones.
    settle_after
        Dates without a bar after which the position of a name is settled at its last close (the
        strategy's patience).
    delisting_loss
        The share of that close that is lost then.
    borrow
        What borrowing a short costs a year, as a share of its price at entry (the broker's
        interest).
    """

    long: Side = 0.2
    short: Side = 0.2
    keep: Annotated[float | None, optional(number(1))] = None
    rebalance: Annotated[int | None, optional(whole(1))] = None
    weights: Literal["equal", "inverse-volatility"] = "equal"
    window: Annotated[int, whole(2)] = 20
    gross: Annotated[float, number(above=0)] = 0.95
    cap: Annotated[float, number(above=0)] = 1.0
    fewest: Annotated[int, whole(1)] = 2
    fractional: bool = True
    settle_after: Annotated[int, whole(1)] = 5
    delisting_loss: Share = 0.0
    borrow: Annotated[float, number(0)] = 0.0

    def __post_init__(self) -> None:
        require_fields(self)

    def rules(self, keep: float) -> BookRules:
        """Return how target weights are made of ranks. keep: in force."""
        return BookRules.of(self.params(keep, 1))

    def params(self, keep: float, rebalance: int) -> dict[str, object]:
        """Return the params of BookStrategy. keep, rebalance: in force."""
        given = {name: value for name, value in vars(self).items() if name != "borrow"}
        # A command reads all numbers of names as fractions; a share is below 1.
        sides = {
            side: int(given[side]) if given[side] >= 1 else given[side]
            for side in ("long", "short")
        }
        patience = given.pop("settle_after")
        return given | sides | {"keep": keep, "rebalance": rebalance, "patience": patience}

    @property
    def neutral(self) -> bool:
        """Whether the book is both long and short, and so is held against cash."""
        return bool(self.long and self.short)
