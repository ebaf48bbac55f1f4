"""The verdict put to the test: how often it says "edge" where there is none, and whether it does where there is one.

python backtests/false_alarms.py [--histories 20] [--bars 6000] [--jobs N]
"""

import numpy as np
import pandas as pd
from cyclopts import App
from joblib import Parallel, cpu_count, delayed
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from backtests.evidence.baselines import learner_probabilities, rule_directions
from backtests.evidence.decisions import Decisions
from backtests.evidence.evidence import evidence_of
from backtests.evidence.verdict import CANNOT_TELL, EDGE, NO_EDGE, Verdict, judge
from backtests.simulation.account import BASIS_POINT, Costs
from backtests.simulation.vectorised import directions, open_returns
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import FoldPlan, lay_folds
from model.bars.intervals import bars_per_year
from model.cli import VERSION, run
from model.labels import make_labels
from model.training.config import TrainConfig
from strategy_plugin.decision import NEUTRAL

# In the network's place, which would take a day: on the last row where nothing is to be found, on the whole window where
# echo hides its edge in the middle of it.
LAST_ROW, WHOLE_WINDOW = "logistic", "ridge"
EMPTY, PLANTED = ("walk", "walkdrift"), ("echo", "volrev")

app = App(
    version=VERSION,
    name="backtests/false_alarms.py",
    help="Put the verdict to the test on markets on which the truth is known.",
)
console = Console(highlight=False)


@app.default
def false_alarms(*, histories: int = 20, bars: int = 6_000, jobs: int | None = None) -> None:
    """Walk forward with cheap learners over random walks, without and with drift, and over two planted markets.

    Parameters
    ----------
    histories
        Histories of each random walk, seeds 1 to this; each planted market has the first only.
    bars
        Bars of each history.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not depend on it.
    """
    if histories < 1:
        raise ValueError(f"`histories` must be at least 1, got {histories}.")
    if jobs is not None and jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}.")
    tasks = [(name, seed) for name in EMPTY for seed in range(1, histories + 1)] + [
        (name, 1) for name in PLANTED
    ]
    found = Parallel(n_jobs=jobs or cpu_count())(
        delayed(verdict_on)(name, seed, bars) for name, seed in tasks
    )
    words = pd.Series([verdict.word for verdict in found], index=pd.MultiIndex.from_tuples(tasks))
    console.print(_table(words))
    alarms = int((words.loc[list(EMPTY)] == EDGE).sum())
    console.print(
        f"{alarms} false alarms on {len(EMPTY) * histories} walks without an edge", soft_wrap=True
    )


def _table(words: pd.Series) -> Table:
    table = Table(
        "market", *(f'"{word}"' for word in (EDGE, NO_EDGE, CANNOT_TELL)), box=SIMPLE_HEAD
    )
    for name in (*EMPTY, *PLANTED):
        counts = words.loc[name].value_counts()
        table.add_row(name, *(str(counts.get(word, 0)) for word in (EDGE, NO_EDGE, CANNOT_TELL)))
    return table


def verdict_on(
    name: str, seed: int, n_bars: int, *, plan: FoldPlan = FoldPlan(), costs: Costs = Costs()
) -> Verdict:
    """Return the verdict on a walk-forward of a cheap learner over one history of a market."""
    bars = market(name, n_bars, seed).bars
    config = plan.training(TrainConfig())
    folds = lay_folds(bars, plan, config)
    learner = WHOLE_WINDOW if name in PLANTED else LAST_ROW
    said = learner_probabilities(bars, folds, config, learners=(learner,))[learner]
    return judge(evidence_of(_decisions(bars, said, costs)))


def _decisions(bars: pd.DataFrame, said: pd.Series, costs: Costs) -> Decisions:
    """Return the learner's decisions as the strategy's, traded at one half."""
    positions = bars.index.get_indexer(said.index)
    moves = open_returns(bars)[positions]
    known = np.isfinite(moves) & said.notna().to_numpy()
    probability = said.to_numpy()[known]
    rules = {rule: wanted[positions][known] for rule, wanted in rule_directions(bars).items()}
    return Decisions(
        labels=make_labels(bars).shift(-1).to_numpy()[positions][known],
        probability=probability,
        moves=moves[known],
        strategy=directions(probability, enter=NEUTRAL, exit=NEUTRAL),
        benchmarks=rules,
        forecasts={},
        cost=costs.per_side * BASIS_POINT,
        bars_per_year=bars_per_year(pd.DatetimeIndex(bars.index)),
    )


if __name__ == "__main__":
    run(app)
