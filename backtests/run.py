"""The command that walks forward: python backtests/run.py [--data FILE] [--out FOLDER] [--folds 8] [--jobs N] ..."""
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import App, Parameter
from joblib import cpu_count
from rich.console import Console

from backtests.campaign import train_all
from backtests.cluster import workers
from backtests.control_table import parse_market
from backtests.evidence import Trials
from backtests.fingerprint import key_of
from backtests.ledger import Ledger, default_ledger
from backtests.markets import Market, market
from backtests.progress import FoldProgress, Journal
from backtests.report import REPORT, write_report
from backtests.results import FILES, Results, Settings, evaluate, summary, write_results
from backtests.simulation import Account, Costs
from backtests.state import RunState, held
from backtests.tables import tables
from backtests.walk_forward import Fold, FoldModel, FoldPlan, lay_folds
from model.command import BarsOptions, describe_bars, run
from model.training import TrainConfig
from model.windows import tied_share

app = App(name="backtests/run.py", help="Walk forward over bars: train a model per fold, trade all folds in one run, and judge.")
console = Console(highlight=False)


@dataclass(frozen=True)
class FoldTraining(TrainConfig):
    """The settings of training whose shares are the fold plan's: validation_share decides both."""

    train: Annotated[float, Parameter(parse=False)] = 0.8
    validation: Annotated[float, Parameter(parse=False)] = 0.2


FoldTraining.__doc__ = f"{FoldTraining.__doc__}\n{(TrainConfig.__doc__ or '').partition('commands.')[2]}"


@dataclass(frozen=True)
class MarketOptions:
    """A synthetic market in the place of data.

    Parameters
    ----------
    market
        A market on which the best possible forecast is known, in the place of data: echo, volrev, regime, latch, magecho,
        walk or walkdrift, also with its settings, as in echo:strength=0.5.
    market_bars
        How many bars of it.
    market_seed
        Which of its histories.
    """

    market: str | None = None
    market_bars: int = 12_000
    market_seed: int = 1

    @property
    def name(self) -> str:
        """The market's name as it stands in file names."""
        return (self.market or "").partition(":")[0]

    def sample(self) -> Market:
        """Return the bars with the best probability at each."""
        name, strengths = parse_market(self.market or "")
        return market(name, self.market_bars, self.market_seed, **strengths)


@app.default
def walk(
    *,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    market_options: Annotated[MarketOptions, Parameter(name="*")] = MarketOptions(),
    out: Path | None = None,
    plan: Annotated[FoldPlan, Parameter(name="*")] = FoldPlan(),
    jobs: int | None = None,
    account: Annotated[Account, Parameter(name="*")] = Account(),
    costs: Annotated[Costs, Parameter(name="*")] = Costs(),
    training: Annotated[FoldTraining, Parameter(name="*")] = FoldTraining(),
    dask: str | None = None,
    ledger: Path | None = None,
    fresh: bool = False,
) -> None:
    """Walk forward over bars: train a model per fold, trade all folds in one run, and judge.

    Parameters
    ----------
    out
        The folder of the results; default: runs/ and the instrument's name.
    jobs
        Processes that train at the same time; default: one per core. The result does not depend on it.
    dask
        The address of a Dask scheduler, like tcp://host:8786, on whose workers the folds are trained with the same result.
        Epochs are then not shown, and jobs should be the number of workers.
    ledger
        The file that counts the configurations tried on these bars, for the deflated Sharpe ratio; default: one per data
        digest in your user data folder.
    fresh
        Start over rather than reuse the folds that an interrupted run finished in the folder.
    """
    if market_options.market and bars_options.data:
        raise ValueError("`data` and `market` exclude each other: a market makes its own bars. Give one of them.")
    if market_options.market and training.horizon != 1:
        raise ValueError(f"`horizon` must be 1 with `market`, got {training.horizon}: its best forecast is known for the next bar.")
    folder = out or Path("runs") / (market_options.name or bars_options.file_name)
    settings = Settings(plan, plan.training(TrainConfig(**asdict(training))), account, costs)
    with held(folder):
        planted = market_options.sample() if market_options.market else None
        bars = planted.bars if planted else bars_options.read()
        book = Ledger(ledger or default_ledger(bars))
        best = planted.probability if planted else None
        with workers(dask):
            results = _walk(bars, folder, settings, book, fresh=fresh, jobs=_jobs(jobs), best=best)
    console.print(tables(results))
    if results.share_found is not None:
        console.print(describe_best(results), soft_wrap=True)
    for line in (results.verdict.sentence, f"written to {folder}: {', '.join((REPORT, *FILES))}, checkpoints/"):
        console.print(line, soft_wrap=True)


