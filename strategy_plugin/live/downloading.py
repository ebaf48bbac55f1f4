"""The history of a venue as files that know what kind of prices they hold."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from model.files import as_file_name
from strategy_plugin.live.connecting import connected
from strategy_plugin.live.kept_bars import KeptBars
from strategy_plugin.live.sessions import Calendar, Minutes
from strategy_plugin.live.venue import DAY, MINUTE, VenueOptions

CHUNK = 30 * DAY  # of minutes that are asked for at once: the client makes an object of each


def download(
    symbol: str,
    interval: dt.timedelta,
    since: dt.date,
    folder: Path,
    where: VenueOptions,
    *,
    tell: Callable[[str], object] = lambda reached: None,
) -> KeptBars:
    """Save the finished bars of a symbol in a Parquet file; one that is there is gone on from.

    Parameters
    ----------
    symbol
        As the venue calls it.
    interval
        Whole minutes, or a day.
    since
        The first day.
    folder
        Where the file goes, named after the symbol.
    where
        The venue.
    tell
        Called with the symbol and the day that is reached, in words.

    Raises
    ------
    VenueError
        The venue refuses, or cannot be reached.
    BarsError
        The file that is there holds other bars.
    """
    venue = connected(where, paper=True)
    calendar = Calendar(venue, venue.asset(symbol).around_the_clock)
    kept = KeptBars(
        folder / f"{as_file_name(symbol)}.parquet",
        {
            "instrument": symbol,
            "timezone": None if interval >= DAY else "UTC",
            "stamp": "open",
            "prices": venue.prices(symbol),
        },
    )
    now = venue.clock().now
    start = kept.newest or dt.datetime.combine(since, dt.time(), dt.UTC)
    minutes = Minutes(calendar, interval)
    while start < now:
        end = min(start + CHUNK, now)
        if interval >= DAY:
            end = now
            finished = calendar.closed_days(venue.bars(symbol, DAY, start, end), now)
        else:
            found = venue.bars(symbol, MINUTE, start, end)
            finished = minutes.take(one for one in found if one.start + MINUTE <= now)
            finished += minutes.over(end)
        for bar, ends in finished:
            kept.add(calendar.timestamp(bar, ends, interval, "open"), bar)
        kept.save()
        tell(f"{symbol}: {end:%Y-%m-%d}")
        start = end
    return kept
