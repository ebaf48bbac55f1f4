"""Limits that stand outside the model: what no signal may exceed, and the file that stops it all.

A breach freezes the run: nothing is opened any more, also not after a restart, until a person has
removed the file STOP from the run's folder.
"""

import datetime as dt
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from model.errors import OutputError
from model.files import write_atomically
from model.settings import number, optional, require_fields, whole
from strategy_plugin.live.store import LOG

STOP, DAY_FILE = "STOP", "day.json"
# Longer after the last look money may have been paid in or out: the day then begins at the start.
FORGOTTEN = dt.timedelta(days=4)
Money = Annotated[float | None, optional(number(above=0))]


@dataclass(frozen=True)
class Limits:
    """What no order may exceed; every field is a flag of the command.

    Parameters
    ----------
    max_order
        The most money in one order; default: no limit.
    max_position
        The most money in one position; default: no limit.
    orders_per_minute
        Orders within a minute, closes included.
    max_daily_loss
        The share that may be lost of the equity that was there at the end of the day before, in
        UTC, be the run stopped and started meanwhile; default: no limit.
    """

    max_order: Money = None
    max_position: Money = None
    orders_per_minute: Annotated[int, whole(1)] = 20
    max_daily_loss: Annotated[float | None, optional(number(above=0, below=1))] = None

    def __post_init__(self) -> None:
        require_fields(self)


class Day(msgspec.Struct):
    """What the loss of a day goes by, as the run's folder keeps it.

    account: whose money it is. date: in UTC. equity: at its start; last: when it was last looked.
    """

    account: str = ""
    date: dt.date = dt.date.min
    equity: float = 0.0
    last: float = 0.0


class Watchman:
    """Holds every order against the limits, and remembers a breach and the day in the folder.

    account: its number.
    """

    def __init__(self, limits: Limits, folder: Path | None = None, account: str = "") -> None:
        self.limits = limits
        self.stop_file = None if folder is None else folder / STOP
        self.reason = ""  # of the freeze, "" where there is none
        self._sent: deque[dt.datetime] = deque()
        self._day_file = None if folder is None else folder / DAY_FILE
        self._day = Day(account)

    def look(self, now: dt.datetime, equity: float) -> str:
        """Return why the run is frozen, "" where it is not; to be called once a bar."""
        most = self.limits.max_daily_loss
        # An account without a value says nothing of what is lost; one at 0 or below says all.
        if most is not None and math.isfinite(equity):
            self._look_at_the_day(now.date(), equity)
            if self._day.equity > 0 and equity < self._day.equity * (1 - most):
                lost = 1 - equity / self._day.equity
                self._freeze(
                    f"{lost:.2%} of the day's equity is lost, `max_daily_loss` is {most:.2%}"
                )
        if not self.reason and self.stop_file is not None and self.stop_file.exists():
            self._freeze(f"there is a file {self.stop_file}")
        return self.reason

    def _look_at_the_day(self, today: dt.date, equity: float) -> None:
        """Take the day's equity, of a run that was stopped meanwhile that of the run before."""
        day = self._day
        if day.date == dt.date.min:
            day = self._kept_day(today) or day
        if day.date != today:
            # From the last look of the day before: of daily bars a day has one look alone.
            day = Day(day.account, today, day.last or equity)
        day.last, self._day = equity, day
        if self._day_file is None:
            return
        try:
            write_atomically(self._day_file, msgspec.json.encode(day))
        except OutputError as error:
            # The limit holds all the same; what is lost is that it does after a restart, too.
            LOG.warning("%s A restart would begin the day's loss anew", error)
            self._day_file = None

    def _kept_day(self, today: dt.date) -> Day | None:
        """Return the day of the run before, None where nothing is known of it or it is long ago."""
        if self._day_file is None:
            return None
        # A file that is damaged, or of somebody else, says nothing.
        with suppress(OSError, msgspec.DecodeError):
            kept = msgspec.json.decode(self._day_file.read_bytes(), type=Day)
            if kept.account == self._day.account and kept.date <= today <= kept.date + FORGOTTEN:
                return kept
        return None

    def permit(self, now: dt.datetime, *, money: float, position: float, opens: bool) -> str:
        """Return why an order is not sent, "" where it may be.

        money: of the order. position: money in the position once it is filled.
        """
        while self._sent and now - self._sent[0] >= dt.timedelta(minutes=1):
            self._sent.popleft()
        limits = self.limits
        if len(self._sent) >= limits.orders_per_minute:
            self._freeze(
                f"more than {limits.orders_per_minute} orders within a minute, which is "
                "`orders_per_minute`"
            )
            return self.reason
        if opens:
            if limits.max_order is not None and money > limits.max_order:
                self._freeze(f"an order of {money:,.2f}, `max_order` is {limits.max_order:,.2f}")
            if limits.max_position is not None and position > limits.max_position:
                self._freeze(
                    f"a position of {position:,.2f}, `max_position` is {limits.max_position:,.2f}"
                )
            if self.reason:
                return self.reason
        self._sent.append(now)
        return ""

    def _freeze(self, reason: str) -> None:
        if self.reason:
            return
        self.reason = reason
        LOG.error("the run is frozen: %s. A person is needed", reason)
        if self.stop_file is None or self.stop_file.exists():
            return
        try:
            write_atomically(self.stop_file, f"{reason}\n".encode())
        except OutputError as error:
            # This run is frozen all the same; what is lost is that the next one is, too.
            LOG.error("%s Until it is laid down, nothing keeps a new start from trading", error)
