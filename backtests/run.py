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

from backtests.progress import FoldProgress, Journal
from backtests.results import FILES, Settings, evaluate, write_results
from backtests.simulation import Account, Costs
from backtests.tables import tables
from backtests.walk_forward import Fold, FoldModel, FoldPlan, lay_folds, train_folds, write_checkpoints
from model.command import BarsOptions, describe_bars, run
from model.files import require_writable
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


@app.default
def walk(
    *,
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    out: Path | None = None,
    plan: Annotated[FoldPlan, Parameter(name="*")] = FoldPlan(),
    jobs: int | None = None,
    account: Annotated[Account, Parameter(name="*")] = Account(),
    costs: Annotated[Costs, Parameter(name="*")] = Costs(),
    training: Annotated[FoldTraining, Parameter(name="*")] = FoldTraining(),
) -> None:
    """Walk forward over bars: train a model per fold, trade all folds in one run, and judge.

    Parameters
    ----------
    out
        The folder of the results; default: runs/ and the instrument's name.
    jobs
        Processes that train at the same time; default: one per core. The result does not depend on it.
    """
    folder = out or Path("runs") / bars_options.instrument_name
    require_writable(folder / "summary.json")
    require_writable(folder / "checkpoints" / "fold")
    bars = bars_options.read()
    settings = Settings(plan, plan.training(TrainConfig(**asdict(training))), account, costs)
    folds = lay_folds(bars, plan, settings.config)
    _introduce(bars, folds, settings)
    models = _train(bars, folds, settings, _jobs(jobs))
    write_checkpoints(folder / "checkpoints", models)
    console.print("trading, and training the rivals")
    results = evaluate(bars, models, folder / "checkpoints", settings, jobs=_jobs(jobs))
    write_results(folder, results)
    console.print(tables(results))
    for line in (results.verdict.sentence, f"written to {folder}: {', '.join(FILES)}, checkpoints/"):
        console.print(line, soft_wrap=True)


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
        f"{len(folds)} folds: each learns from {first.test - first.train} decisions and is judged on the next {length}, "
        f"from {bars.index[first.test]} on",
        f"costs: {settings.costs}",
    ):
        console.print(line, soft_wrap=True)


def _train(bars: pd.DataFrame, folds: Sequence[Fold], settings: Settings, jobs: int) -> list[FoldModel]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", settings.config.patience)
        models = []
        with FoldProgress(journal, len(folds), console) as progress:
            search = settings.plan.search(settings.account, settings.costs)
            for model in train_folds(bars, folds, settings.config, search, jobs=jobs, on_epoch=journal):
                progress.finish(model.fold.number, describe_model(model))
                models.append(model)
    return sorted(models, key=lambda model: model.fold.number)


def describe_model(model: FoldModel) -> str:
    """Return one line on what a fold's training gave."""
    if model.checkpoint is None:
        return f"fold {model.fold.number}: no model, {model.reason}"
    history = model.checkpoint.history
    best = min(history, key=lambda epoch: epoch["validation_loss"])
    return (f"fold {model.fold.number}: trained until {model.checkpoint.trained_until}, best epoch {best['epoch']} "
            f"of {len(history)}, validation loss {best['validation_loss']:.4f}; {model.choice}")


if __name__ == "__main__":
    run(app)
