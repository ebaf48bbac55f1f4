"""The search for settings: candidates proposed by Optuna, trained and judged on one past alone.

Candidates are proposed in batches of a fixed size, each batch from what the batches before it
found and nothing else, and entered in their order: the same winner for any number of processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
from joblib import Parallel

from backtests.walk_forward.fingerprint import key_of
from backtests.walk_forward.plan import Settings
from backtests.walk_forward.space import (
    WHOLE,
    SearchError,
    SearchPlan,
    Space,
    Value,
    with_settings,
)
from backtests.walk_forward.thresholds import validation_record, with_thresholds
from backtests.walk_forward.workers import WORKER_DEATHS, dies_with_parent
from model.errors import TrainingDisturbed, TrainingDiverged
from model.provenance import code_digest
from model.training.config import member_configs
from model.training.fitting import fit
from model.training.loop import Epoch

try:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial
except ImportError:  # an optional extra
    optuna = None  # type: ignore[assignment]

MISSING = (
    "a search needs the package optuna: pip install -c tests/constraints.txt -e '.[search]', or "
    "pip install 'backtrader-bilstm[search]'."
)
AT_RANDOM = 10  # that are proposed before anything is concluded from those before
WAITS = 5  # epochs that a candidate has before it may be given up
DIED = "the process that trained it died, and again when it was tried alone (memory?)"
JOURNAL_LINE = b'{"op_code"'  # how each line of Optuna's journal begins
State = Literal["finished", "given up", "failed"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Settings that were tried, and what came of them on validation.

    losses: the validation loss of each epoch of the first network. loss: of all networks together,
    None where it was not trained to the end. forecasts, returns: the probability of "up" and the
    net return, by decision on validation. failure: why there is no model. stored: whether it was
    tried before, when the search was stopped.
    """

    settings: Mapping[str, Value]
    state: State
    losses: Sequence[float] = ()
    loss: float | None = None
    forecasts: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    returns: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    failure: str = ""
    stored: bool = False


class GivenUp(Exception):
    """A candidate was worse than most at the same epoch."""


