"""When it trades: from a probability to the position wanted. Pure functions, no Backtrader."""

import math
from typing import NamedTuple

NEUTRAL = 0.5  # the threshold where neither the user nor training chose one


class Thresholds(NamedTuple):
    """Probabilities of "up" from which a long position is opened and kept; shorts mirror them at one half."""

    enter: float
    exit: float


def thresholds(
    enter: float | None,
    exit: float | None,
    *,
    own: tuple[float | None, float | None] = (None, None),
    source: str = "",
) -> Thresholds:
    """Return the thresholds in force: the given ones, else the model's `own`, else one half.

    Raises ValueError, naming `source` where the model's own take part, unless .5 <= exit <= enter < 1.
    """
    chosen = Thresholds(_first(enter, own[0]), _first(exit, own[1]))
    if not 0.5 <= chosen.exit <= chosen.enter < 1:
        where = f" (with those of {source})" if source and None in (enter, exit) else ""
        raise ValueError(
            "`enter` and `exit` must satisfy 0.5 <= exit <= enter < 1, got "
            f"enter={chosen.enter} and exit={chosen.exit}{where}. Give both, or neither to use the checkpoint's own."
        )
    return chosen


def target(
    probability: float, held: int, *, enter: float, exit: float, allow_short: bool = False
) -> int:
    """Return the position wanted, -1, 0 or 1, for the probability of "up" and the position held.

    Levels, not edges: a signal that could not be traded on one bar is still there on the next. NaN keeps what is held.
    """
    if math.isnan(probability):
        return held
    if probability >= enter or (held == 1 and probability >= exit):
        return 1
    if allow_short and (probability <= 1 - enter or (held == -1 and probability <= 1 - exit)):
        return -1
    return 0


def _first(*candidates: float | None) -> float:
    return next((candidate for candidate in candidates if candidate is not None), NEUTRAL)
