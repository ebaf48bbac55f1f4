"""The options of the walk-forward that put a synthetic market in the place of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from backtests import synthetic
from model.labels.moves import MOVES
from model.settings import require_fields, whole

if TYPE_CHECKING:
    import pandas as pd

    from backtests.synthetic.markets import Market


@dataclass(frozen=True)
class MarketOptions:
    """A synthetic market in the place of data.

    Parameters
    ----------
    market
        A market on which the best possible forecast is known, in the place of data: echo, volrev,
        regime, latch, magecho, shared, walk or walkdrift, also with its settings, as in
        echo:strength=0.5. Best known with --context: leader (leader), weekly (self:1W).
    market_bars
        How many bars of it.
    market_seed
        Which of its histories.
    instruments
        With --pooled: how many histories of it make a universe, one seed after the other.
    """

    market: str | None = None
    market_bars: Annotated[int, whole(1)] = 12_000
    market_seed: Annotated[int, whole(0)] = 1
    instruments: Annotated[int, whole(1)] = 1

    def __post_init__(self) -> None:
        require_fields(self)

    @property
    def name(self) -> str:
        return (self.market or "").partition(":")[0]

    def require_alone(self, data: bool, label: str, horizon: int) -> None:
        """Refuse a market beside data, and for a label of which its best forecast says nothing.

        data: whether a file is given.
        """
        if self.market and data:
            raise ValueError(
                "`data` and `market` exclude each other: a market makes its own bars. Give one of "
                "them."
            )
        if self.market and label not in MOVES:
            raise ValueError(
                f"`label` must be one of {', '.join(MOVES)} with `market`, got {label!r}: its best "
                "forecast is known for the next bar's move."
            )
        # The best forecast of a planted law is known for one bar; over more it would be a guess.
        if self.market and horizon != 1:
            raise ValueError(
                f"`horizon` must be 1 with `market`, got {horizon}: its best forecast is known for "
                "the next bar."
            )

    def sample(self) -> Market:
        name, strengths = synthetic.parse_market(self.market or "")
        return synthetic.market(name, self.market_bars, self.market_seed, **strengths)

    def sample_universe(self) -> tuple[dict[str, pd.DataFrame], dict[str, pd.Series]]:
        """Return independent histories by name, and the best forecast at each bar of them."""
        universe = synthetic.planted_universe(
            self.market or "", self.instruments, self.market_bars, self.market_seed
        )
        best = {name: one.probability for name, one in universe.items()}
        return {name: one.bars for name, one in universe.items()}, best
