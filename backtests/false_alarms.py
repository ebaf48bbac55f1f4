"""The verdict put to the test: how often it says "edge" where there is none, and where there is.

python backtests/false_alarms.py [--histories 20] [--bars 6000] [--jobs N]
"""

from typing import get_args

import pandas as pd
from cyclopts import App
from joblib import Parallel, cpu_count, delayed
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from backtests.evidence.baselines import learner_probabilities
from backtests.evidence.decisions import decisions_of
from backtests.evidence.evidence import evidence_of
from backtests.evidence.verdict import EDGE, Verdict, Word, judge
from backtests.simulation.account import Account, Costs
from backtests.simulation.vectorised import directions
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds, predictions
from model.cli import VERSION, run
from model.settings import optional, require, whole
from model.training.config import TrainConfig
from strategy_plugin.decision import NEUTRAL

# In the network's place, which would take a day: on the last row where nothing is to be found, on
# the whole window where echo hides its edge in the middle of it.
LAST_ROW, WHOLE_WINDOW = "logistic", "ridge"
# Markets without an edge, and with one.
EMPTY, PLANTED = ("walk", "walkdrift"), ("echo", "volrev")

app = App(version=VERSION, name="backtests/false_alarms.py")
console = Console(highlight=False)


@app.default
def false_alarms(*, histories: int = 20, bars: int = 6_000, jobs: int | None = None) -> None:
    """Put the verdict to the test on markets on which the truth is known.

    It walks forward over random walks, without and with drift, and over two planted markets. Cheap
    learners stand in the network's place.

    Parameters
    ----------
    histories
        Histories of each random walk, seeds 1 to this; each planted market has the first only.
    bars
        Bars of each history.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    """
    require(
        {"histories": histories, "jobs": jobs},
        {"histories": whole(1), "jobs": optional(whole(1))},
    )
    tasks = [(name, seed) for name in EMPTY for seed in range(1, histories + 1)]
    tasks += [(name, 1) for name in PLANTED]
    verdicts = Parallel(n_jobs=jobs or cpu_count())(
        delayed(verdict_on)(name, seed, bars) for name, seed in tasks
    )
    words = pd.Series([found.word for found in verdicts], index=pd.MultiIndex.from_tuples(tasks))
    console.print(_table(words))
    alarms = int((words.loc[list(EMPTY)] == EDGE).sum())
    console.print(
        f"{alarms} false alarms on {len(EMPTY) * histories} walks without an edge", soft_wrap=True
    )


def _table(words: pd.Series) -> Table:
    """Return a row per market and a column per word, with how often it was said."""
    columns = get_args(Word)
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
    bars = market(name, n_bars, seed).bars
    settings = Settings(plan, plan.training(TrainConfig()), Account(), costs)
    folds = lay_folds(bars, plan, settings.config)
    learner = WHOLE_WINDOW if name in PLANTED else LAST_ROW
    forecasts = learner_probabilities(bars, folds, settings.config, learners=(learner,))
    probability = forecasts[learner].to_numpy()
    # The learner stands in the model's place: the folds have no model of their own.
    outcomes = predictions(bars, [FoldModel(fold, None) for fold in folds], settings.config)
    decisions = decisions_of(
        bars,
        outcomes.assign(probability=probability),
        directions(probability, enter=NEUTRAL, exit=NEUTRAL),
        forecasts[[]],
        settings,
    )
    return judge(evidence_of(decisions))


if __name__ == "__main__":
    run(app)
