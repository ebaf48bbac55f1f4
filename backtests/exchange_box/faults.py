"""What goes wrong at the exchange in a box: faults by a script, or at random with a seed."""

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from model.errors import BarsError
from model.settings import number, require_fields, require_known, whole

KINDS = {
    "cut stream": "the stream of bars is cut before a bar, which then only the history has",
    "cut updates": "the stream of trade updates is cut before the fills of an open",
    "miss bar": "a bar does not come by the stream, the history has it",
    "repeat bar": "a bar comes twice",
    "late bar": "a bar comes once more after the next one",
    "correct bar": "a bar is corrected after it was sent: its volume was larger by `share`",
    "status": "requests whose path contains `path` are answered with `status`",
    "cut request": "requests whose path contains `path` are dropped, and nothing is done",
    "lose answer": "an order is accepted, and the connection cut before the answer",
    "reject order": "an order is refused",
    "reject fill": "an order is rejected when it should fill",
    "part fill": "only a `share` of an order fills at an open",
    "halt": "nothing fills at an open",
}
# After which all ends as if nothing had happened.
AT_RANDOM = (
    "cut stream",
    "cut updates",
    "miss bar",
    "repeat bar",
    "late bar",
    "correct bar",
    "status",
    "cut request",
    "lose answer",
)


@dataclass(frozen=True)
class Fault:
    """One kind of fault from a bar on.

    Parameters
    ----------
    kind
        One of `KINDS`.
    bar
        The number of the live bar from which on it waits for its occasion; 0 from the start.
    times
        On how many occasions it comes.
    status, path
        Of requests: the answer's status, and a part of the paths that are meant.
    retry_after
        Seconds that an answer asks to wait, 0 for no such word.
    share
        Of a partial fill or a correction.
    """

    kind: str
    bar: Annotated[int, whole(0)] = 0
    times: Annotated[int, whole(1)] = 1
    status: Annotated[int, whole(400, 599)] = 500
    path: str = ""
    retry_after: Annotated[int, whole(0)] = 0
    share: Annotated[float, number(above=0, below=1)] = 0.5

    def __post_init__(self) -> None:
        require_known("kind of fault", [self.kind], KINDS)
        require_fields(self)


class FaultPlan:
    """The faults that are still to come; each waits for its first occasion from its bar on."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._left = {number: fault.times for number, fault in enumerate(faults)}
        self._faults = list(faults)
        self.done: list[Fault] = []

    def take(self, kind: str, bar: int, path: str = "") -> Fault | None:
        """Return a fault of this kind that is due at a live bar, and count it as come."""
        for place, fault in enumerate(self._faults):
            # From its bar on: an occasion, such as an order, may come later.
            due = self._left[place] and fault.bar <= bar
            if due and fault.kind == kind and fault.path in path:
                self._left[place] -= 1
                self.done.append(fault)
                return fault
        return None


def read_faults(path: Path) -> list[Fault]:
    """Return the faults of a script in TOML, with a table [[fault]] for each.

    Raises BarsError where it cannot be read, or names what is no fault.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).pop("fault", None)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BarsError(f"{path} must be a script of faults in TOML, got: {error}.") from None
    if not isinstance(tables, list) or not tables:
        raise BarsError(f"{path} must hold tables [[fault]], got none. Begin each with `kind`.")
    return [_fault(path, place, table) for place, table in enumerate(tables, 1)]


def _fault(path: Path, place: int, table: dict[str, Any]) -> Fault:
    known = {field.name for field in fields(Fault)}
    try:
        require_known("setting of a fault", table, known)
        # The fields check themselves; here only the place in the file is added.
        return Fault(**table)
    except (TypeError, ValueError) as error:
        raise BarsError(f"{path}, fault {place}: {error}") from None


def random_faults(seed: int, bars: int, rate: float) -> list[Fault]:
    """Return faults at random, on average `rate` of them a bar; none of them need end a run."""
    draw = random.Random(seed)
    return [
        Fault(draw.choice(AT_RANDOM), bar, status=draw.choice((429, 500, 503)))
        for bar in range(1, bars + 1)
        if draw.random() < rate
    ]