def search(
    past: pd.DataFrame, settings: Settings, space: Space, plan: SearchPlan, storage: Path, jobs: int
) -> Iterator[Candidate]:
    """Yield the candidates in their order, those that the storage has first.

    Each is tried once: of a space that holds fewer than the plan asks for, all are tried.

    past: all bars that the search may see; training and validation are those of the settings.
    Raises SearchError where the storage is none, ValueError where Optuna is missing.
    """
    if optuna is None:
        raise ValueError(MISSING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # of each trial it would tell by itself
    asks = _Asks(
        msgspec.to_builtins(space.ranges), plan.batch, code_digest(__name__), optuna.__version__
    )
    study = _stored_study(storage, key_of(past, settings, asks))
    yield from [_candidate(trial, past) for trial in study.trials[: plan.trials]]
    while (done := len(study.trials)) < plan.trials:
        number, begun = divmod(done, plan.batch)
        before = study.trials[: number * plan.batch]
        asked = _ask(before, number, settings, space, plan.batch)
        left = asked[begun : begun + plan.trials - done]
        if not left:
            return  # all that the space holds was tried
        reference = [_curve(trial) for trial in before]
        for candidate in _train(left, past, settings, reference, jobs):
            # Kept before it is reported: a search that is killed has lost nothing it told of.
            study.add_trial(_trial(candidate, _distributions(space)))
            yield candidate


@dataclass(frozen=True)
class _Asks:
    """What decides the candidates beside bars and settings."""

    space: dict[str, dict[str, Value]]
    batch: int
    code: str
    optuna: str


def _train(
    asked: Sequence[Mapping[str, Value]],
    past: pd.DataFrame,
    settings: Settings,
    reference: Sequence[FrozenTrial],
    jobs: int,
) -> Iterator[Candidate]:
    """Train candidates, and yield them in the order in which they were asked for."""
    waiting, alone = list(asked), False
    while waiting:
        now = waiting[:1] if alone else waiting[:]
        # Even one alone has a process of its own, unless one process is all there may be.
        parallel = Parallel(n_jobs=min(jobs, max(2, len(now))), return_as="generator")
        calls = [dies_with_parent(try_settings, one, past, settings, reference) for one in now]
        try:
            for candidate in parallel(calls):
                del waiting[0]
                yield candidate
        except WORKER_DEATHS:
            # joblib does not say which process died: from here on each is tried alone, and one
            # that dies alone is the one to blame.
            if alone:
                yield Candidate(settings=waiting.pop(0), state="failed", failure=DIED)
            alone = True


def try_settings(
    wanted: Mapping[str, Value],
    past: pd.DataFrame,
    settings: Settings,
    reference: Sequence[FrozenTrial],
) -> Candidate:
    """Train with these settings and judge on validation, or give up where others were better.

    reference: the finished candidates of the batches before, as Optuna has trials.
    """
    # Set once more: this may be another process than that of the search.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=AT_RANDOM, n_warmup_steps=WAITS)
    study = optuna.create_study(pruner=pruner)
    study.add_trials(reference)
    own = study.ask()
    losses: list[float] = []

    def watch(epoch: Epoch) -> None:
        # Of several networks the first is watched: those that follow begin at their first epoch.
        if epoch.member != watched:
            return
        losses.append(epoch.validation_loss)
        own.report(epoch.validation_loss, epoch.epoch)
        if own.should_prune():
            raise GivenUp

    try:
        config = with_settings(settings.config, wanted)
        watched = member_configs(config)[0].member
        checkpoint = fit(past, config, watch)
    except GivenUp:
        return Candidate(settings=wanted, state="given up", losses=losses)
    except (ValueError, TrainingDiverged, TrainingDisturbed) as error:
        return Candidate(settings=wanted, state="failed", losses=losses, failure=str(error))
    checkpoint, _ = with_thresholds(checkpoint, past, settings.search)
    record = validation_record(checkpoint, past, settings.search)
    return Candidate(
        settings=wanted,
        state="finished",
        losses=losses,
        loss=checkpoint.metrics["validation_log_loss"],
        forecasts=record["probability"],
        returns=record["net"],
    )


def _ask(
    before: Sequence[FrozenTrial], number: int, settings: Settings, space: Space, batch: int
) -> list[Mapping[str, Value]]:
    """Return the settings of a batch, which follow from the trials before it alone."""
    # A sampler for each batch: its random numbers do not depend on where a search was stopped.
    seed = int(np.random.SeedSequence([settings.config.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        # Proposals of one batch keep away from each other; Optuna may change how in a next version.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=AT_RANDOM, constant_liar=True
        )
    study = optuna.create_study(sampler=sampler)
    study.add_trials(before)
    # What is not searched for would be used otherwise: a winner has to be better.
    if not number and settings.config in space:
        study.enqueue_trial({name: getattr(settings.config, name) for name in space.ranges})
    distributions = _distributions(space)
    draw, size = np.random.default_rng(seed), space.size
    asked: list[Mapping[str, Value]] = []
    tried = {_values(trial.params, space) for trial in before}
    while len(asked) < batch and (size is None or len(tried) < size):
        wanted: Mapping[str, Value] = study.ask(distributions).params
        # What was tried is proposed again where there is little to choose from: a second training
        # finds nothing, and would count as another trial.
        while _values(wanted, space) in tried:
            numbered = size and space.numbered(int(draw.integers(size)))
            wanted = numbered or study.ask(distributions).params
        tried.add(_values(wanted, space))
        asked.append(wanted)
    return asked


def _values(settings: Mapping[str, Value], space: Space) -> tuple[Value, ...]:
    """Return settings so that equal ones are equal, in whichever order they are named."""
    return tuple(settings[name] for name in space.ranges)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as Optuna has it."""
    kinds, found = optuna.distributions, dict[str, BaseDistribution]()
    for name, one in space.ranges.items():
        if one.low is None or one.high is None:
            found[name] = kinds.CategoricalDistribution(one.choices)
        elif name in WHOLE:
            low, high = int(one.low), int(one.high)
            # Optuna would say that it ends where the last step does.
            found[name] = kinds.IntDistribution(
                low, high - (high - low) % one.step, one.log, one.step
            )
        else:
            found[name] = kinds.FloatDistribution(one.low, one.high, one.log)
    return found


def _stored_study(storage: Path, key: str) -> optuna.Study:
    """Return the study with this key from a file, a new one where there is none.

    The file may hold others: those of other bars, settings or spaces.
    """
    storage = storage.absolute()  # or a lock that is left would point nowhere, and stay for ever
    storage.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(storage)
    try:
        stored = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
        return optuna.create_study(study_name=key, storage=stored, load_if_exists=True)
    # Optuna replays each line without a look at it.
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise SearchError(
            f"{storage} must be a search's storage, a journal of Optuna's, and cannot be read: "
            f"{error}. Remove it, or give another folder with --out."
        ) from error


def _remove_leftovers(storage: Path) -> None:
    """Remove what a search leaves that is killed while it writes: a lock, and half a line.

    Nobody else writes there: who searches holds the folder.
    """
    Path(f"{storage}.lock").unlink(missing_ok=True)
    if not storage.is_file():
        return
    content = storage.read_bytes()
    whole = content.rfind(b"\n") + 1
    # Anything else may be a file that is not ours.
    if content[whole:].startswith(JOURNAL_LINE):
        storage.write_bytes(content[:whole])


def _trial(candidate: Candidate, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Return a candidate as a trial of Optuna's, which its storage keeps."""
    states = optuna.trial.TrialState
    state = {"finished": states.COMPLETE, "given up": states.PRUNED, "failed": states.FAIL}
    returns = candidate.returns
    return optuna.trial.create_trial(
        state=state[candidate.state],
        params=dict(candidate.settings),
        distributions=dict(distributions),
        value=candidate.loss,
        intermediate_values=dict(enumerate(candidate.losses, 1)),
        user_attrs={
            "failure": candidate.failure,
            "first": str(returns.index[0]) if len(returns) else "",
            "returns": returns.tolist(),
            "forecasts": candidate.forecasts.tolist(),
        },
    )


def _candidate(trial: FrozenTrial, past: pd.DataFrame) -> Candidate:
    """Return a trial of the storage as the candidate that it was made of."""
    states = optuna.trial.TrialState
    state: dict[int, State] = {states.COMPLETE: "finished", states.PRUNED: "given up"}
    returns = trial.user_attrs["returns"]
    start = past.index.searchsorted(pd.Timestamp(trial.user_attrs["first"])) if returns else 0
    decided = past.index[start : start + len(returns)]
    return Candidate(
        settings=trial.params,
        state=state.get(trial.state, "failed"),
        losses=list(trial.intermediate_values.values()),
        loss=trial.value if trial.state == states.COMPLETE else None,
        forecasts=pd.Series(trial.user_attrs["forecasts"], decided, dtype=float),
        returns=pd.Series(returns, decided, dtype=float),
        failure=trial.user_attrs["failure"],
        stored=True,
    )


def _curve(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with its losses by epoch alone, small enough to send to any process."""
    return optuna.trial.create_trial(
        state=trial.state, value=trial.value, intermediate_values=trial.intermediate_values
    )
