"""What the walk-forward's command takes beside bars and settings, and what it refuses at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import backtests
from backtests import synthetic
from backtests.simulation.account import Account, BookSettings
from backtests.walk_forward.plan import FoldPlan
from model.cli import require_pooled
from model.networks.registry import members_of
from model.settings import require_fields, whole
from model.training.config import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from backtests.synthetic.markets import Market
    from backtests.walk import Request


@dataclass(frozen=True)
class MarketOptions:
    """A synthetic market in the place of data.

    Parameters
    ----------
    market
        A market on which the best possible forecast is known, in the place of data: echo, volrev,
        regime, latch, magecho, walk or walkdrift, also with its settings, as in echo:strength=0.5.
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

    def sample(self) -> Market:
        name, strengths = synthetic.parse_market(self.market or "")
        return synthetic.market(name, self.market_bars, self.market_seed, **strengths)

    def sample_universe(self) -> tuple[dict[str, pd.DataFrame], dict[str, pd.Series]]:
        """Return independent histories by name, and the best forecast at each bar of them."""
        text = self.market or ""
        return backtests.walk_pooled.planted_universe(
            text, self.instruments, self.market_bars, self.market_seed
        )


def require_possible(
    paths: Sequence[Path],
    market_options: MarketOptions,
    training: TrainConfig,
    pooled: bool,
    book: BookSettings | None,
) -> None:
    """Refuse flags that cannot be meant together."""
    require_pooled(pooled, training.outcome)
    if book is not None and not pooled:
        given = [name for name, value in vars(book).items() if value != getattr(BookSettings, name)]
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in given) or 'the flags of a book'} must be left out "
            "without `pooled`: a book ranks the names of a universe by one network. Give `pooled`."
        )
    if market_options.instruments > 1 and not pooled:
        raise ValueError(
            f"`instruments` must be 1 without `pooled`, got {market_options.instruments}: "
            "the histories of a market make a universe for one network. Give `pooled`."
        )
    if market_options.market and paths:
        raise ValueError(
            "`data` and `market` exclude each other: a market makes its own bars. Give one of them."
        )
    if market_options.market and training.horizon != 1:
        raise ValueError(
            f"`horizon` must be 1 with `market`, got {training.horizon}: "
            "its best forecast is known for the next bar."
        )
    if market_options.instruments > 1 and not market_options.market:
        raise ValueError(
            f"`instruments` must be left out without `market`, got {market_options.instruments}: "
            "files of bars are counted as they are."
        )


def require_pooled_settings(request: Request) -> None:
    """Refuse what would have no part in one network for a universe."""
    settings, account = request.settings, Account()
    ranked = settings.book is not None
    idle = {
        "cash": not ranked and settings.account.cash != account.cash,
        "ledger": request.ledger is not None,
        "register": request.register,
        "enter": ranked and settings.account.enter is not None,
        "exit": ranked and settings.account.exit is not None,
        "allow_short": ranked and settings.account.allow_short,
        "fewest_trades": ranked and settings.plan.fewest_trades != FoldPlan().fewest_trades,
    }
    if any(idle.values()):
        names = ", ".join(f"`{name}`" for name, stated in idle.items() if stated)
        raise ValueError(
            f"{names} must be left out with `pooled`"
            f"{' where names are ranked' if ranked else ''}: a paper book knows only shares of the "
            "money, ranks have no thresholds, and the ledger counts trials on one instrument, of "
            "which alone a run is registered."
        )


def architecture_names(given: str) -> list[str]:
    names = [name.strip() for name in given.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"`architecture` must name each but once, got {given}.")
    for name in names:
        members_of(name)  # refuses what nobody registered
    return names
