"""How far a long work is: bars on a terminal, a plain line now and then in a file or a log."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.bars.faults import count

SAY_EVERY = 60.0  # seconds between lines where output is not a terminal
Item = TypeVar("Item")


def time_left(seconds: float) -> str:
    """Return in words how long the rest will take, rounded: to the second it would pretend."""
    if seconds < 60:
        return "less than a minute left"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"about {count(minutes, 'minute')} left"
    return f"about {round(minutes / 60)} hours left"


def time_spent(seconds: float) -> str:
    """Return a time in words: "40 seconds", "12 minutes", "3 hours"."""
    if seconds < 100:
        return count(round(seconds), "second")
    minutes = round(seconds / 60)
    return count(minutes, "minute") if minutes < 100 else count(round(minutes / 60), "hour")


def tracked(
    items: Iterable[Item],
    console: Console,
    what: str,
    total: int,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Yield the items and say how far they are.

    A bar that goes again when they are done; where nobody would see it, a line a minute.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    if console.is_terminal:
        # Transient: what stays on the terminal is the result alone.
        with Progress(*columns, console=console, transient=True) as progress:
            yield from progress.track(items, total=total, description=what)
        return
    started = last_said = clock()
    for done, item in enumerate(items):
        # Before the item: what is done is then done by the caller too.
        now = clock()
        if done and now - last_said > SAY_EVERY:
            last_said = now
            left = time_left((now - started) * (total - done) / done)
            console.print(f"{what}: {done} of {total} done, {left}", soft_wrap=True)
        yield item


def tracker(console: Console, what: str) -> Callable[[Sequence[Item]], Iterator[Item]]:
    """Return what follows any sequence as `tracked` does."""
    return lambda items: tracked(items, console, what, len(items))
