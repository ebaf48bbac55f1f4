"""What the walk-forward's command refuses at once: flags that cannot be meant together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backtests.simulation.account import Account, BookSettings
from backtests.synthetic.options import MarketOptions
from backtests.walk_forward.plan import FoldPlan
from model.cli import require_pooled
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from backtests.walk import Request


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
    market_options.require_alone(bool(paths), training.label, training.horizon)
    if market_options.instruments > 1 and not market_options.market:
        raise ValueError(
            f"`instruments` must be left out without `market`, got {market_options.instruments}: "
            "files of bars are counted as they are."
        )


def require_one_walk(searched: Path | None, several: bool, architectures: Sequence[str]) -> None:
    """Refuse `searched` where it would say nothing of the walk: a search is made for one."""
    if searched and (several or len(architectures) > 1):
        raise ValueError(
            "`searched` must go without several instruments or architectures: a search chooses "
            "for one. Leave it out, or walk over that one."
        )


def require_pooled_settings(request: Request) -> None:
    """Refuse what would have no part in one network for a universe."""
    settings, account = request.settings, Account()
    ranked = settings.book is not None
    # A flag without effect would be believed to have one.
    idle = {
        "cash": not ranked and settings.account.cash != account.cash,
        "enter": ranked and settings.account.enter is not None,
        "exit": ranked and settings.account.exit is not None,
        "allow_short": ranked and settings.account.allow_short,
        "exit_by": settings.account.exit_by != account.exit_by,
        "fewest_trades": ranked and settings.plan.fewest_trades != FoldPlan().fewest_trades,
    }
    if any(idle.values()):
        names = ", ".join(f"`{name}`" for name, stated in idle.items() if stated)
        raise ValueError(
            f"{names} must be left out with `pooled`"
            f"{' where names are ranked' if ranked else ''}: a paper book knows only shares of the "
            "money, has no levels within a bar, and ranks have no thresholds."
        )
