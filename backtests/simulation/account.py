"""What trading costs, and the account it is paid from: the settings of a simulation."""

from dataclasses import dataclass
from typing import Annotated

from model.settings import Rule, number, require_fields
from strategy_plugin.decision import thresholds

BASIS_POINT = 1e-4
WORTH = 0.01  # an alpha a year that is worth having, by default
BasisPoints = Annotated[float, Rule("a number of basis points from 0", number(0).holds)]


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
    worth
        The alpha a year that is worth having, as a fraction: where it is surely less, the verdict
        is "no edge".
    """

    cash: Annotated[float, number(above=0)] = 100_000.0
    enter: float | None = None
    exit: float | None = None
    allow_short: bool = False
    worth: Annotated[float, number(above=0)] = WORTH

    def __post_init__(self) -> None:
        require_fields(self)
        if (self.enter is None) != (self.exit is None):
            raise ValueError(
                "`enter` and `exit` must be given together or not at all, "
                f"got {self.enter} and {self.exit}."
            )
        thresholds(self.enter, self.exit)  # refuses what the strategy would refuse
