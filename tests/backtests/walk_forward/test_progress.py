import io

import pytest
from rich.console import Console

from backtests.walk_forward.progress import EpochLog, FoldProgress
from model.training.loop import Epoch


@pytest.fixture
def log(tmp_path):
    return EpochLog(tmp_path / "log", patience=10)


def epoch(number, best, max_epochs=100):
    return Epoch("bilstm 42", number, max_epochs, 0.69, 0.68, 1e-3, 1.0, best)


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def progress(log, screen):
    return FoldProgress(
        log, 3, Console(file=screen, force_terminal=True, highlight=False, width=100)
    )


def shown(progress):
    """The share done of every bar, the one over all folds first."""
    return [task.completed / task.total for task in progress._bars.tasks]


def test_an_epoch_moves_the_bar_of_its_fold_and_that_of_all(log, progress):
    log("fold 2", epoch(3, best=2))
    progress._read()
    assert shown(progress) == [0.25 / 3, 3 / 12]


def test_no_more_epochs_are_expected_than_are_allowed(log, progress):
    log("fold 1", epoch(4, best=4, max_epochs=5))
    progress._read()
    assert shown(progress)[1] == 4 / 5


def test_half_a_line_waits_for_its_other_half(log, progress):
    log.path.write_text('{"fold": "fold 1", "epoch": 2, "exp')
    progress._read()
    assert len(shown(progress)) == 1
    with log.path.open("a") as file:
        file.write('ected": 4, "loss": 0.7}\n')
    progress._read()
    assert shown(progress)[1] == 0.5


def test_a_finished_fold_is_said_and_counts_as_one(log, progress, screen):
    with progress:
        log("fold 1", epoch(1, best=1))
        progress.finish("fold 1", "fold 1: done")
    progress._read()
    assert shown(progress)[0] == 1 / 3
    assert "fold 1: done" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (10, "less than a minute left"),
        (30, "about 1 minute left"),
        (600, "about 20 minutes left"),
        (7_200, "about 4 hours left"),
    ],
)
def test_the_time_left_is_told_in_words(log, screen, seconds, left):
    now = [0.0]
    progress = FoldProgress(log, 4, Console(file=screen, width=100), lambda: now[0])
    progress.finish("fold 1", "found finished", found=True)  # took no time: tells nothing
    assert progress.time_left() == ""
    now[0] += seconds
    progress.finish("fold 2", "trained")
    assert progress.time_left() == left


def test_a_file_gets_a_line_on_the_time_left_now_and_then(log, screen):
    now = [0.0]
    progress = FoldProgress(log, 2, Console(file=screen, width=100), lambda: now[0])
    for number in (1, 2, 3, 4, 5, 6, 10):
        now[0] += 25 if number < 10 else 100
        log("fold 1", epoch(number, best=1, max_epochs=10))
        progress._read()
    assert screen.getvalue().splitlines() == [
        "training of 2 folds: about 8 minutes left, as far as its first 50 seconds tell",
        "0.3 of 2 done, about 7 minutes left",
        "0.6 of 2 done, about 6 minutes left",
        "1 of 2 done, about 4 minutes left",
    ]
