"""The walk-forward over one instrument, from its bars to its files.

`begin` lays the folds and opens the folders, the trainer trains what all walks of a run need, and
`finish` trades, judges and writes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from joblib import cpu_count

from backtests.evidence.bootstrap import Array
from backtests.evidence.evidence import sharpe_per_bar
from backtests.evidence.searched import SEARCH, Searched, remembered
from backtests.reports.html import write_report
from backtests.reports.results import (
    COMPARISON,
    Results,
    TrainedConfiguration,
    describe_data,
    describe_settings,
    evaluate_all,
    write_comparison,
    write_results,
)
from backtests.simulation.account import Account, BookSettings, Costs
from backtests.walk_forward.fingerprint import CODE, all_versions, asked_of, key_of
from backtests.walk_forward.folds import (
    Fold,
    FoldModel,
    FoldPlan,
    Outcome,
    Settings,
    lay_folds,
)
from backtests.walk_forward.ledger import (
    NET_RETURN,
    POSITION,
    Ledger,
    Trial,
    ledger_path,
    returns_of,
    subject_of,
)
from backtests.walk_forward.registration import Registration, register, registered
from backtests.walk_forward.space import with_settings
from backtests.walk_forward.store import SUMMARY, MemberStore, RunState, lock_folder
from backtests.walk_forward.trainer import Configuration, FoldsFailed, Origin, train_all
from model.bars.faults import count
from model.bars.intervals import yearly_bars
from model.bars.read import check_bars
from model.bars.universe import Bars
from model.errors import BarsError
from model.notebook import progress_bar
from model.provenance import code_digest
from model.settings import optional, require, whole
from model.training.config import TrainConfig


@dataclass(frozen=True)
class Request:
    """What a user asks for, beside the bars.

    architectures: each is tried on the same folds, the first one leads. jobs: processes. dask: a
    scheduler's address. ledger: its file; None for the default. fresh: forget what an earlier run
    finished. register: write down what is to be judged before any test bar is touched.
    settings_file: the text of the file that the command takes to make the run again. searched: the
    search that chose the settings.
    """

    settings: Settings
    architectures: Sequence[str]
    jobs: int
    dask: str | None
    ledger: Path | None
    fresh: bool
    register: bool = False
    settings_file: str = ""
    searched: Searched | None = None

    @property
    def configs(self) -> tuple[TrainConfig, ...]:
        """How each fold is trained, where a search chose for each by itself."""
        if self.searched is None or not self.searched.nested:
            return ()
        config = self.settings.config
        return tuple(with_settings(config, past.settings) for past in self.searched.pasts)


@dataclass(frozen=True, eq=False)
class Walk:
    """All that is known of a walk before it is trained.

    configurations: by architecture; the files of the first one lead. best: the best possible
    probability at each bar, on a synthetic market. instrument: its name in a universe, "" where
    there is but one. replaced: a line on the results of other settings that lie in the folder, ""
    where there are none. registration: of this run, None where it was not registered. searched: the
    search that chose its settings, None where they were given.
    """

    bars: pd.DataFrame
    folder: Path
    folds: Sequence[Fold]
    configurations: Mapping[str, Configuration]
    ledger: Ledger
    best: pd.Series | None = None
    instrument: str = ""
    replaced: str = ""
    registration: Registration | None = None
    searched: Searched | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the configuration that leads."""
        return next(iter(self.configurations.values())).settings

    @property
    def n_models(self) -> int:
        return len(self.folds) * len(self.configurations)