def _walk(bars: pd.DataFrame, folder: Path, settings: Settings, ledger: Ledger, *, fresh: bool, jobs: int,
          best: pd.Series | None) -> Results:
    """Do all the work in a folder that is held."""
    folds = lay_folds(bars, settings.plan, settings.config)
    _introduce(bars, folds, settings)
    state = RunState(folder)
    if fresh:
        state.forget()
    key = key_of(bars, settings)
    trials = Trials(tuple(state.frozen(key, ledger.others(key))))
    models = _train(bars, folds, settings, state, jobs)
    state.sweep(models)
    console.print("trading, and training the rivals")
    results = evaluate(bars, models, state.checkpoints, settings, trials=trials, jobs=jobs, best=best)
    write_results(folder, results)
    write_report(folder, results)
    ratio = results.evidence.sharpe.per_bar if results.evidence.sharpe else 0.0
    ledger.enter(key, ratio, {"seed": settings.config.seed, **summary(results)["settings"]})
    return results


def _jobs(jobs: int | None) -> int:
    if jobs is not None and jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}.")
    return jobs or int(cpu_count())


def _introduce(bars: pd.DataFrame, folds: Sequence[Fold], settings: Settings) -> None:
    """Say on what the run rests before it takes its time."""
    first, length = folds[0], folds[0].stop - folds[0].test
    for line in (
        describe_bars(bars),
        f"labels: {tied_share(bars, settings.config.label, settings.config.horizon):.2%} of the moves are 0 and count as not up",
        f"{len(folds)} fold{'s' if len(folds) > 1 else ''}: each learns from {first.test - first.train} decisions and is judged "
        f"on the next {length}, from {bars.index[first.test]} on",
        f"costs: {settings.costs}",
    ):
        console.print(line, soft_wrap=True)


def _train(bars: pd.DataFrame, folds: Sequence[Fold], settings: Settings, state: RunState, jobs: int) -> list[FoldModel]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", settings.config.patience)
        with FoldProgress(journal, len(folds), console) as progress:
            search = settings.plan.search(settings.account, settings.costs)
            return train_all(bars, folds, settings.config, search, state, jobs=jobs, on_epoch=journal,
                             on_fold=lambda model, found: progress.finish(model.fold.number, describe_model(model, found)))


def describe_best(results: Results) -> str:
    """Return one line on the best forecast that this market allows, beside ours."""
    best, ours = results.best or {}, results.folds.iloc[-1]
    return (f"the best forecast there is: AUC {best['auc']:.3f}, accuracy {best['accuracy']:.3f}, log loss {best['log_loss']:.3f}; "
            f"ours: {ours['auc']:.3f}, {ours['accuracy']:.3f}, {ours['log_loss']:.3f}, {results.share_found:.0%} of the edge")


def describe_model(model: FoldModel, found: bool = False) -> str:
    """Return one line on what a fold's training gave, now or, if found, in an earlier run."""
    if model.checkpoint is None:
        return f"fold {model.fold.number}: no model, {model.reason}"
    members = model.checkpoint.members
    named = (f"{member.name}: {member.course}" if len(members) > 1 else member.course for member in members)
    return (f"fold {model.fold.number}{', found finished' if found else ''}: trained until {model.checkpoint.trained_until}, "
            f"{'; '.join(named)}; {model.choice}")


if __name__ == "__main__":
    run(app)
