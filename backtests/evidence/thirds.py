"""Where in time an edge was: the verdict on each third of the dates of a universe by itself.

A verdict over all dates says "edge" where most of them had one, also of an edge that has gone.
"""

import numpy as np
import pandas as pd

from backtests.evidence.books import Books
from backtests.evidence.by_date import by_date
from backtests.evidence.panel import Panel
from backtests.evidence.verdict import NO_COST, judge_book

THIRDS = 3
FEWEST_DATES = 40  # of a third: blocks of fewer say nothing, and there is no table
# What is taken from the strategy's row of the evidence by date.
FIGURES = ("auc", "ic", "ic_low", "ic_high", "ic_t", "gross_sharpe", "sharpe")
COLUMNS = (
    "third",
    "first_decision",
    "last_decision",
    "dates",
    *FIGURES,
    "verdict_at_no_cost",
    "verdict",
)


def thirds(panel: Panel, cost: float) -> pd.DataFrame:
    """Return what the strategy forecast and its paper book earned in each third of the dates.

    cost: of a trade, a fraction per side. One row for each third, the earliest first, with the word
    of the verdict at no cost and at this one; no row where a third has fewer than 40 dates.
    """
    rows = []
    if len(panel.dates) >= THIRDS * FEWEST_DATES:
        for number, chosen in enumerate(np.array_split(np.arange(len(panel.dates)), THIRDS), 1):
            part = panel.part(chosen)
            books = Books(part)
            strategy, *_ = by_date(part, books, cost).forecasters.to_dict("records")
            rows.append(
                {
                    "third": number,
                    "first_decision": part.dates[0],
                    "last_decision": part.dates[-1],
                    "dates": len(part.dates),
                    **{name: strategy[name] for name in FIGURES},
                    "verdict_at_no_cost": judge_book(books.figures(0.0), part.ranked, NO_COST).word,
                    "verdict": judge_book(books.figures(cost), part.ranked).word,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))