def walk_bars(
    bars: pd.DataFrame,
    training: TrainConfig = TrainConfig(),
    *,
    plan: FoldPlan = FoldPlan(),
    account: Account = Account(),
    costs: Costs = Costs(),
    folder: str | Path | None = None,
    jobs: int | None = None,
    ledger: str | Path | None = None,
) -> Results:
    """Walk forward over bars, as backtests/run.py does, and return what was found.

    Parameters
    ----------
    bars
        As `read_bars` gives them.
    training
        How to train; the plan's `validation_share` decides the shares of the parts.
    plan
        How the bars are cut into folds.
    account, costs
        What is traded, and what a trade costs.
    folder
        Where the files of a run are kept, so that a walk that is stopped goes on; by default
        nothing stays.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    ledger
        The file that counts what was tried; default: that of the instrument and interval in your
        user data folder, as of the command.

    Returns
    -------
    Results
        With tables `folds`, `predictions`, `trades`, `equity`, `months` and `years`, the
        `evidence`, the `verdict` and `plot()`.

    Raises
    ------
    BarsError
        For unsound or too few bars.
    FoldsFailed
        Where a fold could not be trained; the others are kept in the folder.

    Examples
    --------
    >>> plan = FoldPlan(folds=1, train_blocks=2)
    >>> results = walk_bars(bars, TrainConfig(max_epochs=1), plan=plan, jobs=1, ledger="trials")
    >>> results.folds["fold"].tolist(), results.verdict.word
    (['1', 'total'], 'cannot tell')
    """
    request = request_of(training, plan, account, costs, jobs, ledger)
    # Before any folder is made: what can be refused costs nothing.
    require_bars(bars)
    with kept_in(folder) as place:
        walk = begin(bars, place, request)
        models = train_walk(walk.configurations, walk.n_models, request.jobs)
        results, _ = finish(walk, models, request.jobs)
    return results[training.architecture]


def require_bars(bars: object) -> None:
    """Refuse what are no sound bars of one instrument. Raises BarsError."""
    if not isinstance(bars, pd.DataFrame):
        raise BarsError(
            f"`bars` must be a DataFrame of one instrument, got {type(bars).__name__}. Give what "
            "read_bars returns; several instruments by name to walk_universe."
        )
    check_bars(bars)


def request_of(
    training: TrainConfig,
    plan: FoldPlan,
    account: Account,
    costs: Costs,
    jobs: int | None,
    ledger: str | Path | None,
    book: BookSettings | None = None,
) -> Request:
    """Return what a caller in Python asks for, of one architecture."""
    require({"jobs": jobs}, {"jobs": optional(whole(1))})
    return Request(
        Settings(plan, plan.training(training, costs), account, costs, book),
        [training.architecture],
        jobs or int(cpu_count()),
        None,
        Path(ledger) if ledger else None,
        fresh=False,
    )


@contextmanager
def kept_in(folder: str | Path | None) -> Iterator[Path]:
    """Hold the folder of a walk against others; one that goes with the walk where none is named."""
    with ExitStack() as held:
        # The order matters: the lock is given back before its folder goes.
        place = Path(folder or held.enter_context(TemporaryDirectory()))
        held.enter_context(lock_folder(place))
        yield place


def train_walk(
    configurations: Mapping[str, Configuration], n_models: int, jobs: int
) -> dict[str, list[FoldModel]]:
    """Train all folds and return their models by architecture; a notebook shows how far it is.

    Raises FoldsFailed where a fold is lost: the figures would be of other decisions.
    """
    show, done = progress_bar(), []

    def report(label: str, outcome: Outcome, origin: Origin) -> None:
        done.append(label)
        if show:
            show(len(done) / n_models, f"{count(len(done), 'model')} of {n_models}, last {label}")

    lost = train_all(list(configurations.values()), jobs=jobs, on_done=report)
    models = trained_models(configurations)
    if models is None:
        raise FoldsFailed.of(lost, n_models)
    return models


