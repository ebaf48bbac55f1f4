"""The verdict put to the test: how often it says "edge" where there is none, and where there is.

python backtests/false_alarms.py [--histories 20] [--bars 6000] [--jobs N]
python backtests/false_alarms.py --grid [--runs 1000]
python backtests/false_alarms.py --universes 40 [--instruments 20] [--bars 3000]
python backtests/false_alarms.py --searches 20 [--trials 50] [--bars 1200]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, get_args

import pandas as pd
from cyclopts import App
from joblib import Parallel, cpu_count, delayed
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import backtests
from backtests import evidence, synthetic, walk_forward
from backtests.progress import tracked
from backtests.search import pasts_of
from backtests.simulation.account import Account, Costs
from backtests.simulation.vectorised import directions
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.space import DEFAULT, SearchPlan, with_settings
from model.bars.faults import count
from model.bars.universe import Universe
from model.cli import VERSION, run
from model.settings import optional, require, whole
from model.training.config import TrainConfig
from strategy_plugin.decision import NEUTRAL

if TYPE_CHECKING:
    from backtests.evidence.verdict import Verdict
    from backtests.synthetic.grid import CellResult
    from backtests.walk_forward.workers import JoblibTask

# In the network's place, which would take a day: on the last row where nothing is to be found, on
# the whole window where echo hides its edge in the middle of it.
LAST_ROW, WHOLE_WINDOW = "logistic", "ridge"
FEWEST_DECISIONS = 50
GRID_WIDTH = 140  # characters of its table
SIZES = (600, 2_438, 10_000)  # numbers of decisions; the second is that of the default run
# Of a search, in which the network trains hundreds of times.
FEW_FOLDS, QUICK = FoldPlan(folds=2, train_blocks=2), TrainConfig(sequence_length=2, max_epochs=1)
# Markets without an edge, and with one.
EMPTY, PLANTED = ("walk", "walkdrift"), ("echo", "volrev")

app = App(version=VERSION, name="backtests/false_alarms.py")
console = Console(highlight=False)

NUMBERS = {
    "histories": whole(1),
    "bars": whole(1),
    "runs": whole(1),
    "decisions": whole(FEWEST_DECISIONS),
    "universes": optional(whole(1)),
    "instruments": whole(TrainConfig.fewest_instruments),
    "searches": optional(whole(1)),
    "trials": whole(1),
    "jobs": optional(whole(1)),
}


@app.default
def false_alarms(
    *,
    histories: int = 20,
    bars: int = 6_000,
    grid: bool = False,
    runs: int = 1_000,
    decisions: tuple[int, ...] = SIZES,
    universes: int | None = None,
    instruments: int = 20,
    searches: int | None = None,
    trials: int = 50,
    jobs: int | None = None,
) -> None:
    """Put the verdict to the test on markets on which the truth is known.

    It walks forward over random walks, without and with drift, and over two planted markets. Cheap
    learners stand in the network's place. With --grid nothing is learned: decisions whose true
    alpha is known are judged, and the program leaves with exit code 1 where a word is wrong more
    often than promised, or "edge" comes more or less often than the verdicts say of themselves.

    Parameters
    ----------
    histories
        Histories of each random walk, seeds 1 to this; each planted market has the first only.
    bars
        Bars of each history.
    grid
        Judge decisions of known truth instead: an hour and less on two cores.
    runs
        Verdicts on each cell of the grid.
    decisions
        How many each of them judges: a cell for each number.
    universes
        Judge instead so many universes of walks that share half of their variance, each ranked by
        one logistic regression for all, at no cost.
    instruments
        Walks of each universe.
    searches
        Search instead for settings on so many random walks, and walk forward over each with the
        best, as backtests/search.py does. The network reads two bars for one epoch.
    trials
        Settings that each search tries.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    """
    require(
        {
            "histories": histories,
            "bars": bars,
            "runs": runs,
            "decisions": min(decisions),
            "universes": universes,
            "instruments": instruments,
            "searches": searches,
            "trials": trials,
            "jobs": jobs,
        },
        NUMBERS,
    )
    if universes:
        print_words(
            [
                delayed(verdict_on_universe)(synthetic.correlated_walks(instruments, bars, seed))
                for seed in range(1, universes + 1)
            ],
            f"{count(universes, 'universe')} of walks",
            jobs or cpu_count(),
        )
        return
    if searches:
        print_words(
            [delayed(verdict_after_search)(seed, bars, trials) for seed in range(1, searches + 1)],
            f"{count(searches, 'walk')}, each after a search of {count(trials, 'trial')}",
            jobs or cpu_count(),
        )
        return
    if grid:
        print_grid(runs, decisions, jobs or cpu_count())
        return
    print_walks(histories, bars, jobs or cpu_count())


def print_walks(histories: int, bars: int, jobs: int) -> None:
    """Print the verdicts on random walks, and beside them those on two planted markets."""
    tasks = [(name, seed) for name in EMPTY for seed in range(1, histories + 1)]
    tasks += [(name, 1) for name in PLANTED]
    # In their order, each as soon as it is there.
    parallel = Parallel(n_jobs=jobs, return_as="generator")
    coming = parallel(delayed(verdict_on)(name, seed, bars) for name, seed in tasks)
    verdicts = list(tracked(coming, console, "walks", len(tasks)))
    words = pd.Series([found.word for found in verdicts], index=pd.MultiIndex.from_tuples(tasks))
    console.print(_table(words))
    alarms = int((words.loc[list(EMPTY)] == evidence.EDGE).sum())
    console.print(
        f"{count(alarms, 'false alarm')} on {len(EMPTY) * histories} walks without an edge",
        soft_wrap=True,
    )


def print_words(tasks: Sequence[JoblibTask], on: str, jobs: int) -> None:
    """Print how often each word is said where nothing is to be found.

    tasks: each gives a verdict. on: what they judge, in words.
    """
    coming = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    verdicts = list(tracked(coming, console, "verdicts", len(tasks)))
    counts = pd.Series([found.word for found in verdicts]).value_counts()
    words = get_args(evidence.Word)
    table = Table(*(f'"{word}"' for word in words), box=SIMPLE_HEAD)
    table.add_row(*(str(counts.get(word, 0)) for word in words))
    console.print(table)
    alarms = count(int(counts.get(evidence.EDGE, 0)), "false alarm")
    console.print(f"{alarms} on {on}", soft_wrap=True)


def print_grid(runs: int, decisions: Sequence[int], jobs: int) -> None:
    """Print how often each word comes in each cell; SystemExit(1) where a promise is not held."""
    results = synthetic.judge_cells(
        runs,
        decisions,
        jobs=jobs,
        track=lambda coming, total: tracked(coming, console, "batches of verdicts", total),
    )
    # No column may be cut: a file, or a narrow terminal, gets the whole width.
    wide = Console(highlight=False, width=max(console.width, GRID_WIDTH))
    wide.print(_grid_table(results), soft_wrap=True)
    faults = [
        f"{result.cell.name}, {result.n:,} decisions: {fault}"
        for result in results
        for fault in result.faults
    ]
    console.print(
        f"{count(len(results), 'cell')} of {count(runs, 'verdict')}: "
        + ("; ".join(faults) or "every promise is held"),
        soft_wrap=True,
    )
    if faults:
        raise SystemExit(1)


def _grid_table(results: Sequence[CellResult]) -> Table:
    """Return a row per cell: the truth, how often each word came, and how often "edge" should."""
    words = get_args(evidence.Word)
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for header in (
        "",
        "decisions",
        "true alpha\na year",
        "timing gain\na year",
        "true\nAUC",
        *words,
        "edge\npromised",
        "wrong",
    ):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for result in results:
        alpha, _, timing, area = result.truth
        table.add_row(
            result.cell.name,
            f"{result.n:,}",
            f"{synthetic.DAYS * alpha:+z.1%}",
            f"{synthetic.DAYS * timing:+z.1%}",
            "-" if area is None else f"{area:.3f}",
            *(f"{result.words[word] / result.runs:.1%}" for word in words),
            f"{result.promised:.1%}",
            f"{result.wrong / result.runs:.1%}",
        )
    return table


def _table(words: pd.Series) -> Table:
    """Return a row per market and a column per word, with how often it was said."""
    columns = get_args(evidence.Word)
    table = Table("market", *(f'"{word}"' for word in columns), box=SIMPLE_HEAD)
    for name in (*EMPTY, *PLANTED):
        counts = words.loc[name].value_counts()
        table.add_row(name, *(str(counts.get(word, 0)) for word in columns))
    return table


def verdict_on(
    name: str, seed: int, n_bars: int, *, plan: FoldPlan = FoldPlan(), costs: Costs = Costs()
) -> Verdict:
    """Return the verdict on a walk-forward over one history of a market.

    The forecasts are a cheap learner's, traded at one half.
    """
    learner = WHOLE_WINDOW if name in PLANTED else LAST_ROW
    return verdict_by(learner, synthetic.market(name, n_bars, seed).bars, plan=plan, costs=costs)


def verdict_on_universe(
    universe: Universe,
    *,
    learner: str = LAST_ROW,
    plan: FoldPlan = FoldPlan(),
    config: TrainConfig = TrainConfig(outcome="relative"),
) -> Verdict:
    """Return the verdict, at no cost, on a walk-forward of one cheap learner over a universe."""
    dated = walk_forward.lay_dated_folds(universe, plan, plan.training(config))
    forecasts = evidence.pooled_probabilities(dated, learners=(learner,))
    panel = evidence.panel_of(dated, {evidence.STRATEGY: forecasts[learner]}, {})
    figures = evidence.Books(panel).figures(0.0)
    return evidence.judge_book(figures, panel.ranked, evidence.NO_COST)


def verdict_after_search(seed: int, n_bars: int, trials: int) -> Verdict:
    """Return the verdict on a walk-forward over a random walk, with settings searched before it."""
    bars = synthetic.market("walk", n_bars, seed).bars
    settings = Settings(FEW_FOLDS, FEW_FOLDS.training(QUICK))
    [past] = pasts_of(bars, settings, DEFAULT, nested=False)
    with TemporaryDirectory() as folder:
        storage, ledger = Path(folder, "search.log"), Path(folder, "trials")
        tried = list(walk_forward.search(past, settings, DEFAULT, SearchPlan(trials), storage, 1))
        found = evidence.searched_past(past, tried, settings.config)
        config = with_settings(QUICK, found.settings)
        return backtests.walk.walk_bars(bars, config, plan=FEW_FOLDS, ledger=ledger, jobs=1).verdict


def verdict_by(
    learner: str, bars: pd.DataFrame, *, plan: FoldPlan = FoldPlan(), costs: Costs = Costs()
) -> Verdict:
    """Return the verdict on a walk-forward over bars; a cheap learner stands in for the network."""
    settings = Settings(plan, plan.training(TrainConfig()), Account(), costs)
    folds = walk_forward.lay_folds(bars, plan, settings.config)
    forecasts = evidence.learner_probabilities(bars, folds, settings.config, learners=(learner,))
    probability = forecasts[learner].to_numpy()
    # The learner stands in the model's place: the folds have no model of their own.
    outcomes = walk_forward.predictions(
        bars, [walk_forward.FoldModel(fold, None) for fold in folds], settings.config
    )
    decisions = evidence.decisions_of(
        bars,
        outcomes.assign(probability=probability),
        directions(probability, enter=NEUTRAL, exit=NEUTRAL),
        forecasts[[]],
        settings,
    )
    return evidence.judge(evidence.evidence_of(decisions))


if __name__ == "__main__":
    run(app)
