"""Folds over a universe: laid by date, so that one network learns from all instruments.

A fold's numbers count the dates on which enough instruments can be forecast. Of each instrument it
takes the bars between two of these dates, with the bars before them that the first window needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.walk_forward.folds import FEWEST_DECISIONS, Fold, FoldModel
from backtests.walk_forward.plan import FoldPlan
from model.bars.faults import count
from model.bars.universe import Universe, faults_together
from model.errors import BarsError, Setting
from model.training.config import TrainConfig
from model.training.outcomes import first_entry


@dataclass(frozen=True, eq=False)
class DatedFolds:
    """The folds of a universe, and the dates that they count.

    dates: those on which at least `fewest_instruments` have a whole window. folds: their train,
    test and stop are positions among the dates.
    """

    universe: Universe
    dates: pd.DatetimeIndex
    folds: Sequence[Fold]
    config: TrainConfig

    def past(self, fold: Fold) -> dict[str, pd.DataFrame]:
        """Return all that the fold's model may see of each instrument, by name.

        It ends with the date at whose close the first test decisions are made. Instruments that
        have no window with a label by then are left out.
        """
        # As `fit` asks of each: one with less would be left out there with a warning in every fold.
        needed = first_entry(self.config) + self.config.labelling.wait
        return self._between(fold, fold.train, fold.test, needed)

    def test_bars(self, fold: Fold) -> dict[str, pd.DataFrame]:
        """Return the bars of each instrument that the fold's test decisions need, by name."""
        return self._between(fold, fold.test, fold.stop - 1, fold.warm_up + 1)

    @property
    def traded_bars(self) -> dict[str, pd.DataFrame]:
        """The bars of each instrument that all test decisions together need, by name."""
        first, last = self.folds[0], self.folds[-1]
        return self._between(first, first.test, last.stop - 1, first.warm_up + 1)

    def describe_unjudged(self) -> str:
        """Say which instruments no test date can forecast, and how many bars each has; "" of none.

        They are among the instruments that are counted, so that nobody would miss them.
        """
        judged = self.traded_bars
        short = [
            f"{name} ({len(own)})" for name, own in self.universe.items() if name not in judged
        ]
        if not short:
            return ""
        return (
            f"never judged, as a forecast needs {self.folds[0].warm_up + 1} bars up to a test "
            f"date: {', '.join(short)}"
        )

    def test_dates(self, fold: Fold) -> pd.DatetimeIndex:
        return self.dates[fold.test : fold.stop]

    def _between(self, fold: Fold, first: int, last: int, fewest: int) -> dict[str, pd.DataFrame]:
        cut = {}
        for name, bars in self.universe.items():
            # In its own bars: one that missed some has its window all the same.
            start = int(bars.index.searchsorted(self.dates[first])) - fold.warm_up
            stop = int(bars.index.searchsorted(self.dates[last], side="right"))
            own = bars.iloc[max(start, 0) : stop]
            if len(own) >= fewest:
                cut[name] = own
        return cut


def lay_dated_folds(universe: Universe, plan: FoldPlan, config: TrainConfig) -> DatedFolds:
    """Cut the dates of a universe into folds, oldest first.

    With L = dates // (folds + train_blocks), each test block and each train block holds L dates.
    BarsError where there are too few, or where the past of a fold holds too few instruments.
    """
    # Bars before the one that decides: those of the window, and those its first row looks back on.
    warm_up = config.lookback + config.sequence_length - 2
    dates = _forecast_dates(universe, warm_up, config.fewest_instruments)
    # What is left over lies at the beginning: the newest dates are always judged.
    length = len(dates) // (plan.folds + plan.train_blocks)
    if plan.folds * length < FEWEST_DECISIONS:
        raise BarsError(
            f"the test blocks must hold at least {FEWEST_DECISIONS} dates in all, got "
            f"{plan.folds * length}: {count(config.fewest_instruments, 'instrument')} or more can "
            f"be forecast on {count(len(dates), 'date')}. Give more bars, or lower ",
            Setting("train_blocks"),
            " or ",
            Setting("fewest_instruments"),
            ".",
        )
    folds = []
    for later in reversed(range(plan.folds)):  # how many test blocks follow this one
        test = len(dates) - (later + 1) * length
        train = 0 if plan.anchored else test - plan.train_blocks * length
        folds.append(Fold(plan.folds - later, train, test, test + length, warm_up))
    dated = DatedFolds(universe, dates, folds, config)
    for fold in folds:
        _require_past(dated, fold)
    return dated


def _forecast_dates(universe: Universe, warm_up: int, fewest: int) -> pd.DatetimeIndex:
    """Return the dates on which at least so many instruments have a whole window, in order."""
    decided = [bars.index[warm_up:] for bars in universe.values()]
    dates, counts = np.unique(
        np.concatenate([pd.DatetimeIndex(index).as_unit("ns").asi8 for index in decided]),
        return_counts=True,
    )
    return pd.DatetimeIndex(dates[counts >= fewest].astype("datetime64[ns]"))


def _require_past(dated: DatedFolds, fold: Fold) -> None:
    """Refuse a fold whose past cannot be learnt from, before any other is trained."""
    past = dated.past(fold)
    config = dated.config
    faults = faults_together(past, config.fewest_instruments)
    # Training and validation in the shares of the dates, were every window to have a label.
    windows = sum(len(bars) - fold.warm_up for bars in past.values())
    if not faults and int(config.train * windows) < config.batch_size:
        faults = [
            (
                f"its training part holds no batch of {config.batch_size} windows. "
                "Give more bars, or lower ",
                Setting("batch_size"),
                ".",
            )
        ]
    if faults:
        first, last = (dated.dates[place] for place in (fold.train, fold.test))
        raise BarsError(
            f"fold {fold.number} cannot learn from {first:%Y-%m-%d} to {last:%Y-%m-%d}: ",
            *faults[0],
        )


def dated_probabilities(dated: DatedFolds, models: Sequence[FoldModel]) -> pd.DataFrame:
    """Return the forecast of each instrument on every test date of all folds.

    Returns (dates, names), NaN where there is no window or no model. Each model is asked about its
    own test block alone, with no bar after it.
    """
    blocks = []
    for model in models:
        decided = dated.test_dates(model.fold)
        if model.checkpoint is None:
            # A fold that was lost has dates without forecasts, not dates less.
            blocks.append(pd.DataFrame(index=decided, dtype=float))
        else:
            # Instruments that it never saw are forecast, too: they may have begun since.
            found = model.checkpoint.scores(dated.test_bars(model.fold))
            blocks.append(
                found.set_axis(pd.DatetimeIndex(found.index).as_unit("ns")).reindex(decided)
            )
    return pd.concat(blocks).reindex(columns=list(dated.universe)).astype(float)
