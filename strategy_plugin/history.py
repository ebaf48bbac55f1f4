"""The command that saves the history of a venue as bars to train on.

python -m strategy_plugin.history --symbols SPY --since 2016-01-01

The keys come from the environment, APCA_API_KEY_ID and APCA_API_SECRET_KEY.
"""

import datetime as dt
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console

from model.bars.faults import count
from model.bars.intervals import day
from model.cli import VERSION, run
from model.errors import BarsError
from model.settings import require_fields
from strategy_plugin import live
from strategy_plugin.live.venue import VenueOptions

app = App(version=VERSION, name="strategy_plugin.history")
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Download(VenueOptions):
    """Which bars are saved, and where; every field is a flag of the command.

    Parameters
    ----------
    since
        The first day, as 2016-01-01.
    interval
        Of the bars: whole minutes up to a day, as 1min, 15min, 1h, 1day.
    out
        The folder of the files, one for each symbol; bars that are there are gone on from.
    """

    _: KW_ONLY
    since: str
    interval: str = "1day"
    out: Path = Path("bars")

    def __post_init__(self) -> None:
        require_fields(self)
        # Asked for here, so that a bad date is told before the venue is.
        _ = self.first_day, self.span

    @property
    def first_day(self) -> dt.date:
        try:
            return dt.date.fromisoformat(self.since)
        except ValueError:
            raise ValueError(
                f"`since` must be a date, as 2016-01-01, got {self.since!r}."
            ) from None

    @property
    def span(self) -> dt.timedelta:
        try:
            span = pd.Timedelta(self.interval).to_pytimedelta()
        except ValueError:
            span = dt.timedelta()
        minute, a_day = dt.timedelta(minutes=1), dt.timedelta(days=1)
        if not minute <= span <= a_day or span % minute:
            raise ValueError(
                "`interval` must be whole minutes up to a day, as 15min, 1h or 1day, got "
                f"{self.interval!r}."
            )
        return span


@app.default
def history(asked: Annotated[Download, Parameter(name="*")]) -> None:
    """Save the finished bars of symbols as Parquet files that say what kind of prices they hold.

    A model trained on them knows it, and is traded on such prices alone.
    """
    # One that is named twice would be asked for twice, and asking is metered.
    for symbol in dict.fromkeys(asked.symbols):
        with console.status(symbol) as status:
            kept = live.download(
                symbol,
                asked.span,
                asked.first_day,
                asked.out,
                asked,
                tell=status.update,
            )
        if kept.newest is None:
            raise BarsError(
                f"{symbol} has no finished bar since {asked.since}. Give an earlier day."
            )
        reached = day(kept.newest.replace(tzinfo=None))
        console.print(f"{kept.path}: {count(len(kept), 'bar')} to {reached}", markup=False)


if __name__ == "__main__":
    run(app)
