"""The command that searches for settings and walks forward once with what it found.

python backtests/search.py --data bars.csv --trials 50 [--space space.toml] [--nested]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from joblib import cpu_count
from rich.console import Console

import backtests
from backtests import evidence, walk_forward
from backtests.run import bars_of, walk_over
from backtests.simulation.account import Account, Costs
from backtests.synthetic.options import MarketOptions
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.space import (
    GEOMETRY,
    SearchPlan,
    Space,
    Value,
    read_space,
    with_settings,
)
from model.bars.faults import count
from model.bars.intervals import day
from model.cli import (
    ACCOUNT_AND_COSTS,
    DATA,
    FOLDS,
    RUNNING,
    TRAINING,
    VERSION,
    BarsOptions,
    require_pooled,
    run,
)
from model.context import NO_CONTEXT, ContextOptions
from model.files import write_atomically
from model.settings import optional, require, whole
from model.settings_file import settings_for
from model.training.config import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from backtests.evidence.searched import Searched
    from backtests.walk import Request
    from backtests.walk_forward.searching import Candidate

SEARCH_SETTINGS = "search.toml"  # of the search, beside those of the walk
SPACE = "space.toml"  # the space that was searched, beside them
STORAGE = Path(".state/search.log")
OF_SEARCH = ("trials", "batch", "space", "nested")  # flags that a walk does not have
ALL_BUT_OWN = re.compile("^(?!(train|validation|commission|slippage)$)")
ALL_BUT_INSTRUMENTS = re.compile("^(?!instruments$)")

app = App(version=VERSION, name="backtests/search.py")
console = Console(highlight=False, soft_wrap=True)


@app.default
def search(
    *,
    bars_options: Annotated[BarsOptions, Parameter(group=DATA, name="*")] = BarsOptions(),
    market_options: Annotated[
        MarketOptions, Parameter(group=DATA, name="*", parse=ALL_BUT_INSTRUMENTS)
    ] = MarketOptions(),
    context_options: Annotated[ContextOptions, Parameter(group=DATA, name="*")] = NO_CONTEXT,
    search_plan: Annotated[SearchPlan, Parameter(group=RUNNING, name="*")] = SearchPlan(),
    space: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    out: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    plan: Annotated[FoldPlan, Parameter(group=FOLDS, name="*")] = FoldPlan(),
    jobs: Annotated[int | None, Parameter(group=RUNNING)] = None,
    account: Annotated[Account, Parameter(group=ACCOUNT_AND_COSTS, name="*")] = Account(),
    costs: Annotated[Costs, Parameter(group=ACCOUNT_AND_COSTS, name="*")] = Costs(),
    training: Annotated[
        TrainConfig, Parameter(group=TRAINING, name="*", parse=ALL_BUT_OWN)
    ] = TrainConfig(),
    dask: Annotated[str | None, Parameter(group=RUNNING)] = None,
    ledger: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    fresh: Annotated[bool, Parameter(group=RUNNING)] = False,
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> None:
    """Search for settings on the bars before the first test block, and walk forward with the best.

    The best has the lowest log loss on the validation part there; the settings without a search
    stay where that is no better than luck. The walk-forward is that of backtests/run.py and counts
    as one trial.

    Parameters
    ----------
    space
        A TOML file with a table for each setting to search: [learning_rate] with low, high and
        log = true, or choices = [32, 64]. Default: learning rate, weight decay, label softness and
        batch size.
    out
        The folder of the results; default: runs/ and the instrument's name with -search.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    dask
        The address of a Dask scheduler, like tcp://host:8786, on whose workers everything is
        trained with the same result.
    ledger
        The file that knows what was tried; default: one per instrument and interval in your user
        data folder.
    fresh
        Start over rather than go on with what an interrupted search found in the folder.
    """
    require({"jobs": jobs}, {"jobs": optional(whole(1))})
    require_pooled(False, training.outcome)
    market_options.require_alone(bool(bars_options.data), training.label, training.horizon)
    settings = Settings(plan, plan.training(training, costs), account, costs)
    found = read_space(space, settings.config)
    folder = out or Path(f"runs/{market_options.name or bars_options.file_name}-search")
    n_jobs = jobs or int(cpu_count())
    with walk_forward.lock_folder(folder):
        bars, best, joined = bars_of(
            bars_options, market_options, context_options, settings.config.lookback
        )
        if fresh:
            (folder / STORAGE).unlink(missing_ok=True)
        # First, so that a search that is stopped is made again with it.
        settings_file = write_settings(folder, settings_file, space)
        with walk_forward.workers.workers(dask):
            searched = find_settings(bars, settings, found, search_plan, folder / STORAGE, n_jobs)
        names = [settings.config.architecture]
        request = backtests.walk.Request(
            settings, names, n_jobs, dask, ledger, fresh, settings_file=settings_file
        )
        walk_over(bars, folder, with_found(request, searched), best=best, joined=joined)


def write_settings(folder: Path, settings_file: str, space: Path | None) -> str:
    """Write the settings of the search into its folder, with its space, and return them."""
    kept = folder / SPACE
    if space is None:
        kept.unlink(missing_ok=True)  # one of a search before
    else:
        # A copy: the search is made again wherever the file went.
        write_atomically(kept, space.read_bytes())
        of_copy = {"space": str(kept.absolute())}
        settings_file = settings_for("backtests/search.py", settings_file, (), of_copy)
    write_atomically(folder / SEARCH_SETTINGS, settings_file.encode())
    return settings_file


def with_found(request: Request, searched: Searched) -> Request:
    """Return the request for a walk with the settings that a search found, of `find_settings`."""
    # A nested one has those of each fold in its record.
    chosen = {} if searched.nested else searched.pasts[0].settings
    config = with_settings(request.settings.config, chosen)
    # Those of the walk, which has no search before it but its record.
    text = settings_for("backtests/run.py", request.settings_file, OF_SEARCH, chosen)
    return replace(
        request,
        settings=replace(request.settings, config=config),
        architectures=[config.architecture],
        settings_file=text,
        searched=searched,
    )


def find_settings(
    bars: pd.DataFrame,
    settings: Settings,
    space: Space,
    plan: SearchPlan,
    storage: Path,
    jobs: int,
) -> Searched:
    """Return what a search found, of a nested one for each fold.

    bars: all of them; none from the first test block on is looked at, and of a nested search none
    from a fold's own test block on.
    """
    pasts = pasts_of(bars, settings, space, nested=plan.nested)
    found = []
    trials = plan.trials if space.size is None else min(plan.trials, space.size)
    all_there = " (all that the space holds)" if trials == space.size else ""
    for number, past in enumerate(pasts, 1):
        where = f"fold {number}, " if plan.nested else ""
        console.print(
            f"{where}searching {count(trials, 'trial')}{all_there} of {', '.join(space.ranges)} on "
            f"{count(len(past), 'bar')} up to {day(past.index[-1])}"
        )
        candidates: list[Candidate] = []
        for candidate in walk_forward.search(past, settings, space, plan, storage, jobs):
            candidates.append(candidate)
            console.print(describe(candidates, trials), markup=False)
        record = evidence.searched_past(past, candidates, settings.config)
        found.append(record)
        chosen = f"{where}chosen: {in_words(record.settings)}; {record.choice.sentence}"
        console.print(chosen, markup=False)
    return evidence.Searched(walk_digest="", nested=plan.nested, pasts=found)


def pasts_of(
    bars: pd.DataFrame, settings: Settings, space: Space, *, nested: bool
) -> list[pd.DataFrame]:
    """Return the bars that a search may see: before the first test block, or before each fold's.

    A longer window or another feature moves the folds: of all that the space allows the earliest
    test block counts, and BarsError tells where the bars suffice not for all of it.
    """
    if nested and (moved := [name for name in GEOMETRY if name in space.ranges]):
        raise ValueError(
            f"`nested` must go without a search for {', '.join(moved)}, by which the folds would "
            "lie elsewhere in each. Take them out of the space, or leave `nested` out."
        )
    laid = [
        walk_forward.lay_folds(bars, settings.plan, config)
        for config in space.corners(settings.config)
    ]
    folds = min(laid, key=lambda folds: folds[0].test)
    return [fold.past(bars) for fold in (folds if nested else folds[:1])]


def describe(candidates: Sequence[Candidate], trials: int) -> str:
    """Return one line on the newest candidate, beside the best so far."""
    one = candidates[-1]
    losses = {number: each.loss for number, each in enumerate(candidates, 1) if each.loss}
    result = {
        "finished": f"validation loss {one.loss or 0:.4f}",
        "given up": f"given up after epoch {len(one.losses)}",
        "failed": f"failed: {one.failure}",
    }[one.state]
    best = min(losses, key=lambda number: losses[number]) if losses else None
    beside = f", best {losses[best]:.4f} of trial {best}" if best else ""
    number = f"trial {len(candidates)} of {trials}{', found' if one.stored else ''}"
    return f"{number}: {result}{beside}; {in_words(one.settings)}"


def in_words(settings: Mapping[str, Value]) -> str:
    """Return settings as a line has them."""
    return ", ".join(
        f"{name.replace('_', ' ')} {format(value, '.4g') if isinstance(value, float) else value}"
        for name, value in settings.items()
    )


if __name__ == "__main__":
    run(app)
