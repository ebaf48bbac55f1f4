"""The grid of false alarms and power: how often each word comes where the truth is known."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import binomtest

from backtests.evidence.alpha import CHANCE, NOTHING_LEFT, WORTH, draw
from backtests.evidence.bootstrap import RESAMPLES
from backtests.evidence.verdict import EDGE, NO_EDGE, WORSE, Word, word_of
from backtests.synthetic.skills import CELLS, DAYS, Cell, Truth, decisions_in, truth_of

MOST_WRONG = 0.05  # what the verdict promises
TOLERANCE = 0.05  # between the power that verdicts say of themselves, and how often they see
CONFIDENCE = 0.99
ROUNDING = 2e-6  # a true alpha nearer to 0, per decision, is 0
BATCH = 25  # verdicts of a task
Said = list[tuple[Word, float]]  # by the verdicts of a task, with the chance of "edge"


@dataclass(frozen=True)
class CellResult:
    """What the verdicts on one cell said.

    words: how often each came. promised: the chance of "edge" at the true figures, as the verdicts
    themselves put it, in the mean.
    """

    cell: Cell
    truth: Truth
    n: int
    words: dict[Word, int]
    promised: float

    @property
    def runs(self) -> int:
        return sum(self.words.values())

    @property
    def wrong_words(self) -> list[Word]:
        """The words that are wrong, given the truth.

        "No edge" is not wrong of an alpha worth having whose AUC lies below .52: that is the
        convention.
        """
        alpha = 0.0 if abs(self.truth.alpha) < ROUNDING else self.truth.alpha
        below = self.truth.auc is not None and self.truth.auc < NOTHING_LEFT
        wrong: list[Word] = []
        if alpha <= 0 or self.truth.timing <= ROUNDING:
            wrong.append(EDGE)
        if alpha >= 0 or self.truth.gain >= 0:
            wrong.append(WORSE)
        if alpha >= WORTH / DAYS and not below:
            wrong.append(NO_EDGE)
        return wrong

    @property
    def wrong(self) -> int:
        return sum(self.words[word] for word in self.wrong_words)

    @property
    def faults(self) -> list[str]:
        """What was promised and is not held, beyond what chance explains."""
        faults = []
        if _ends(self.wrong, self.runs)[0] > MOST_WRONG:
            faults.append(f"a wrong word in {self.wrong} of {self.runs}")
        low, high = _ends(self.words[EDGE], self.runs)
        has_edge = EDGE not in self.wrong_words
        if has_edge and not low - TOLERANCE <= self.promised <= high + TOLERANCE:
            faults.append(
                f'"{EDGE}" in {self.words[EDGE]} of {self.runs}, promised {self.promised:.0%}'
            )
        return faults


def judge_cells(
    runs: int,
    sizes: Sequence[int],
    cells: Sequence[Cell] = CELLS,
    *,
    jobs: int = 1,
    resamples: int = RESAMPLES,
    track: Callable[[Iterable[Said], int], Iterable[Said]] = lambda items, _: items,
) -> list[CellResult]:
    """Return what the real rule says of every cell at every size, `runs` times each.

    track: passes the batches of verdicts on and shows how many of the number that it is given came.
    """
    truths = {cell.name: truth_of(cell) for cell in cells}
    tasks = [
        (cell, n, range(start, min(start + BATCH, runs)))
        # Sizes outside: the resamples of one size are drawn once.
        for n in sizes
        for cell in cells
        for start in range(0, runs, BATCH)
    ]
    coming = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_verdicts)(cell, truths[cell.name], n, seeds, resamples) for cell, n, seeds in tasks
    )
    found = list(track(coming, len(tasks)))
    results = []
    for n in sizes:
        for cell in cells:
            own = [
                part
                for (one, size, _), part in zip(tasks, found, strict=True)
                if (one, size) == (cell, n)
            ]
            words = Counter(word for part in own for word, _ in part)
            promised = float(np.mean([chance for part in own for _, chance in part]))
            counts = {word: words[word] for word in get_args(Word)}
            results.append(CellResult(cell, truths[cell.name], n, counts, promised))
    return results


def _verdicts(cell: Cell, truth: Truth, n: int, seeds: range, resamples: int) -> Said:
    """Return the word on each history, and the chance of "edge" that its own spread gives."""
    effects = {
        "alpha": truth.alpha,
        "timing at close": truth.timing,
        "auc": CHANCE if truth.auc is None else truth.auc,
    }
    verdicts = []
    for seed in seeds:
        # Apart from the seed of the truth.
        drawn = draw(decisions_in(cell, n, seed + 1).record, resamples)
        verdicts.append((word_of(drawn.figures()), drawn.chance_of_edge(effects)))
    return verdicts


def _ends(count: int, runs: int) -> tuple[float, float]:
    """Return the exact binomial interval of a share."""
    found = binomtest(count, runs).proportion_ci(CONFIDENCE)
    return float(found.low), float(found.high)
