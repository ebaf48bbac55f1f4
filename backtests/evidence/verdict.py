"""The verdict: one of three words, by a fixed rule, with the numbers that decided it."""

from dataclasses import dataclass
from typing import Final, Literal

from backtests.evidence.baselines import HOLD
from backtests.evidence.bootstrap import Interval
from backtests.evidence.evidence import Evidence
from backtests.evidence.pooled import Pool

Word = Literal["edge", "no edge", "cannot tell"]
EDGE: Final = "edge"
NO_EDGE: Final = "no edge"
CANNOT_TELL: Final = "cannot tell"

CHANCE = 0.5  # the AUC of a coin toss
NOTHING_LEFT = 0.52  # an AUC below this is worth nothing after costs
SIGNIFICANT = 0.05  # a p-value below this is
MOST_NAMES = 5  # of instruments that stand out, in one sentence

RULE = (
    f'"{EDGE}" if and only if the 99 % lower bounds of AUC - .5 and of the mean net return less '
    "buy-and-hold's lie above 0 and the test for superior predictive ability has "
    f'p < {SIGNIFICANT}; "{NO_EDGE}" if the 99 % upper bound of AUC lies below {NOTHING_LEFT}, '
    f'which pays no costs; else "{CANNOT_TELL}". AUC is the chance that a bar that went up was '
    "given a higher probability than one that did not: .5 is a coin toss. The test (Hansen 2005) "
    "asks whether anything tried here beats buy-and-hold by more than the luck of having tried "
    "several. The bounds are one-sided, by the stationary bootstrap."
)
POOL_RULE = (
    f"{RULE} Here AUC is the mean over the markets, the net return that of all of them in equal "
    "parts, and the test takes in everything tried on any market; it is not "
    f'"{NO_EDGE}" where a single market stands out.'
)


@dataclass(frozen=True)
class Verdict:
    """The word, the numbers that decided it, and the rule by which they did."""

    word: Word
    reasons: str
    rule: str = RULE

    @property
    def sentence(self) -> str:
        """Word and reasons in one."""
        return f"{self.word}: {self.reasons}"


NOTHING_JUDGED = Verdict(CANNOT_TELL, "no forecast could be judged.")


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict on one instrument, by `RULE`.

    "cannot tell" where there was no forecast.
    """
    auc, gain = evidence.intervals.get("auc"), evidence.intervals[f"less {HOLD}"]
    if auc is None:
        return NOTHING_JUDGED
    p = evidence.superiority
    reasons = (
        f"{_auc_words('AUC', auc)}; net of costs {_gain_words(gain, 'buy-and-hold')}; test for "
        f"superior predictive ability {_test_words(p)}; {evidence.decisions} decisions."
    )
    return Verdict(_word(auc, gain, p), reasons)


def judge_pool(pool: Pool) -> Verdict:
    """Return the one verdict on a universe, by `POOL_RULE`.

    That is the same rule on the mean AUC, the net return in equal parts, and a test over everything
    tried on any instrument. Where a single one stands out it cannot be "no edge": the mean may hide
    it.
    """
    auc, gain = pool.intervals.get("auc"), pool.intervals[f"less {HOLD}"]
    if auc is None:
        return NOTHING_JUDGED
    word = _word(auc, gain, pool.superiority)
    # The mean over many instruments may hide the one that has an edge.
    if word == NO_EDGE and pool.outstanding:
        word = CANNOT_TELL
    reasons = (
        f"{_auc_words('mean AUC', auc)}; net of costs, in equal parts, "
        f"{_gain_words(gain, 'holding all')}; test for superior predictive ability over all "
        f"{pool.series} series {_test_words(pool.superiority)}; "
        f"{_outstanding_words(pool.outstanding)}; {pool.decisions} decisions on {pool.markets} "
        f"market{'s' if pool.markets > 1 else ''}."
    )
    return Verdict(word, reasons, POOL_RULE)


def _word(auc: Interval, gain: Interval, p: float | None) -> Word:
    # All three, since each alone is easily met: skill that costs eat, a gain by mere exposure, and
    # the best of many tries.
    if auc.lowest > CHANCE and gain.lowest > 0 and p is not None and p < SIGNIFICANT:
        return EDGE
    return NO_EDGE if auc.highest < NOTHING_LEFT else CANNOT_TELL


def _auc_words(name: str, auc: Interval) -> str:
    return f"{name} {auc.value:.3f} with 99 % bounds {auc.lowest:.3f} and {auc.highest:.3f}"


def _gain_words(gain: Interval, other: str) -> str:
    words = (
        f"{1e4 * gain.value:+.2f} bp per bar against {other}, "
        f"99 % lower bound {1e4 * gain.lowest:+.2f} bp"
    )
    # A strategy whose loss against holding is certain shall not pass under "cannot tell".
    if gain.highest < 0:
        words += (
            f"; worse than {other}: its 99 % upper bound is {1e4 * gain.highest:+.2f} bp per bar"
        )
    return words


def _test_words(p: float | None) -> str:
    return "no series to test" if p is None else f"p {p_words(p)}"


def p_words(p: float) -> str:
    """Return a p-value as no reader is misled by it: none is 0."""
    return f"= {p:.3f}" if p >= 0.0005 else "< 0.001"


def _outstanding_words(names: list[str]) -> str:
    """Name the instruments that stand out: the first few, and how many more."""
    if not names:
        return "no single market stands out"
    more = len(names) - MOST_NAMES
    listed = ", ".join(names[:MOST_NAMES])
    return f"standing out: {listed}{f' and {more} more' if more > 0 else ''}"
