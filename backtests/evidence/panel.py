"""The decisions of a universe as tables of date and name: what was forecast, and what came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtests.simulation.vectorised import Array, directions, fill_moves
from backtests.walk_forward.universe import DatedFolds
from model.bars.artefacts import FlagRecord, flags_of
from model.bars.intervals import yearly_bars
from model.bars.universe import Universe
from model.training.config import TrainConfig
from model.training.outcomes import outcomes_of, windows_of
from strategy_plugin.decision import NEUTRAL

REVERSAL, MOMENTUM = "reversal", "momentum"
# The first: of the strategy and of boosting, which learn unlike things of the same rows.
TOGETHER, BOOSTING = "mean of ranks", "boosting"
MOMENTUM_BARS, MOMENTUM_SKIPPED = 250, 20  # the move over so many bars, without the last
DECAY = (1, 2, 5, 10)  # bars over which a forecast is held against the move

Key = TypeVar("Key")  # of tables: a name, or a number of bars


@dataclass(frozen=True, eq=False)
class Panel:
    """All decisions of a universe on its test dates. Tables are (dates, names), NaN where unknown.

    Parameters
    ----------
    dates, names
        Of the rows and of the columns.
    folds
        The number of the fold that decided: (dates,).
    scores
        By name of who forecasts, the strategy first: the higher, the better.
    probabilities
        The names of those whose scores are probabilities of 1.
    labels
        What was observed, 1 or 0, as training has it, NaN also where the price did not move.
    moves
        By where an order fills, as of `fill_moves`, what holding for one bar earned.
    later
        By number of bars, what holding from the next open earned.
    held
        By name of who forecasts, the directions it takes on each name; none where names are traded
        by their rank.
    flags
        What the bars say against themselves.
    """

    dates: pd.DatetimeIndex
    names: Sequence[str]
    folds: NDArray[np.intp]
    scores: Mapping[str, Array]
    probabilities: frozenset[str]
    labels: Array
    moves: Mapping[str, Array]
    later: Mapping[int, Array]
    outcome: str
    horizon: int
    bars_per_year: float
    held: Mapping[str, Array] = field(default_factory=dict)
    flags: Sequence[FlagRecord] = ()

    @property
    def ranked(self) -> bool:
        """Whether names are traded by their rank, rather than each in a direction of its own."""
        return not self.held

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Where the strategy has a forecast and its move is known: (dates, names)."""
        strategy = next(iter(self.scores.values()))
        return np.isfinite(strategy) & np.isfinite(self.moves["open"])

    @property
    def unknown_moves(self) -> int:
        """How many forecasts were made of a move that never came, before an instrument's end."""
        strategy = next(iter(self.scores.values()))
        return int((np.isfinite(strategy) & ~np.isfinite(self.moves["open"])).sum())

    def part(self, rows: NDArray[np.intp]) -> "Panel":
        """Return the decisions on some of the dates alone. rows: their places, in order."""

        def at(tables: Mapping[Key, Array]) -> dict[Key, Array]:
            return {key: table[rows] for key, table in tables.items()}

        return replace(
            self,
            dates=self.dates[rows],
            folds=self.folds[rows],
            scores=at(self.scores),
            labels=self.labels[rows],
            moves=at(self.moves),
            later=at(self.later),
            held=at(self.held),
        )


def panel_of(
    dated: DatedFolds,
    probabilities: Mapping[str, Array],
    thresholds: Mapping[str, tuple[Array, Array]] | None,
    allow_short: bool = False,
) -> Panel:
    """Return the decisions on all test dates whose next move is known of any name.

    probabilities: of the strategy first, and of others: (dates, names) on all test dates. The rules
    reversal and momentum are added, and the mean of the ranks of strategy and boosting. All are
    judged where the strategy forecasts. thresholds: by name, enter and exit of each date; those not
    named have one half. None, and relative forecasts, are traded by rank.
    """
    config, universe = dated.config, dated.universe
    # Test blocks adjoin: from the first one on every date is decided by one fold.
    tested = dated.dates[dated.folds[0].test : dated.folds[-1].stop]
    folds = np.concatenate([np.full(one.stop - one.test, one.number) for one in dated.folds])
    fills = {name: fill_moves(bars) for name, bars in universe.items()}
    moves = {
        fill: _table({name: (universe[name], of[fill]) for name, of in fills.items()}, tested)
        for fill in next(iter(fills.values()))
    }
    # Over one bar it is the move that an order catches, at whatever open it fills.
    later = {DECAY[0]: moves["open"]} | {
        bars: _table({name: (own, _move_over(own, bars)) for name, own in universe.items()}, tested)
        for bars in DECAY[1:]
    }
    # The last dates wait for a bar to come.
    known = np.flatnonzero(np.isfinite(moves["open"]).any(axis=1))
    rules = {name: _table(of, tested) for name, of in _rules(universe).items()}
    own = next(iter(probabilities.values()))
    if BOOSTING in probabilities:
        rules = {TOGETHER: mean_of_ranks(own, probabilities[BOOSTING])} | rules
    scores = {
        name: np.where(np.isfinite(own), table, np.nan)
        for name, table in {**probabilities, **rules}.items()
    }
    held = {}
    if config.outcome == "direction" and thresholds is not None:
        held = _directions(scores, frozenset(probabilities), thresholds, allow_short)
    return Panel(
        tested[known],
        list(universe),
        folds[known],
        {name: table[known] for name, table in scores.items()},
        frozenset(probabilities),
        _labels(universe, config, tested)[known],
        {fill: table[known] for fill, table in moves.items()},
        {bars: table[known] for bars, table in later.items()},
        config.outcome,
        max(config.horizon, *(config.labelling.labels(one).longest for one in universe.values())),
        float(np.mean([yearly_bars(bars) for bars in universe.values()])),
        {name: table[known] for name, table in held.items()},
        [
            FlagRecord(**flag | {"sentence": f"{name}: {flag['sentence']}"})
            for name, bars in universe.items()
            for flag in flags_of(bars)
        ],
    )