def begin(
    bars: pd.DataFrame,
    folder: Path,
    request: Request,
    *,
    best: pd.Series | None = None,
    instrument: str = "",
) -> Walk:
    """Lay the folds and open the folders, so that what can be refused is refused before training.

    Each architecture but the first has a folder of its own in that of the first.
    """
    settings = request.settings
    ledger = ledger_of(bars, request, planted=best is not None)
    # Before a folder is opened: too few bars are refused without a trace.
    folds = lay_folds(bars, settings.plan, settings.config)
    asked = asked_of(bars, settings, *request.configs)
    data = describe_data(bars)
    by_name = {name: str(value) for name, value in _settled(data, describe_settings(settings), {})}
    if request.searched:
        request.searched.require_for(asked, by_name)
    pasts = [fold.past(bars) for fold in folds]
    configurations = configure(bars, pasts, folds, folder, request, ledger.others, instrument)
    # Last of all that may refuse: whatever stands in the folder then is of this run.
    registration = registration_of(folder, request, configurations, data, ledger)
    replaced = describe_replaced(folder / SUMMARY, data, settings)
    searched = remembered(folder, asked, by_name, request.searched)
    beside = best, instrument, replaced, registration, searched
    return Walk(bars, folder, folds, configurations, ledger, *beside)


def ledger_of(bars: Bars, request: Request, *, planted: bool) -> Ledger:
    """Return the ledger of a run over these bars; planted: whether a market of ours made them."""
    on = subject_of(bars)
    if planted:
        # Two histories of a planted market share its name and their dates, and nothing else.
        on = on._replace(instrument=f"{on.instrument} {on.data[:8]}")
    return Ledger(request.ledger or ledger_path(on), on)


def registration_of(
    folder: Path,
    request: Request,
    configurations: Mapping[str, Configuration],
    data: Mapping[str, object],
    ledger: Ledger,
) -> Registration | None:
    """Return the registration of a run in its folder, made now where it is asked for.

    data: what the bars are.
    """
    keys = {name: one.key for name, one in configurations.items()}
    # One that an earlier run made holds on: the command need not be told twice.
    if not request.register:
        return registered(folder, keys)
    return register(
        folder,
        keys=keys,
        data=data,
        settings=describe_settings(request.settings),
        code=code_digest(*CODE),
        ledger=ledger.path,
        trials=len(ledger.others()),
    )


def enter_trial(
    ledger: Ledger,
    one: Configuration,
    positions: str,
    held: pd.DataFrame,
    net: Array,
    bars_per_year: float,
    searched: Searched | None = None,
) -> bool:
    """Enter what a configuration held, and earned, in the ledger; return whether it is new there.

    positions: their digest. held: a column or one for each instrument, by date; net: (dates,).
    """
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bars_per_year": bars_per_year,
        "seed": one.settings.config.seed,
        "code": code_digest(*CODE),
        **describe_settings(one.settings),
    }
    if searched:
        # Trials of a search are tries, even where none was judged on test bars.
        entry["searched_trials"] = searched.trials
    trial = Trial(positions, sharpe_per_bar(net))
    return ledger.enter(one.key, trial, held.assign(**{NET_RETURN: net}), entry)


def configure(
    bars: Bars,
    pasts: Sequence[Bars],
    folds: Sequence[Fold],
    folder: Path,
    request: Request,
    tried_before: Callable[..., list[Trial]],
    instrument: str = "",
) -> dict[str, Configuration]:
    """Return what is to be trained by architecture, each with its folder opened.

    bars: all of them; pasts: those that the model of each fold may see. tried_before: gives the
    trials in the ledger but those with the keys that it is given.
    """
    settings, store = request.settings, MemberStore(folder)
    if request.fresh:
        store.forget()
    tried = {
        one: replace(settings, config=replace(settings.config, architecture=one))
        for one in request.architectures
    }
    # All keys first: none of the run's configurations counts as another trial for the others.
    keys = {one: key_of(bars, own, *request.configs) for one, own in tried.items()}
    configurations = {}
    for one, own in tried.items():
        state = RunState(folder if one == request.architectures[0] else folder / one)
        # Before anything is trained: a foreign checkpoint would be traded with the run's own.
        state.require_own()
        if request.fresh:
            state.forget()
        others = state.trials_at_start(keys[one], tried_before(*keys.values()))
        for other in others:
            if other.file:
                returns_of(other)  # one that cannot be read is refused
        label = one if len(tried) > 1 else ""  # messages of a single one need no name
        named = instrument, label, keys[one], tuple(others), request.configs
        configurations[one] = Configuration(pasts, folds, own, state, store, *named)
    return configurations


