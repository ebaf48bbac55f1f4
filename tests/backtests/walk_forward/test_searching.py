"""The search: what it sees, in which order it tries, and where it goes on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from joblib import parallel_config

from backtests.search import pasts_of
from backtests.walk_forward import searching
from backtests.walk_forward.folds import lay_folds
from backtests.walk_forward.plan import FoldPlan, Settings
from backtests.walk_forward.searching import Candidate, search, try_settings
from backtests.walk_forward.space import Range, SearchError, SearchPlan, Space
from model.metrics import log_loss
from model.training.config import TrainConfig
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.makers import random_bars

PLAN = FoldPlan(folds=2, train_blocks=2)
CONFIG = TrainConfig(architecture="small", max_epochs=1, sequence_length=5, batch_size=32)
SETTINGS = Settings(PLAN, PLAN.training(CONFIG))
SPACE = Space(
    {
        "learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "sequence_length": Range(low=5, high=9, step=2),
    }
)
THREE = SearchPlan(trials=3, batch=2)


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return random_bars(500, seed=8)


@pytest.fixture(scope="module")
def past(bars: pd.DataFrame) -> pd.DataFrame:
    [past] = pasts_of(bars, SETTINGS, SPACE, nested=False)
    return past


def plain(candidates: Sequence[Candidate]) -> list[tuple[object, ...]]:
    return [
        (
            *(dict(one.settings), one.state, one.loss, list(one.losses)),
            *(one.forecasts.to_dict(), one.returns.to_dict()),
        )
        for one in candidates
    ]


@pytest.fixture(scope="module")
def found(past: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Candidate]:
    """Three candidates of a search that nothing interrupted."""
    storage = tmp_path_factory.mktemp("search") / "search.log"
    return list(search(past, SETTINGS, SPACE, THREE, storage, 1))


def test_the_first_candidate_is_what_would_be_used_without_a_search(
    found: list[Candidate],
) -> None:
    assert found[0].settings == {"learning_rate": 1e-3, "sequence_length": 5}
    assert len({str(one.settings) for one in found}) == 3


def test_a_candidate_keeps_the_forecasts_of_its_loss(
    past: pd.DataFrame, found: list[Candidate]
) -> None:
    labels = pd.Series(CONFIG.labelling.labels(past).values, past.index)
    for one in found:
        assert one.forecasts.index.equals(one.returns.index)
        right = labels[one.forecasts.index].to_numpy(), one.forecasts.to_numpy()
        assert log_loss(*right) == pytest.approx(one.loss, rel=1e-6)


def test_no_trial_sees_a_bar_of_any_test_block_that_the_space_allows(
    bars: pd.DataFrame, past: pd.DataFrame
) -> None:
    tests = [
        lay_folds(bars, PLAN, replace(SETTINGS.config, sequence_length=length))[0].test
        for length in (5, 7, 9)
    ]
    assert past.index[-1] == bars.index[min(tests)] and len(set(tests)) > 1


def test_an_edge_planted_in_the_test_blocks_changes_nothing(
    bars: pd.DataFrame, past: pd.DataFrame, found: list[Candidate], tmp_path: Path
) -> None:
    # In the first test block every other bar rises by as much as the next one falls.
    planted, first = bars.copy(), lay_folds(bars, PLAN, SETTINGS.config)[0]
    block = slice(first.test + 1, first.stop)
    rising = np.where(np.arange(first.stop - first.test - 1) % 2, 1.0, 1.2)
    for column in ("open", "high", "low", "close"):
        planted.iloc[block, planted.columns.get_loc(column)] *= rising
    [same] = pasts_of(planted, SETTINGS, SPACE, nested=False)
    again = list(search(same, SETTINGS, SPACE, THREE, tmp_path / "search.log", 1))
    assert plain(again) == plain(found)
    # Within what it sees a change does change it.
    changed = past.copy()
    changed.loc[past.index[-60:], ["open", "high", "low", "close"]] *= 1.5
    other = list(search(changed, SETTINGS, SPACE, THREE, tmp_path / "search.log", 1))
    assert plain(other) != plain(found)


def test_the_same_candidates_come_of_any_number_of_processes(
    past: pd.DataFrame, found: list[Candidate], tmp_path: Path
) -> None:
    # Threads stand for processes, which would take their time to begin.
    with parallel_config(backend="threading"):
        together = list(search(past, SETTINGS, SPACE, THREE, tmp_path / "search.log", 2))
    assert plain(together) == plain(found)


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_search_that_was_stopped_goes_on_to_the_same_candidates(
    past: pd.DataFrame,
    found: list[Candidate],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped_after: int,
) -> None:
    storage = tmp_path / "search.log"
    list(islice(search(past, SETTINGS, SPACE, THREE, storage, 1), stopped_after))
    trained = []
    honest = searching.try_settings

    def counted(wanted, *given):  # type: ignore[no-untyped-def]
        trained.append(wanted)
        return honest(wanted, *given)

    monkeypatch.setattr(searching, "try_settings", counted)
    assert plain(list(search(past, SETTINGS, SPACE, THREE, storage, 1))) == plain(found)
    assert len(trained) == 3 - stopped_after


def test_what_a_killed_search_left_half_written_is_tried_again(
    past: pd.DataFrame, found: list[Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Path("search.log")  # a lock's own link to it is followed from its own folder
    list(islice(search(past, SETTINGS, SPACE, THREE, storage, 1), 2))
    storage.write_bytes(storage.read_bytes()[:-9])
    Path("search.log.lock").symlink_to("search.log")
    assert plain(list(search(past, SETTINGS, SPACE, THREE, storage, 1))) == plain(found)
    assert not Path("search.log.lock").is_symlink()


def test_more_trials_go_on_from_those_that_are_there(
    past: pd.DataFrame, found: list[Candidate], tmp_path: Path
) -> None:
    few = replace(THREE, trials=1)
    list(search(past, SETTINGS, SPACE, few, tmp_path / "search.log", 1))
    assert plain(list(search(past, SETTINGS, SPACE, THREE, tmp_path / "search.log", 1))) == plain(
        found
    )


def curve(loss: float) -> optuna.trial.FrozenTrial:
    losses = {epoch: loss for epoch in range(1, 8)}
    return optuna.trial.create_trial(value=loss, intermediate_values=losses)


@pytest.mark.parametrize(("loss", "state"), [(0.1, "given up"), (9.0, "finished")])
def test_a_candidate_that_is_worse_than_most_is_given_up_by_its_epochs(
    past: pd.DataFrame, loss: float, state: str
) -> None:
    patient = replace(SETTINGS, config=replace(SETTINGS.config, max_epochs=7, patience=7))
    before = [curve(loss)] * searching.AT_RANDOM
    candidate = try_settings({"learning_rate": 1e-3}, past, patient, before)
    assert candidate.state == state and (candidate.loss is None) == (state == "given up")
    assert len(candidate.losses) == (searching.WAITS if state == "given up" else 7)


def test_what_cannot_be_trained_is_a_trial_that_failed(past: pd.DataFrame, tmp_path: Path) -> None:
    space = Space({"batch_size": Range(choices=[100_000, 200_000])})
    plan = SearchPlan(trials=2, batch=2)
    for _ in range(2):  # the second time from the storage
        candidates = list(search(past, SETTINGS, space, plan, tmp_path / "search.log", 1))
        assert {one.state for one in candidates} == {"failed"}
        assert all("at least" in one.failure for one in candidates)


@pytest.mark.parametrize("text", ["no journal\n", "no journal", '{"op_code": 99}\n', "[1]\n"])
def test_a_storage_that_is_none_is_refused(past: pd.DataFrame, tmp_path: Path, text: str) -> None:
    (tmp_path / "search.log").write_text(text)
    with pytest.raises(SearchError, match=r"search.log must be a search's storage, a journal of"):
        next(search(past, SETTINGS, SPACE, THREE, tmp_path / "search.log", 1))


def test_a_range_ends_with_its_last_step(past: pd.DataFrame, tmp_path: Path) -> None:
    space = Space({"sequence_length": Range(low=2, high=6, step=3)})
    plan = SearchPlan(trials=2, batch=2)
    tried = list(search(past, SETTINGS, space, plan, tmp_path / "search.log", 1))
    assert {one.settings["sequence_length"] for one in tried} == {2, 5}
    # Five is a step, and what would be used without a search; from three on it is none.
    assert tried[0].settings == {"sequence_length": 5}
    space = Space({"sequence_length": Range(low=3, high=6, step=3)})
    tried = list(search(past, SETTINGS, space, plan, tmp_path / "search.log", 1))
    assert {one.settings["sequence_length"] for one in tried} == {3, 6}


def test_each_settings_are_tried_once_and_no_more_than_there_are(
    past: pd.DataFrame, tmp_path: Path
) -> None:
    choices = Range(choices=[8, 16, 32])
    space = Space({"batch_size": choices, "averaging": Range(choices=[0.0, 0.5])})
    plan, storage = SearchPlan(trials=50, batch=4), tmp_path / "search.log"
    first = list(search(past, SETTINGS, space, replace(plan, trials=3), storage, 1))
    tried = list(search(past, SETTINGS, space, plan, storage, 1))
    assert plain(tried[:3]) == plain(first) and len(tried) == space.size == 6
    assert len({tuple(one.settings.values()) for one in tried}) == 6
    assert plain(list(search(past, SETTINGS, space, plan, storage, 1))) == plain(tried)


def test_without_optuna_it_is_said_what_to_install(
    past: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "optuna", None)
    with pytest.raises(ValueError, match=r"needs the package optuna: pip install"):
        next(search(past, SETTINGS, SPACE, THREE, tmp_path / "search.log", 1))


def test_a_process_that_dies_fails_its_trial_alone(
    past: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    death = searching.WORKER_DEATHS[0]
    seen: list[object] = []

    def deadly(wanted, *given):  # type: ignore[no-untyped-def]
        seen.append(wanted)
        if wanted["sequence_length"] == 5 and wanted["learning_rate"] == 1e-3:
            raise death("gone")
        return Candidate(settings=wanted, state="finished", losses=[0.5], loss=0.5)

    monkeypatch.setattr(searching, "try_settings", deadly)
    with parallel_config(backend="threading"):
        candidates = list(search(past, SETTINGS, SPACE, THREE, tmp_path / "search.log", 2))
    assert [one.state for one in candidates] == ["failed", *["finished"] * 2]
    assert "died" in candidates[0].failure