def mean_of_ranks(*scores: Array) -> Array:
    """Return the mean rank of each name on each date, from -.5 to .5: (dates, names).

    scores: of learners whose scales differ, (dates, names) each; NaN where one of them has none.
    """
    known = np.isfinite(scores).all(axis=0)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    # Learners whose probabilities are more spread would lead a mean of them.
    ranks = [pd.DataFrame(np.where(known, one, np.nan)).rank(axis=1).to_numpy() for one in scores]
    return np.asarray((np.mean(ranks, axis=0) - 0.5) / count - 0.5)


def _directions(
    scores: Mapping[str, Array],
    probabilities: frozenset[str],
    thresholds: Mapping[str, tuple[Array, Array]],
    allow_short: bool,
) -> dict[str, Array]:
    """Return the directions that each holds on each name: (dates, names).

    Probabilities are held against thresholds; a rule's score leans up above 0, and down below.
    """
    held, down = {}, -1.0 if allow_short else 0.0
    for name, table in scores.items():
        if name not in probabilities:
            held[name] = np.select([table > 0, table < 0], [1.0, down], 0.0)
            continue
        # Cheap learners choose no thresholds.
        enter, exit = thresholds.get(name, (NEUTRAL, NEUTRAL))
        held[name] = np.column_stack(
            [
                directions(of_name, enter=enter, exit=exit, allow_short=allow_short)
                for of_name in table.T
            ]
        )
    return held


Columns = Mapping[str, tuple[pd.DataFrame, Array]]


def _table(columns: Columns, dates: pd.DatetimeIndex) -> Array:
    """Return a value of each instrument's bars as a table on these dates: (dates, names)."""
    table = np.full((len(dates), len(columns)), np.nan)
    for number, (bars, values) in enumerate(columns.values()):
        # Bars of other dates have the place -1.
        place = dates.get_indexer(pd.DatetimeIndex(bars.index).as_unit("ns"))
        table[place[place >= 0], number] = values[place >= 0]
    return table


def _rules(universe: Universe) -> dict[str, Columns]:
    """Return the scores of the fixed rules at each bar's close: reversal and momentum."""
    found: dict[str, dict[str, tuple[pd.DataFrame, Array]]] = {REVERSAL: {}, MOMENTUM: {}}
    for name, bars in universe.items():
        price = np.log(bars["close"])
        # What fell last is bought: Lehmann (1990), Jegadeesh (1990).
        found[REVERSAL][name] = bars, -price.diff().to_numpy()
        # Jegadeesh and Titman (1993); without the last month, which tends to turn back.
        before = price.shift(MOMENTUM_SKIPPED) - price.shift(MOMENTUM_BARS)
        found[MOMENTUM][name] = bars, before.to_numpy()
    return dict(found)


def _move_over(bars: pd.DataFrame, number: int) -> Array:
    """Return the move from the open after each bar over so many bars, NaN where it is not over."""
    opened = bars["open"]
    return np.asarray((opened.shift(-1 - number) / opened.shift(-1) - 1).to_numpy())


def _labels(universe: Universe, config: TrainConfig, dates: pd.DatetimeIndex) -> Array:
    """Return the labels of training on these dates; NaN also where the price did not move."""
    outcomes, _ = outcomes_of(universe, config)
    labels = np.full((len(dates), len(universe)), np.nan)
    for number, (name, own) in enumerate(outcomes.items()):
        place = dates.get_indexer(pd.DatetimeIndex(own.decided.astype("datetime64[ns]")))
        values = own.labels
        if config.outcome == "direction":
            bars = universe[name]
            # Neither direction was right where nothing moved.
            tied = config.labelling.labels(bars).tied[windows_of(bars, config)]
            values = np.where(tied, np.nan, values)
        labels[place[place >= 0], number] = values[place >= 0]
    return labels
