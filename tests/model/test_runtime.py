"""What holds for a whole process: torch's threads and the C allocator."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.precision import bf16_support, precision_hint
from model.runtime import give_back_freed_memory, keep_freed_memory, torch_threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_body_runs_with_its_threads_and_the_callers_number_comes_back(count: int) -> None:
    with torch_threads(count):
        assert torch.get_num_threads() == count
    assert torch.get_num_threads() == 3


def test_the_default_is_one_thread() -> None:
    with torch_threads():
        assert torch.get_num_threads() == 1


def test_the_callers_threads_come_back_after_an_exception() -> None:
    with pytest.raises(KeyboardInterrupt), torch_threads(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


def test_nested_bodies_each_put_back_what_they_found() -> None:
    with torch_threads(2):
        with torch_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_at_all_are_refused(count: int) -> None:
    with (
        pytest.raises(ValueError, match=f"`threads` must be at least 1, got {count}"),
        torch_threads(count),
    ):
        pass
    assert torch.get_num_threads() == 3


def resident() -> int:
    """Pages of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep it")
def test_kept_memory_is_given_back_on_request() -> None:
    keep_freed_memory()
    blocks = [bytes([1]) * 60_000 for _ in range(1_000)]
    del blocks
    kept = resident()
    give_back_freed_memory()
    assert kept - resident() > 40e6 / os.sysconf("SC_PAGE_SIZE")


def test_glibc_is_told_to_keep_freed_memory() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory.__wrapped__() is False


TILES = {"avx512_bf16": True, "amx_tile": True, "amx_bf16": True}
VECTORS = {"avx512_bf16": True, "amx_tile": False, "amx_bf16": False}
NONE = {"avx512_bf16": False, "amx_bf16": False, "avx2": True}


@pytest.mark.parametrize(
    ("known", "here"),
    [
        (TILES, "tiles"),
        (VECTORS, "vectors"),
        ({"neon": True, "bf16": True, "sve_bf16": True}, "vectors"),
        (NONE, "none"),
        ({}, "unknown"),
    ],
)
def test_a_processor_has_tiles_for_bf16_or_vectors_or_none(
    known: dict[str, bool], here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert bf16_support() == here


def test_nothing_is_known_of_bf16_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert bf16_support() == "unknown"


@pytest.mark.parametrize(
    ("precision", "known", "said"),
    [
        (
            "fp32",
            TILES,
            "this processor multiplies bf16 in hardware: --precision bf16 trains about twice as "
            "fast; python backtests/benchmark.py --contests training-bf16 says by how much",
        ),
        ("fp32", VECTORS, ""),
        ("fp32", NONE, ""),
        ("fp32", {}, ""),
        ("bf16", TILES, ""),
        (
            "bf16",
            VECTORS,
            "this processor has bf16 but no AMX: whether --precision fp32 trains faster depends; "
            "python backtests/benchmark.py --contests training-bf16 says",
        ),
        (
            "bf16",
            NONE,
            "this processor has no instructions for bf16, which torch emulates then, slower than "
            "fp32: --precision fp32 trains faster",
        ),
        ("bf16", {}, ""),
    ],
)
def test_training_hears_what_the_processor_makes_of_a_precision(
    precision: str,
    known: dict[str, bool],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert precision_hint(precision) == said
