"""Limits that stand outside the model: what no signal may exceed, and the file that stops it all.

A breach freezes the run: nothing is opened any more, also not after a restart, until a person has
removed the file STOP from the run's folder.
"""

import datetime as dt
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from model.errors import OutputError
from model.files import write_atomically
from model.settings import number, optional, require_fields, whole
from strategy_plugin.live.store import LOG

STOP = "STOP"
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
        UTC; default: no limit.
    """

    max_order: Money = None
    max_position: Money = None
    orders_per_minute: Annotated[int, whole(1)] = 20
    max_daily_loss: Annotated[float | None, optional(number(above=0, below=1))] = None

    def __post_init__(self) -> None:
        require_fields(self)


class Watchman:
    """Holds every order against the limits, and remembers a breach in the run's folder."""

    def __init__(self, limits: Limits, folder: Path | None = None) -> None:
        self.limits = limits
        self.stop_file = None if folder is None else folder / STOP
        self.reason = ""  # of the freeze, "" where there is none
        self._sent: deque[dt.datetime] = deque()
        self._day: dt.date | None = None
        self._equity = self._last = 0.0  # at the day's start, and when it was last looked

    def look(self, now: dt.datetime, equity: float) -> str:
        """Return why the run is frozen, "" where it is not; to be called once a bar."""
        if self._day != now.date():
            # From the last look of the day before: of daily bars a day has one look alone.
            self._day, self._equity = now.date(), self._last or equity
        self._last = equity
        most = self.limits.max_daily_loss
        if most is not None and equity < self._equity * (1 - most):
            lost = 1 - equity / self._equity
            self._freeze(f"{lost:.2%} of the day's equity is lost, `max_daily_loss` is {most:.2%}")
        if not self.reason and self.stop_file is not None and self.stop_file.exists():
            self._freeze(f"there is a file {self.stop_file}")
        return self.reason

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
