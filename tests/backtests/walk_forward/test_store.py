import os
import re
import sys
from dataclasses import replace
from subprocess import PIPE, Popen

import pytest

from backtests.walk_forward.folds import Fold, FoldModel
from backtests.walk_forward.ledger import Trial
from backtests.walk_forward.store import Keys, MemberStore, RunState, lock_folder
from backtests.walk_forward.thresholds import Choice
from tests.helpers.makers import random_checkpoint

FOLD = Fold(1, train=150, test=200, stop=250, warm_up=149)
CHOICE = Choice(0.55, 0.52, 12, 1e-4, True)
KEYS = Keys("weights", "thresholds")
DEARER = Keys("weights", "thresholds at other costs")
OTHER = Keys("other weights", "other thresholds")


@pytest.fixture
def state(tmp_path):
    return RunState(tmp_path)


@pytest.fixture
def model(bars):
    return FoldModel(
        FOLD,
        replace(random_checkpoint(bars, bars.index[200]), enter=0.55, exit=0.52),
        CHOICE,
        importance={"trend": 0.01},
        machine={"torch": "2.13"},
    )


def test_a_kept_fold_is_found_by_its_key(state, model):
    state.keep(model, KEYS)
    found = state.finished(FOLD, KEYS)
    assert found.checkpoint.digest == model.checkpoint.digest and found.choice == CHOICE
    assert (found.importance, found.machine) == (model.importance, model.machine)


def test_a_fold_without_a_model_is_found_too(state):
    state.keep(FoldModel(FOLD, None, reason="one class"), KEYS)
    assert state.finished(FOLD, KEYS) == FoldModel(FOLD, None, reason="one class")


def test_another_key_finds_nothing(state, model):
    state.keep(model, KEYS)
    assert state.finished(FOLD, OTHER) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: (state.checkpoints / "fold-01.ckpt").unlink(),
        lambda state: (state.checkpoints / "fold-01.ckpt").write_bytes(b"half"),
        lambda state: (state._records / "fold-01.json").write_text('{"key": "k'),
        lambda state: (state._records / "fold-01.json").unlink(),
    ],
)
def test_what_is_damaged_or_missing_counts_as_not_done(state, model, damage):
    state.keep(model, KEYS)
    damage(state)
    assert state.finished(FOLD, KEYS) is None


def test_a_checkpoint_of_another_run_counts_as_not_done(bars, state, model):
    state.keep(model, KEYS)
    random_checkpoint(bars, bars.index[200], seed=9).save(state.checkpoints / "fold-01.ckpt")
    assert state.finished(FOLD, KEYS) is None


def test_at_other_costs_the_network_is_found_but_not_the_fold(state, model):
    state.keep(model, KEYS)
    assert state.finished(FOLD, DEARER) is None and state.trained(FOLD, "other weights") is None
    found = state.trained(FOLD, "weights")
    assert (found.checkpoint.digest, found.choice) == (model.checkpoint.digest, CHOICE)


def test_a_network_is_found_again_after_other_settings(state, model, bars):
    """They replace its file, or have fewer folds and sweep it away."""
    other = replace(model, checkpoint=random_checkpoint(bars, bars.index[200], seed=9))
    state.keep(model, KEYS)
    state.keep(replace(other, choice=Choice(0.5, 0.5)), OTHER)
    assert state.finished(FOLD, KEYS) is None
    assert state.trained(FOLD, "weights").checkpoint.digest == model.checkpoint.digest
    state.sweep([])
    assert not list(state.checkpoints.iterdir())
    assert state.trained(FOLD, "other weights").checkpoint.digest == other.checkpoint.digest
    state.forget()
    assert state.trained(FOLD, "weights") is None


def test_a_kill_between_new_thresholds_and_their_record_costs_no_training(state, model):
    state.keep(model, KEYS)
    chosen = replace(model.checkpoint, enter=0.6, exit=0.5)
    chosen.save(state.checkpoints / model.name)
    assert state.finished(FOLD, KEYS) is None
    assert state.trained(FOLD, "weights").checkpoint.digest == chosen.digest


def test_the_trials_known_at_the_start_stay_until_another_run_starts(state):
    first, later = Trial("held", 0.1), Trial("held otherwise", 0.2)
    assert state.trials_at_start("key", [first]) == [first]
    assert state.trials_at_start("key", [first, later]) == [first]
    assert state.trials_at_start("other", [later]) == [later]


def test_a_fresh_start_forgets(state, model):
    state.keep(model, KEYS)
    state.trials_at_start("key", [Trial("held", 1.0)])
    state.forget()
    assert state.finished(FOLD, KEYS) is None and state.trials_at_start("key", []) == []


def test_sweeping_leaves_this_run_alone(state, model):
    for number in (1, 7):
        state.keep(replace(model, fold=replace(FOLD, number=number)), KEYS)
    state.sweep([model])
    assert [path.name for path in state.checkpoints.iterdir()] == ["fold-01.ckpt"]
    assert state.finished(FOLD, KEYS)


def test_a_checkpoint_of_somebody_else_is_not_traded_and_not_removed(state, model):
    state.keep(model, KEYS)
    model.checkpoint.save(state.checkpoints / "mine.ckpt")
    with pytest.raises(
        ValueError, match="must hold this run's checkpoints alone, got mine.ckpt. Move"
    ):
        state.require_own()
    assert (state.checkpoints / "mine.ckpt").exists()


SECOND = """
import os, sys
from pathlib import Path
from backtests.walk_forward.ledger import Trial
from backtests.walk_forward.store import FolderInUse, lock_folder
try:
    with lock_folder(Path(sys.argv[1])):
        print("in")
except FolderInUse as error:
    print(error.exit_code, error, flush=True)
input()
with lock_folder(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def test_a_second_run_in_the_folder_is_refused_and_the_folder_is_free_after_a_kill(tmp_path):
    """Another process is refused while this one holds the folder, and then killed as it holds it
    itself.
    """
    with Popen(
        [sys.executable, "-c", SECOND, tmp_path], stdin=PIPE, stdout=PIPE, text=True
    ) as second:
        with lock_folder(tmp_path):
            assert re.match("7 .* must not be used by two runs at once", second.stdout.readline())
        second.communicate("\n")
    assert second.returncode == -9
    with lock_folder(tmp_path):
        assert os.path.exists(tmp_path / ".lock")


def test_what_was_half_written_when_a_run_was_killed_is_removed(state, tmp_path):
    halves = [
        place / ".fold-01.ckpt.7.1.tmp"
        for place in (tmp_path, state.checkpoints, tmp_path / ".state")
    ]
    for half in halves:
        half.touch()
    with lock_folder(tmp_path):
        assert not any(half.exists() for half in halves)


def test_a_member_is_found_by_its_key(tmp_path, model):
    store = MemberStore(tmp_path)
    store.keep("key", model.checkpoint)
    assert store.find("key") and not store.find("other")
    [found] = store.find_all(["key"])
    assert found.digest == model.checkpoint.digest
    assert store.find_all(["key", "other"]) == []
    (tmp_path / ".state" / "members" / "key.ckpt").write_bytes(b"half")
    assert store.find("key") is None
    store.forget()
    assert list((tmp_path / ".state" / "members").iterdir()) == []
