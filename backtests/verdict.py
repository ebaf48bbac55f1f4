"""The verdict: one of three words, by a fixed rule, with the numbers that decided it."""
from dataclasses import dataclass

from backtests.evidence import Evidence
from backtests.rivals import HOLD

EDGE, NO_EDGE, CANNOT_TELL = "edge", "no edge", "cannot tell"
CHANCE = 0.5
NOTHING_LEFT = 0.52  # an AUC below this is worth nothing after costs
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Verdict:
    """The word and the numbers that decided it."""

    word: str
    reasons: str

    @property
    def sentence(self) -> str:
        """Both in one."""
        return f"{self.word}: {self.reasons}"


def judge(evidence: Evidence) -> Verdict:
    """Return "edge", "no edge" or "cannot tell".

    "edge" if and only if the one-sided 99 % lower bounds of AUC - .5 and of the mean net return less buy-and-hold's lie
    above 0 and the test for superior predictive ability has p < .05; "no edge" if the 99 % upper bound of AUC is below .52.
    """
    auc, gain = evidence.intervals.get("auc"), evidence.intervals[f"less {HOLD}"]
    if auc is None:
        return Verdict(CANNOT_TELL, "no forecast could be judged.")
    p = evidence.superiority
    if auc.lowest > CHANCE and gain.lowest > 0 and p is not None and p < SIGNIFICANT:
        word = EDGE
    else:
        word = NO_EDGE if auc.highest < NOTHING_LEFT else CANNOT_TELL
    found = "no series to test" if p is None else f"p = {p:.3f}"
    return Verdict(word, (
        f"AUC {auc.value:.3f} with 99 % bounds {auc.lowest:.3f} and {auc.highest:.3f}; net of costs "
        f"{1e4 * gain.value:+.2f} bp per bar against buy-and-hold, 99 % lower bound {1e4 * gain.lowest:+.2f} bp; "
        f"test for superior predictive ability {found}; {evidence.decisions} decisions."))
