"""Signals during work that can be kept: the first one asks to stop, a second one is obeyed at once."""
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(RuntimeError):
    """A signal stopped work that can go on later; the exit code is the one that the signal gives."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Wish:
    """number: the signal that asked to stop, 0 while none did."""

    number = 0

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """Note the first signal instead of obeying it; nothing is done inside the handler. A signal that was ignored stays so."""
    wish = Wish()
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}

    def note(number: int, _: FrameType | None) -> None:
        wish.number = number
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        put_back()
