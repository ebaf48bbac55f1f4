"""The way to a venue: the keys of the environment, and what is required of account and models."""

import os
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from model.checkpoint.schedule import Schedule
from model.errors import CheckpointError
from strategy_plugin.guard import TradingWarning
from strategy_plugin.live.venue import Venue, VenueError, VenueOptions

if TYPE_CHECKING:
    from strategy_plugin.trade import Ranks, Trading

# A room of its own for each venue, with a class `connect`; its libraries are an extra.
VENUES = {"alpaca": "strategy_plugin.live.alpaca_venue"}
KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")


def connected(options: VenueOptions, *, paper: bool) -> Venue:
    """Return a venue with the keys of the environment; nothing is asked of it yet."""
    keys = _keys()
    try:
        room = import_module(VENUES[options.store])
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`store` {options.store} needs the package {error.name}, which is not there: "
            "pip install 'backtrader-bilstm[live]'."
        ) from None
    venue: Venue = room.connect(*keys, paper=paper, feed=options.feed, url=options.url)
    return venue


def _keys() -> tuple[str, str]:
    """Return the key and the secret of the environment, which stand nowhere else."""
    missing = [name for name in KEYS if not os.environ.get(name)]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} must be set in the environment: the key and the secret of "
            "the account, paper or live. They are no flags, so that no list of processes shows "
            "them."
        )
    return os.environ[KEYS[0]], os.environ[KEYS[1]]


def require_account(venue: Venue, trading: "Trading") -> str:
    """Return the number of the account; refuse one that is not meant, or may not trade."""
    found = venue.account()
    if trading.account not in (None, found.number):
        raise ValueError(
            f"`account` must be the one that the keys belong to, got {trading.account}; theirs "
            f"ends in {found.number[-3:]}."
        )
    if found.blocked:
        raise VenueError(f"{venue.name} lets this account trade nothing: {found.blocked}.")
    return found.number


def require_prices(venue: Venue, schedules: Mapping[str, Schedule], trading: "Trading") -> None:
    """Refuse models that have learnt from other prices than those that are traded.

    A model that does not know which is noted, and refused real money.
    """
    unknown: dict[str, str] = {}
    for symbol, schedule in schedules.items():
        learnt, traded = schedule.checkpoints[-1].prices, venue.prices(symbol)
        if learnt is None:
            unknown[str(schedule.path)] = traded
        elif learnt != traded:
            raise CheckpointError(
                f"{schedule.path} must have learnt from prices like those of {symbol} here, "
                f"{traded}, got {learnt}. Give the other `feed`, or train on bars of "
                "strategy_plugin.history."
            )
    if not unknown:
        return
    what = (
        f"{listed(unknown)} does not know from which prices it has learnt, and here they are "
        f"{listed(dict.fromkeys(unknown.values()))}. Bars of strategy_plugin.history say it"
    )
    if trading.live:
        raise CheckpointError(f"{what}: without it no real money is traded.")
    warnings.warn(what, TradingWarning, stacklevel=2)


def require_exits(schedules: Mapping[str, Schedule], ranks: "Ranks") -> None:
    """Refuse models of trades with levels, which only a rank may be made of here."""
    for schedule in schedules.values():
        model = schedule.checkpoints[-1]
        if model.barrier is not None and not ranks.book:
            raise CheckpointError(
                f"{schedule.path} must forecast moves to be traded live by its probability, got "
                f"{model.labelling}: a stop loss and a take profit that cancel each other are not "
                "sent to the venue, and how long a position has been held is not known after a "
                'restart. Trade it in Backtrader with exit_by="barrier", rank by it with `book`, '
                'or train one with label="open".'
            )


def listed(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "none"
