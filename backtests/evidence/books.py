"""What the forecasts of a universe earn: a paper book of each that forecasts, at any cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from backtests.evidence.alpha import WORTH, Figures, TrackRecord, figures_of
from backtests.evidence.bootstrap import RESAMPLES, Area, AreaUnderCurve, area_within_rows
from backtests.evidence.decisions import STRATEGY
from backtests.evidence.panel import Panel
from backtests.evidence.scores import BEST
from backtests.simulation.book import (
    book_returns,
    book_timing,
    equal_parts,
    rank_weights,
    turnover,
)
from backtests.simulation.vectorised import Array


@dataclass(frozen=True, eq=False)
class Books:
    """The paper books of all that forecast on the same dates.

    Where names are ranked they are long the best fifth and short the worst, weighed anew at each
    date, beside cash; of directions, all instruments in equal parts, beside all of them held.
    """

    panel: Panel

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The weights of each book after every date, by who forecasts: (dates, names) each."""
        panel = self.panel
        if panel.ranked:
            # Whether a name's move came is not known when it is ranked.
            return {name: rank_weights(scores) for name, scores in panel.scores.items()}
        return {name: equal_parts(held, panel.decided) for name, held in panel.held.items()}

    def returns(self, cost: float) -> dict[str, Array]:
        """Return what each book earns after each date: (dates,) each. cost: a fraction a side."""
        moves = self.panel.moves["open"]
        return {name: book_returns(weights, moves, cost) for name, weights in self.weights.items()}

    def benchmark(self, cost: float) -> Array:
        """Return what the books are held against earns: (dates,)."""
        panel = self.panel
        if panel.ranked:
            # Long and short weigh the same: what the market did is in neither.
            return np.zeros(len(panel.dates))
        parts = equal_parts(np.ones(panel.labels.shape), panel.decided)
        return book_returns(parts, panel.moves["open"], cost)

    @property
    def turnovers(self) -> Mapping[str, float]:
        """How much of each book changes hands per date, by who forecasts."""
        return {name: turnover(weights) for name, weights in self.weights.items()}

    def record(self, cost: float) -> TrackRecord:
        """Return the track record of the strategy's book at this cost."""
        panel, returns, benchmark = self.panel, self.returns(cost), self.benchmark(cost)
        # What nobody can have is no rival: the test for superior ability would ask for more than
        # it.
        returns.pop(BEST, None)
        own = self.weights[STRATEGY]
        return TrackRecord(
            returns=returns[STRATEGY],
            benchmark=benchmark,
            periods_per_year=panel.bars_per_year,
            tried={name: (values, benchmark) for name, values in returns.items()},
            others={name: values for name, values in returns.items() if name != STRATEGY},
            timing={fill: book_timing(own, moves) for fill, moves in panel.moves.items()},
            forecasts=self._area(),
            horizon=panel.horizon,
            flags=panel.flags,
        )

    def figures(self, cost: float, *, worth: float = WORTH, resamples: int = RESAMPLES) -> Figures:
        """Return the figures on chance by which a verdict is given, at this cost."""
        return figures_of(self.record(cost), worth=worth, resamples=resamples)

    def _area(self) -> Area:
        """Return the area under the ROC curve of the strategy's forecasts.

        Ranks are compared within a date; directions, within a fold, over time too.
        """
        panel, scores = self.panel, self.panel.scores[STRATEGY]
        if panel.ranked:
            return area_within_rows(panel.labels, scores)
        rows, names = np.nonzero(np.isfinite(panel.labels) & np.isfinite(scores))
        place = rows, names
        return AreaUnderCurve(panel.labels[place], scores[place], panel.folds[rows], rows)


def equity_of(books: Books, cost: float) -> pd.DataFrame:
    """Return the growth of 1 in the strategy's book after each date, before and after costs.

    benchmark: of what it is held against.
    """
    dates = books.panel.dates
    columns = {
        "strategy": books.returns(cost)[STRATEGY],
        "before_costs": books.returns(0.0)[STRATEGY],
        "benchmark": books.benchmark(cost),
    }
    growth = {name: np.cumprod(1 + values) for name, values in columns.items()}
    return pd.DataFrame(growth, index=dates.rename("date"))
