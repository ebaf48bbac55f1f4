"""The command that walks forward: python backtests/run.py [--data FILE ... | FOLDER] ..."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from joblib import cpu_count
from rich.console import Console

import backtests
from backtests import evidence, reports, walk_forward
from backtests.simulation.account import Account, BookSettings, Costs
from backtests.synthetic.options import MarketOptions
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.progress import EpochLog, FoldProgress
from backtests.walk_options import require_one_walk, require_pooled_settings, require_possible
from model import training as learning
from model.bars.faults import count
from model.bars.intervals import day
from model.bars.read import require_usual_spacing
from model.bars.universe import Universe, faults_together, require_universe, universe_of
from model.cli import (
    ACCOUNT_AND_COSTS,
    ALL_BUT_DATA,
    BOOK,
    DATA,
    FOLDS,
    RUNNING,
    TRAINING,
    VERSION,
    BarsOptions,
    LeftOut,
    OnFaulty,
    bar_files,
    describe_bars,
    describe_universe,
    is_universe,
    pooled_files,
    read_universe,
    run,
)
from model.context import NO_CONTEXT, ContextOptions
from model.files import write_atomically
from model.networks.registry import architectures_of
from model.precision import precision_hint
from model.settings import optional, require, whole
from model.settings_file import SETTINGS, settings_for
from model.training.config import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from backtests.reports.pooled import PooledResults
    from backtests.reports.universe import UniverseResults
    from backtests.walk import Request, Walk
    from backtests.walk_forward.folds import Outcome
    from backtests.walk_forward.trainer import Configuration, Lost, Origin
    from backtests.walk_pooled import PooledWalk

app = App(version=VERSION, name="backtests/run.py")
console = Console(highlight=False)

# The fold plan's validation_share decides both shares, the costs are those of the account, and here
# several architectures may be given.
ALL_BUT_OWN = re.compile("^(?!(train|validation|commission|slippage|architecture)$)")
FILES = Parameter(group=DATA, consume_multiple=True, negative=())
BARS, MARKET = BarsOptions(), MarketOptions()

# Where results go by default: one instrument's under its own name.
RUNS = Path("runs")
POOLED, UNIVERSE = RUNS / "pooled", RUNS / "universe"


@app.default
def walk(
    *,
    data: Annotated[list[Path] | None, FILES] = None,
    bars_options: Annotated[
        BarsOptions, Parameter(group=DATA, name="*", parse=ALL_BUT_DATA)
    ] = BARS,
    pooled: Annotated[bool, Parameter(group=DATA)] = False,
    on_faulty: Annotated[OnFaulty, Parameter(group=DATA)] = "error",
    market_options: Annotated[MarketOptions, Parameter(group=DATA, name="*")] = MARKET,
    context_options: Annotated[ContextOptions, Parameter(group=DATA, name="*")] = NO_CONTEXT,
    out: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    plan: Annotated[FoldPlan, Parameter(group=FOLDS, name="*")] = FoldPlan(),
    jobs: Annotated[int | None, Parameter(group=RUNNING)] = None,
    account: Annotated[Account, Parameter(group=ACCOUNT_AND_COSTS, name="*")] = Account(),
    costs: Annotated[Costs, Parameter(group=ACCOUNT_AND_COSTS, name="*")] = Costs(),
    book: Annotated[BookSettings | None, Parameter(group=BOOK, name="*")] = None,
    training: Annotated[
        TrainConfig, Parameter(group=TRAINING, name="*", parse=ALL_BUT_OWN)
    ] = TrainConfig(),
    architecture: Annotated[str, Parameter(group=TRAINING)] = TrainConfig.architecture,
    dask: Annotated[str | None, Parameter(group=RUNNING)] = None,
    ledger: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    fresh: Annotated[bool, Parameter(group=RUNNING)] = False,
    register: Annotated[bool, Parameter(group=RUNNING, negative=())] = False,
    searched: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> None:
    """Walk forward over bars: train a model per fold, trade all folds in one run, and judge.

    Parameters
    ----------
    data
        A CSV or Parquet file of bars; default: the NASDAQ Composite, daily, 1999 to 2018. Several
        files, or a folder of them, are walked over as a universe: each instrument in a folder
        of its own, and one verdict over all.
    pooled
        Train one network per fold on all files together, rather than one for each file. Take it
        where the instruments are of one kind, as stocks of a market: each then learns from all, in
        the time of one. Leave it out where each has laws of its own. With --outcome relative, or
        where a flag of the book is given, it ranks them and trades the ranks in one account.
    on_faulty
        Files of a universe that cannot be used: "error" refuses the universe and names them all,
        "drop" leaves them out and names them in output, universe.json and report.
    out
        The folder of the results; default: runs/ and the instrument's name, of several universe or
        pooled.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    architecture
        Which network: "bilstm", "transformer", "ensemble" for one of each, or one that is
        registered. Several, separated by commas, are compared on the same folds; the files and the
        verdict are those of the first, each other one has a folder.
    dask
        The address of a Dask scheduler, like tcp://host:8786, on whose workers the folds are
        trained with the same result. Epochs are then not shown, and jobs should be the number of
        workers.
    ledger
        The file that knows what was tried, for the deflated Sharpe ratio and the probability of
        overfitting; default: one per instrument and interval in your user data folder, pooled one
        per interval.
    fresh
        Start over rather than reuse the folds that an interrupted run finished in the folder.
    register
        Write down bars, settings, code and ledger in the folder before any test bar is touched; the
        report says so. The folder must be a new one.
    searched
        The record of the search that chose the settings, search.json of backtests/search.py, which
        report and ledger then name; of a nested one it has those of each fold.
    """
    paths = data or []
    require_possible(paths, market_options, training, pooled, book)
    if pooled and training.outcome == "relative":
        book = book or BookSettings()
    # The first one's settings stand for all: they differ in the architecture alone.
    names = architectures_of(architecture)
    config = plan.training(replace(training, architecture=names[0]), costs)
    settings = Settings(plan, config, account, costs, book)
    require({"jobs": jobs}, {"jobs": optional(whole(1))})
    require_one_walk(searched, pooled or is_universe(paths), names)
    search = evidence.read_searched(searched) if searched else None
    beside = dask, ledger, fresh, register, settings_file, search
    request = backtests.walk.Request(settings, names, jobs or int(cpu_count()), *beside)
    if pooled:
        require_pooled_settings(request)
        _walk_pooled(
            paths, bars_options, market_options, context_options, on_faulty, out or POOLED, request
        )
    elif is_universe(paths):
        _walk_universe(paths, bars_options, context_options, on_faulty, out or UNIVERSE, request)
    else:
        options = replace(bars_options, data=paths[0] if paths else None)
        folder = out or RUNS / (market_options.name or options.file_name)
        _walk_one(options, market_options, context_options, folder, request)


def _walk_one(
    options: BarsOptions,
    market_options: MarketOptions,
    context: ContextOptions,
    folder: Path,
    request: Request,
) -> None:
    """Walk over one instrument, or a synthetic market, and print what was found."""
    # Held from the reading of the bars to the last file: two runs would mix their folds.
    with walk_forward.lock_folder(folder):
        bars, best, joined = bars_of(
            options, market_options, context, request.settings.config.lookback
        )
        walk_over(bars, folder, request, best=best, joined=joined)


def bars_of(
    options: BarsOptions, market_options: MarketOptions, context: ContextOptions, lookback: int
) -> tuple[pd.DataFrame, pd.Series | None, Sequence[str]]:
    """Return the bars of a file or a market, the best possible forecast, and what was joined.

    That forecast is known of a market alone; of each other series that was joined there is a line.
    lookback: of the features.
    """
    planted = market_options.sample() if market_options.market else None
    if planted:
        options.require_file()
    joined = context.join(
        planted.bars if planted else options.read(),
        options,
        lookback,
        series=planted.context if planted else None,
    )
    [bars] = universe_of(joined.bars).values()
    return bars, planted.probability.reindex(bars.index) if planted else None, joined.lines


def walk_over(
    bars: pd.DataFrame,
    folder: Path,
    request: Request,
    *,
    best: pd.Series | None = None,
    joined: Sequence[str] = (),
) -> None:
    """Walk over bars in a folder that is held, and print what was found.

    best, joined: of `bars_of`.
    """
    walk = backtests.walk.begin(bars, folder, request, best=best)
    if walk.searched:
        # Its own record, whichever one the command named: that may be replaced.
        own = {"searched": str((folder / evidence.SEARCH).absolute())}
        text = settings_for("backtests/run.py", request.settings_file, (), own)
        request = replace(request, settings_file=text)
    _introduce([walk], joined)
    with walk_forward.workers.workers(request.dask):
        lost = _train(folder, walk.configurations.values(), walk.n_models, request)
        # With a fold missing the figures would be of other decisions than were asked for.
        models = backtests.walk.trained_models(walk.configurations)
        if models is None:
            raise walk_forward.FoldsFailed.of(lost, walk.n_models)
        console.print("trading, and training the benchmarks")
        compared, entered = backtests.walk.finish(walk, models, request.jobs)
    results = compared[request.architectures[0]]
    console.print(reports.tables(results))
    if len(compared) > 1:
        console.print(reports.architecture_table(reports.comparison_table(compared)))
    if results.share_found is not None:
        console.print(reports.describe_best(results), soft_wrap=True)
    more = (reports.COMPARISON,) if len(compared) > 1 else ()
    for line in (
        results.verdict.sentence,
        results.overfitting.sentence,
        f"the run was {results.registered}",
        f"its settings were {results.chosen}" if results.chosen else "",
        reports.describe_entered({walk.ledger.path: entered}),
        f"written to {folder}: {', '.join((reports.REPORT, *reports.FILES, *more))}, checkpoints/",
    ):
        if line:  # mostly there was no search
            console.print(line, soft_wrap=True)


def _walk_universe(
    paths: Sequence[Path],
    options: BarsOptions,
    context: ContextOptions,
    on_faulty: OnFaulty,
    folder: Path,
    request: Request,
) -> None:
    """Walk over all instruments, whichever fail, and print what was found on them together."""
    settings = request.settings
    with ExitStack() as holding:
        holding.enter_context(walk_forward.lock_folder(folder))
        universe, left_out = read_universe(
            options,
            bar_files(paths),
            lambda bars: walk_forward.lay_folds(bars, settings.plan, settings.config),
            on_faulty,
        )
        for one in left_out:
            console.print(f"left out {one.file}: {one.reason}", soft_wrap=True, markup=False)
        joined = context.join(universe, options, settings.config.lookback)
        universe = universe_of(joined.bars)
        # Each folder is also that of a run over its instrument alone.
        for name in universe:
            holding.enter_context(walk_forward.lock_folder(folder / name))
        walks = [
            backtests.walk.begin(bars, folder / name, request, instrument=name)
            for name, bars in universe.items()
        ]
        configurations = [one for walk in walks for one in walk.configurations.values()]
        _introduce(walks, joined.lines)
        if cost := backtests.cost.describe_cost(configurations, request.jobs):
            console.print(cost, soft_wrap=True)
        with walk_forward.workers.workers(request.dask):
            n_models = sum(walk.n_models for walk in walks)
            lost = _train(folder, configurations, n_models, request)
            console.print("trading, and training the benchmarks")
            found, entered = {}, Counter[Path]()
            for walk in walks:
                if models := backtests.walk.trained_models(walk.configurations):
                    results, new = backtests.walk.finish(walk, models, request.jobs)
                    found[walk.instrument] = results[request.architectures[0]]
                    entered[walk.ledger.path] += new
        if found:
            _conclude(folder, reports.gather_universe(found, lost, settings, left_out))
            console.print(reports.describe_entered(entered), soft_wrap=True)
    # Last, so that what can be judged is written; the exit code says that something is missing.
    if lost:
        raise walk_forward.FoldsFailed.of(lost, sum(walk.n_models for walk in walks))


def _walk_pooled(
    paths: Sequence[Path],
    options: BarsOptions,
    market_options: MarketOptions,
    context: ContextOptions,
    on_faulty: OnFaulty,
    folder: Path,
    request: Request,
) -> None:
    """Walk over all instruments with one network per fold, and print what was found."""
    fewest, lookback = request.settings.config.fewest_instruments, request.settings.config.lookback
    # Held from the reading of the bars to the last file: two runs would mix their folds.
    with walk_forward.lock_folder(folder):
        universe, left_out, best = _pooled_bars(paths, options, market_options, on_faulty, fewest)
        joined = context.join(universe, options, lookback)
        universe = universe_of(joined.bars)
        if best:
            # Joining leaves out the bars before all series are known.
            best = {name: best[name].reindex(own.index) for name, own in universe.items()}
        walk = backtests.walk_pooled.begin_pooled(
            universe, folder, request, left_out=left_out, best=best
        )
        _introduce_pooled(walk, request, joined.lines)
        with walk_forward.workers.workers(request.dask):
            lost = _train(folder, walk.configurations.values(), walk.n_models, request)
            models = backtests.walk.trained_models(walk.configurations)
            if models is None:
                raise walk_forward.FoldsFailed.of(lost, walk.n_models)
            trading = ", trading the book" if request.settings.book else ""
            console.print(f"forecasting{trading}, and training the cheap learners")
            results, entered = backtests.walk_pooled.finish_pooled(walk, models, request.jobs)
    _conclude_pooled(results, folder, {walk.ledger.path: entered})


def _pooled_bars(
    paths: Sequence[Path],
    options: BarsOptions,
    market_options: MarketOptions,
    on_faulty: OnFaulty,
    fewest: int,
) -> tuple[Universe, Sequence[LeftOut], dict[str, pd.Series] | None]:
    """Return the bars of a universe, the files left out, and the best possible forecasts.

    Those are known of a synthetic market alone. fewest: instruments that are learnt together.
    """
    if market_options.market:
        options.require_file()
        planted, best = market_options.sample_universe()
        require_universe(planted, fewest)
        return planted, (), best
    universe, left_out = read_universe(
        options,
        pooled_files(paths),
        require_usual_spacing,
        on_faulty,
        together=partial(faults_together, fewest=fewest),
    )
    return universe, left_out, None


def _conclude_pooled(results: PooledResults, folder: Path, entered: Mapping[Path, int]) -> None:
    """Print what was found of a universe. entered: new trials by their ledger."""
    console.print(reports.pooled_tables(results))
    if results.share_found is not None:
        console.print(f"of the best forecast there is {results.share_found:.0%} of the edge found")
    for line in (
        reports.describe_choices(results.choices),
        reports.describe_refused(results.account.simulation.refused) if results.account else "",
        reports.describe_halves(results.by_date.halves),
        reports.describe_together(results.by_date.together),
        f"at no cost: {results.verdict_at_no_cost.sentence}",
        f"net of costs: {results.verdict.sentence}",
        results.overfitting.sentence,
        f"the run was {results.registered}",
        reports.describe_entered(entered),
        f"written to {folder}: {', '.join((reports.REPORT, *results.files))}, checkpoints/",
    ):
        if line:
            console.print(line, soft_wrap=True)


def _introduce_pooled(walk: PooledWalk, request: Request, joined: Sequence[str]) -> None:
    """Say on what the run rests, and what it will take, before it takes its time.

    joined: a line on each other series.
    """
    dated, config = walk.dated, request.settings.config
    first = dated.folds[0]
    for one in walk.left_out:
        console.print(f"left out {one.file}: {one.reason}", soft_wrap=True, markup=False)
    for line in (
        describe_universe(dated.universe),
        *joined,
        f"{count(len(dated.folds), 'fold')} by date: each learns from "
        f"{count(first.test - first.train, 'date')} and is judged on the next "
        f"{first.stop - first.test}, from {day(dated.dates[first.test])} on, where "
        f"{count(config.fewest_instruments, 'instrument')} or more can be forecast",
        dated.describe_unjudged(),
        learning.describe_features(config),
        f"labels: {learning.describe_labels(dated.universe, config)}",
        walk.replaced,
        f"costs: {request.settings.costs}",
        precision_hint(config.precision),
        backtests.cost.describe_cost(walk.configurations.values(), request.jobs),
    ):
        if line:
            console.print(line, soft_wrap=True)


def _conclude(folder: Path, universe: UniverseResults) -> None:
    """Write what concerns all instruments together, and print it."""
    reports.write_universe(folder, universe)
    reports.write_universe_report(folder, universe)
    console.print(reports.universe_table(universe))
    names = ", ".join((reports.REPORT, *reports.UNIVERSE_FILES))
    for line in (
        universe.verdict.sentence,
        f"written to {folder}: {names}, and a folder for each instrument",
    ):
        console.print(line, soft_wrap=True)


def _introduce(walks: Sequence[Walk], joined: Sequence[str] = ()) -> None:
    """Say on what the run rests before it takes its time. joined: a line on each other series."""
    settings = walks[0].settings
    config = settings.config
    for walk in walks:
        first = walk.folds[0]
        for line in (
            describe_bars(walk.bars),
            learning.describe_features(config),
            f"labels: {learning.describe_labels(universe_of(walk.bars), config)}",
            f"{count(len(walk.folds), 'fold')}: each learns from "
            f"{count(first.test - first.train, 'decision')} and is judged on the next "
            f"{first.stop - first.test}, from {day(walk.bars.index[first.test])} on",
            walk.replaced,
        ):
            if line:  # mostly nothing is replaced
                console.print(line, soft_wrap=True)
    for line in (*joined, f"costs: {settings.costs}"):
        console.print(line, soft_wrap=True)
    if hint := precision_hint(config.precision):
        console.print(hint, soft_wrap=True)


def _train(
    results: Path, configurations: Collection[Configuration], n_models: int, request: Request
) -> list[Lost]:
    """Train all folds, n_models in all, with bars of progress; return those that were lost.

    The settings are written into the folder of results first: with them a run that is stopped, or
    lost, is made again.
    """
    write_atomically(results / SETTINGS, request.settings_file.encode())
    settings = next(iter(configurations)).settings
    # The lines on epochs are of no use after the run: they lie outside its folder.
    with tempfile.TemporaryDirectory() as folder:
        epochs = EpochLog(Path(folder) / "epochs", settings.config.patience)
        with FoldProgress(epochs, n_models, console) as progress:

            def done(label: str, outcome: Outcome, origin: Origin) -> None:
                ranked = settings.book is not None
                said = reports.describe_outcome(label, outcome, origin, ranked=ranked)
                progress.finish(label, said, origin != "trained")

            return walk_forward.train_all(
                list(configurations),
                jobs=request.jobs,
                on_epoch=epochs,
                on_more=progress.more,
                on_done=done,
            )


if __name__ == "__main__":
    run(app)