def trained_models(
    configurations: Mapping[str, Configuration],
) -> dict[str, list[FoldModel]] | None:
    """Return the models by architecture; None where a fold of any is missing."""
    models = {}
    for name, configuration in configurations.items():
        of_folds = configuration.models()
        # Figures with a fold missing would be of other decisions than were asked for.
        if of_folds is None:
            return None
        models[name] = of_folds
    return models


def describe_replaced(path: Path, data: Mapping[str, object], settings: Settings) -> str:
    """Return a line that says which settings made the results in a folder, where they differ.

    "" where there are no results, or those of these bars, settings and versions. path: of the
    summary, which has data, settings and versions. data: what the bars are.
    """
    folder = path.parent
    try:
        before = json.loads(path.read_bytes())
        were = dict(_settled(before["data"], before["settings"], before["versions"]))
    except FileNotFoundError:
        return ""
    # Whatever stands there is replaced anyway: it is said, and no reason to refuse a run.
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{folder}: the results there are replaced; their {path.name} cannot be read"
    # As JSON has them, like those that they are compared with.
    now = json.loads(json.dumps([data, describe_settings(settings), all_versions()]))
    are = dict(_settled(*now))
    differing = [
        _difference(name, were.get(name, "not known"), value)
        for name, value in are.items()
        # What is new is told, too, as a version before did not know it.
        if were.get(name) != value
    ]
    if not differing:
        return ""
    return f"{folder}: the results there are replaced; {'; '.join(differing)}"


def _difference(name: str, before: object, now: object) -> str:
    """Say how a setting differs. Of instruments, with the digests of their bars: which do."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return f"{name} was {before}, is {now}"
    # Of a universe only the names that differ: all of them, with digests, would fill the screen.
    both = before.keys() & now.keys()
    parts = {
        "new": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
        "changed": {key for key in both if before[key] != now[key]},
    }
    listed = [f"{word}: {', '.join(sorted(keys))}" for word, keys in parts.items() if keys]
    return f"{name} {' and '.join(listed)}"


def _settled(
    data: Mapping[str, object],
    settings: Mapping[str, Mapping[str, object]],
    versions: Mapping[str, object],
) -> Iterator[tuple[str, object]]:
    """Yield all that decides results, by its name."""
    yield from data.items()
    for part in settings.values():
        yield from part.items()
    yield from versions.items()


def finish(
    walk: Walk, models: Mapping[str, list[FoldModel]], jobs: int
) -> tuple[dict[str, Results], int]:
    """Trade the trained models, judge, write all files, and enter the trials in the ledger.

    Return the results by architecture, those of the one that leads first, and how many
    of the trials are new to the ledger.
    """
    trained = {}
    for name, one in walk.configurations.items():
        # The strategy trades whatever checkpoints lie in the folder.
        one.state.sweep(models[name])
        trained[name] = TrainedConfiguration(
            models[name], one.state.checkpoints, one.settings, one.tried
        )
    results = {
        name: replace(found, registration=walk.registration, searched=walk.searched)
        for name, found in evaluate_all(walk.bars, trained, jobs=jobs, best=walk.best).items()
    }
    compared, entered = results if len(results) > 1 else {}, 0
    if compared:
        write_comparison(walk.folder, compared)
    else:
        # One of an earlier run with more architectures would be taken for this run's.
        (walk.folder / COMPARISON).unlink(missing_ok=True)
    if walk.searched is None:
        # One of an earlier walk with other settings, likewise.
        (walk.folder / SEARCH).unlink(missing_ok=True)
    for number, (name, one) in enumerate(walk.configurations.items()):
        found = results[name]
        write_results(one.state.folder, found)
        write_report(one.state.folder, found, {} if number else compared)
        net = found.decisions.net
        held = pd.DataFrame({POSITION: found.decisions.strategy.astype(np.int8)}, net.index)
        years = yearly_bars(walk.bars)
        entered += enter_trial(
            walk.ledger, one, found.positions, held, net.to_numpy(), years, walk.searched
        )
    return results, entered
