"""The verdict: one of three words, by a fixed rule, with the numbers that decided it."""

from dataclasses import dataclass

from backtests.evidence.baselines import HOLD
from backtests.evidence.bootstrap import Interval
from backtests.evidence.evidence import Evidence
from backtests.evidence.pooled import Pool

EDGE, NO_EDGE, CANNOT_TELL = "edge", "no edge", "cannot tell"
CHANCE = 0.5
NOTHING_LEFT = 0.52  # an AUC below this is worth nothing after costs
SIGNIFICANT = 0.05
MOST_NAMES = 5
RULE = (
    f'"{EDGE}" if and only if the 99 % lower bounds of AUC - .5 and of the mean net return less buy-and-hold\'s lie above 0 and '
    f'the test for superior predictive ability has p < {SIGNIFICANT}; "{NO_EDGE}" if the 99 % upper bound of AUC lies below '
    f'{NOTHING_LEFT}, which pays no costs; else "{CANNOT_TELL}". AUC is the chance that a bar that went up was given a higher '
    "probability than one that did not: .5 is a coin toss. The test (Hansen 2005) asks whether anything tried here beats "
    "buy-and-hold by more than the luck of having tried several. The bounds are one-sided, by the stationary bootstrap."
)
POOL_RULE = (
    f"{RULE} Here AUC is the mean over the markets, the net return that of all of them in equal parts, and the test takes in "
    f'everything tried on any market; it is not "{NO_EDGE}" where a single market stands out.'
)


@dataclass(frozen=True)
class Verdict:
    """The word and the numbers that decided it."""

    word: str
    reasons: str
    rule: str = RULE

    @property
    def sentence(self) -> str:
        """Both in one."""
        return f"{self.word}: {self.reasons}"


NOTHING_JUDGED = Verdict(CANNOT_TELL, "no forecast could be judged.")


def judge(evidence: Evidence) -> Verdict:
    """Return "edge", "no edge" or "cannot tell".

    "edge" if and only if the one-sided 99 % lower bounds of AUC - .5 and of the mean net return less buy-and-hold's lie
    above 0 and the test for superior predictive ability has p < .05; "no edge" if the 99 % upper bound of AUC is below .52.
    """
    auc, gain = evidence.intervals.get("auc"), evidence.intervals[f"less {HOLD}"]
    if auc is None:
        return NOTHING_JUDGED
    return Verdict(
        _word(auc, gain, evidence.superiority),
        (
            f"{_auc_words('AUC', auc)}; net of costs {_gain_words(gain, 'buy-and-hold')}; "
            f"test for superior predictive ability {_p_said(evidence.superiority)}; {evidence.decisions} decisions."
        ),
    )


def judge_pool(pool: Pool) -> Verdict:
    """Return the one verdict over a universe, by the same rule: the mean AUC, the net return in equal parts, and a test for
    superior predictive ability over everything tried on any market. "no edge" only if no single market stands out."""
    auc, gain = pool.intervals.get("auc"), pool.intervals[f"less {HOLD}"]
    if auc is None:
        return NOTHING_JUDGED
    word = _word(auc, gain, pool.superiority)
    word = CANNOT_TELL if word == NO_EDGE and pool.outstanding else word
    return Verdict(
        word,
        (
            f"{_auc_words('mean AUC', auc)}; net of costs, in equal parts, {_gain_words(gain, 'holding all')}; test for superior "
            f"predictive ability over all {pool.series} series {_p_said(pool.superiority)}; {_names(pool)}; "
            f"{pool.decisions} decisions on {pool.markets} market{'s' if pool.markets > 1 else ''}."
        ),
        POOL_RULE,
    )


def _word(auc: Interval, gain: Interval, p: float | None) -> str:
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
    if gain.highest >= 0:
        return words
    return (
        f"{words}; worse than {other}: its 99 % upper bound is {1e4 * gain.highest:+.2f} bp per bar"
    )


def _p_said(p: float | None) -> str:
    return "no series to test" if p is None else f"p {p_words(p)}"


def p_words(p: float) -> str:
    """Return a p-value as a reader is not misled by it: none is 0."""
    return f"= {p:.3f}" if p >= 0.0005 else "< 0.001"


def _names(pool: Pool) -> str:
    """Say which markets stand out, corrected for their number."""
    if not pool.outstanding:
        return "no single market stands out"
    first = ", ".join(pool.outstanding[:MOST_NAMES])
    more = len(pool.outstanding) - MOST_NAMES
    return f"standing out: {first}{f' and {more} more' if more > 0 else ''}"
