"""What a notebook has set, and what other threads do, changes no bit and is left as it was."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from model.checkpoint.checkpoint import Checkpoint
from model.errors import TrainingDisturbed
from model.runtime import one_training, usual_torch
from model.training import loop
from model.training.config import TrainConfig
from model.training.fitting import fit
from tests.helpers import small_network  # noqa: F401  makes the architecture known
from tests.helpers.makers import random_bars, random_checkpoint

SHORT = TrainConfig(architecture="small", max_epochs=1)


@contextmanager
def setting(change: Callable[[Any], None], value: object, usual: object) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(usual)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": partial(setting, torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": partial(setting, torch.set_default_dtype, torch.bfloat16, torch.float32),
    "meta": partial(setting, torch.set_default_device, "meta", None),
    "no gradients": partial(setting, torch.set_grad_enabled, False, True),
    "inference": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "products": partial(setting, torch.set_float32_matmul_precision, "medium", "highest"),
    "deterministic": partial(setting, torch.use_deterministic_algorithms, True, False),
    "threads": partial(setting, torch.set_num_threads, 2, torch.get_num_threads()),
    "numpy": partial(np.errstate, all="raise"),
    "pandas": partial(pd.option_context, "mode.string_storage", "python"),
}


def settings() -> tuple[object, ...]:
    return (
        torch.get_default_dtype(),
        str(torch.get_default_device()),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        torch.get_rng_state().tolist(),
    )


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return random_bars(320)


@pytest.fixture(scope="module")
def alone(bars: pd.DataFrame) -> str:
    return fit(bars, SHORT).digest


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_training_gives_the_same_bits_whatever_is_set(
    name: str, bars: pd.DataFrame, alone: str
) -> None:
    with SURROUNDINGS[name]():
        before = settings()
        assert fit(bars, SHORT).digest == alone
        assert settings() == before


@pytest.mark.parametrize("architecture", ["bilstm", "transformer"])
@pytest.mark.parametrize("name", [*SURROUNDINGS, "all at once"])
def test_a_checkpoint_is_loaded_and_served_the_same(
    name: str, architecture: str, bars: pd.DataFrame, tmp_path: Any
) -> None:
    random_checkpoint(bars, members=(architecture,)).save(tmp_path / "one.ckpt")
    expected = Checkpoint.load(tmp_path / "one.ckpt").probabilities(bars)
    with ExitStack() as stack:
        for one in SURROUNDINGS if name == "all at once" else [name]:
            stack.enter_context(SURROUNDINGS[one]())
        before = settings()
        loaded = Checkpoint.load(tmp_path / "one.ckpt")
        pd.testing.assert_series_equal(loaded.probabilities(bars), expected, check_exact=True)
        loaded.save(tmp_path / "two.ckpt")
        assert settings() == before
    assert (tmp_path / "one.ckpt").read_bytes() == (tmp_path / "two.ckpt").read_bytes()


def test_the_usual_settings_end_with_the_body_though_it_fails() -> None:
    with SURROUNDINGS["float64"](), SURROUNDINGS["meta"]():
        with pytest.raises(KeyboardInterrupt), usual_torch():
            assert torch.zeros(1).dtype == torch.float32
            assert torch.zeros(1).device.type == "cpu"
            raise KeyboardInterrupt
        assert torch.zeros(1).dtype == torch.float64
        assert torch.zeros(1).device.type == "meta"


def test_trainings_of_several_threads_give_the_bits_of_each_alone(
    bars: pd.DataFrame, alone: str
) -> None:
    found: dict[int, str] = {}

    def train(number: int) -> None:
        found[number] = fit(bars, SHORT).digest

    threads = [threading.Thread(target=train, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(3), alone)


def test_a_training_within_a_training_changes_neither(bars: pd.DataFrame, alone: str) -> None:
    inner: list[str] = []
    outer = fit(bars, SHORT, lambda epoch: inner.append(fit(bars, SHORT).digest))
    assert inner == [outer.digest] == [alone]


def test_serving_in_another_thread_does_not_disturb(bars: pd.DataFrame, alone: str) -> None:
    checkpoint, stop = random_checkpoint(bars, members=("bilstm", "transformer")), threading.Event()
    served: list[float] = []

    def serve() -> None:
        # Once at least, however late this thread begins.
        while not served or not stop.is_set():
            # A member anew, whose network is not made yet.
            member = replace(checkpoint.members[0])
            served.append(float(member.logits(torch.zeros(1, 50, 86))[0]))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert fit(bars, SHORT).digest == alone
    finally:
        stop.set()
        thread.join()
    assert served and len(set(served)) == 1


@pytest.mark.parametrize("place", ["within a step", "between two steps"])
def test_foreign_draws_end_a_training_with_one_message(
    place: str, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread would, at the fourth step."""
    steps = 0
    learn, count = loop._learn, loop.TrainingState.count_batch

    def draw_at(at: int) -> None:
        if steps == at:
            torch.rand(3)

    def learning(*arguments: Any) -> tuple[float, float]:
        nonlocal steps
        steps += 1
        done = learn(*arguments)
        if place == "within a step":
            draw_at(4)
        return done

    def counting(state: Any, *arguments: Any) -> None:
        count(state, *arguments)
        if place == "between two steps":
            draw_at(4)

    monkeypatch.setattr(loop, "_learn", learning)
    monkeypatch.setattr(loop.TrainingState, "count_batch", counting)
    config = TrainConfig(architecture="transformer", max_epochs=1, batch_size=16)
    before = torch.get_rng_state()
    with pytest.raises(TrainingDisturbed, match=r"epoch 1, step 5.*torch\.Generator") as error:
        fit(random_bars(320), config)
    assert error.value.exit_code == 5
    assert torch.equal(torch.get_rng_state(), before)


def test_a_forked_process_does_not_wait_for_the_training_of_its_parent() -> None:
    """Another thread of the parent trains when it forks: that thread is not in the child."""
    trains, done = threading.Event(), threading.Event()

    def train() -> None:
        with one_training():
            trains.set()
            done.wait()

    thread = threading.Thread(target=train)
    thread.start()
    trains.wait()
    with warnings.catch_warnings():
        # Python 3.12 warns of just what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        with one_training():
            os._exit(0)
    found, status = 0, 0
    for _ in range(200):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        done.wait(0.05)
    if not found:
        os.kill(child, 9)
        os.waitpid(child, 0)
    done.set()
    thread.join()
    assert (found, status) == (child, 0)


def test_an_error_within_a_training_lets_the_next_begin(bars: pd.DataFrame, alone: str) -> None:
    def fail(epoch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(bars, SHORT, fail)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(fit(bars, SHORT).digest))
    thread.start()
    thread.join()
    assert found == [alone]
