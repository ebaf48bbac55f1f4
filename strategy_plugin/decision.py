"""When it trades: from a probability to the position wanted. Pure functions, no Backtrader."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

AGREED = 1e-6  # of a probability, where features are not computed row by row
# What closes a position.
PROBABILITY: Final = "probability"
BARRIER: Final = "barrier"
NEUTRAL = 0.5  # the threshold where neither the user nor training chose one

# Why the direction wanted is not the signal's, in the words of `refusals()` and of the journal.
NOT_LIVE, IN_SAMPLE, NO_MODEL = "not live", "in sample", "no model in force"
TOO_EARLY = "before trade_from"
RESTING = (NOT_LIVE, TOO_EARLY)  # on these bars nothing may be ordered at all
TOO_OLD, DISAGREED = "model too old", "members disagree"
AT_FAULT, LATE = "a bar at fault", "a bar after its date was ranked"  # those of a book
DECIDED = ("", TOO_OLD, DISAGREED)  # on these bars the probability counted


class Thresholds(NamedTuple):
    """Probabilities of "up" from which a long position is opened and kept.

    Shorts mirror them at one half.
    """

    enter: float
    exit: float


class Reading(NamedTuple):
    """What is known of a bar at its close.

    model: the digest of the checkpoint in force, "" for none. age: bar intervals since the model
    last saw prices, closed hours included. in_sample: whether the model has seen this bar.
    disagreement: that of the model's members, NaN where there are none.
    """

    probability: float
    thresholds: Thresholds
    model: str = ""
    age: int = 0
    in_sample: bool = False
    disagreement: float = math.nan


NO_READING = Reading(math.nan, Thresholds(NEUTRAL, NEUTRAL))  # where no model is in force


class DecisionRules(NamedTuple):
    """How a signal is followed, and what keeps it from being; the fields are params."""

    exit_by: str = PROBABILITY
    horizon: int = 0
    allow_short: bool = False
    in_sample: str = "refuse"
    max_model_age: int | None = None
    max_disagreement: float | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        return cls(**{name: params[name] for name in cls._fields if name in params})


def decide(
    reading: Reading, held: int, rules: DecisionRules, resting: str = "", bars_held: int = 0
) -> tuple[int, str]:
    """Return the direction wanted, -1, 0 or 1, and why it is not the signal's, "" where it is.

    What is held stays where nothing may be decided. A model that is too old, or at odds with
    itself, opens nothing, and what it would turn around is closed.

    resting: the reason of `RESTING` for which nothing may be ordered on this bar, "" for none.
    bars_held: closes at which there was a position, this one included; 0 for none.
    """
    if reason := obstacle(reading, rules, resting):
        return held, reason
    enter, exit = reading.thresholds
    if rules.exit_by == BARRIER:
        wanted = barrier_target(reading.probability, held, bars_held, enter, rules.horizon)
    else:
        wanted = target(
            reading.probability, held, enter=enter, exit=exit, allow_short=rules.allow_short
        )
    # A close, or staying where it is, needs no young model and no agreement.
    if wanted in (0, held):
        return wanted, ""
    reason = doubt(reading, rules)
    return (0 if reason else wanted), reason


def obstacle(reading: Reading, rules: DecisionRules, resting: str = "") -> str:
    """Return why nothing may be decided on a bar, "" where it may.

    resting: the reason of `RESTING` for which nothing may be ordered, "" for none.
    """
    if resting:
        return resting
    if reading.in_sample and rules.in_sample == "refuse":
        return IN_SAMPLE
    return NO_MODEL if reading is NO_READING else ""  # by identity, as NaN equals nothing


def doubt(reading: Reading, rules: DecisionRules) -> str:
    """Return why a forecast may open no position, "" where it may."""
    if rules.max_model_age is not None and reading.age > rules.max_model_age:
        return TOO_OLD
    if rules.max_disagreement is not None and reading.disagreement > rules.max_disagreement:
        return DISAGREED
    return ""


def target(
    probability: float, held: int, *, enter: float, exit: float, allow_short: bool = False
) -> int:
    """Return the position wanted for a probability and the position held.

    Levels decide, not edges: a signal that could not be traded on one bar is still there on the
    next.

    Parameters
    ----------
    probability
        Of "up", between 0 and 1; NaN keeps what is held.
    held
        Direction of the position held: -1 short, 0 flat, 1 long.
    enter, exit
        From `enter` on a long position is opened, from `exit` on it is kept. Shorts mirror both
        at one half.
    allow_short
        False trades long or flat.

    Returns
    -------
    int
        -1, 0 or 1.

    Examples
    --------
    >>> target(0.57, held=0, enter=0.6, exit=0.55), target(0.57, held=1, enter=0.6, exit=0.55)
    (0, 1)
    """
    # No forecast is no reason to trade.
    if math.isnan(probability):
        return held
    if probability >= enter or (held == 1 and probability >= exit):
        return 1
    if allow_short and (probability <= 1 - enter or (held == -1 and probability <= 1 - exit)):
        return -1
    return 0


def barrier_target(
    probability: float, held: int, bars_held: int, enter: float, horizon: int
) -> int:
    """Return the position wanted where levels and a last bar end it, whatever is forecast.

    That is the trade of a barrier label: long from `enter` on, closed after `horizon` bars. A
    position is never left to a forecast, so that one that is missing closes it in time.
    """
    if bars_held >= horizon:
        return 0  # also while the order that closes it is on its way
    if bars_held or held:
        return held
    return int(probability >= enter)  # NaN is below


def is_near_threshold(reading: Reading) -> bool:
    """Return whether a probability is as near to a threshold as rounding of features may move it.

    Training, backtest and live agree to that, and there alone may decide otherwise.
    """
    return any(
        abs(reading.probability - side) < AGREED
        for level in reading.thresholds
        for side in (level, 1 - level)
    )


class ThresholdsError(ValueError):
    """A pair of thresholds that no position could be held by."""

    exit_code = 2


def thresholds(
    enter: float | None,
    exit: float | None,
    *,
    own: tuple[float | None, float | None] = (None, None),
    source: str = "",
) -> Thresholds:
    """Return the thresholds in force: the given ones, else the model's `own`, else one half.

    Raises ThresholdsError unless .5 <= exit <= enter < 1, and names `source` where the model's own
    take part.
    """
    chosen = [
        next((value for value in candidates if value is not None), NEUTRAL)
        for candidates in ((enter, own[0]), (exit, own[1]))
    ]
    if not 0.5 <= chosen[1] <= chosen[0] < 1:
        where = advice = ""
        if None in (enter, exit):
            where = f" (with those of {source})" if source else ""
            advice = " Give both, or neither to use the checkpoint's own."
        raise ThresholdsError(
            "`enter` and `exit` must satisfy 0.5 <= exit <= enter < 1, got "
            f"enter={chosen[0]} and exit={chosen[1]}{where}.{advice}"
        )
    return Thresholds(*chosen)
