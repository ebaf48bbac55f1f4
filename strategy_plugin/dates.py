"""The dates of a universe: what has come of each, and which of them are complete."""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

from model.bars.intervals import EARLIEST

Item = TypeVar("Item")


class Dates(Generic[Item]):
    """Gathers what belongs to a date, name by name, and gives each date once, in order.

    A date is complete when every name that is expected has come to it or beyond it, or `wait`
    seconds after its first name; with a wait of 0 at once. What comes later is not taken.
    """

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._pending: dict[int, dict[str, Item]] = {}
        self._since: dict[int, float] = {}  # when the first name of a pending date came
        self._newest: dict[str, int] = {}
        self._given = EARLIEST

    def add(self, name: str, timestamp: int, item: Item, now: float) -> bool:
        """Take what has come of a name; False where its date was given already."""
        self._newest[name] = max(timestamp, self._newest.get(name, EARLIEST))
        if timestamp <= self._given:
            return False
        self._pending.setdefault(timestamp, {})[name] = item
        self._since.setdefault(timestamp, now)
        return True

    def complete(
        self, expected: Collection[str], now: float
    ) -> Iterator[tuple[int, dict[str, Item]]]:
        """Yield the dates that are complete by now with all that has come of each, oldest first."""
        if not self._pending:
            return
        come = min((self._newest.get(name, EARLIEST) for name in expected), default=EARLIEST)
        overdue = [date for date, since in self._since.items() if now - since >= self._wait]
        # Whatever is older than a complete date is passed as well.
        last = max(come, *overdue, EARLIEST)
        for date in sorted(date for date in self._pending if date <= last):
            self._given = date
            del self._since[date]
            yield date, self._pending.pop(date)
