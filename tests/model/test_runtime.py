"""What holds for a whole process: torch's threads and the C allocator."""

import platform
from collections.abc import Iterator

import pytest
import torch

from model.runtime import SLOW_BF16, has_fast_bf16, keep_freed_memory, precision_hint, torch_threads


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


def test_glibc_is_told_to_keep_freed_memory() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory.__wrapped__() is False


@pytest.mark.parametrize(
    ("known", "there"),
    [
        ({"avx512_bf16": True, "amx_tile": True, "amx_bf16": True}, True),
        ({"avx512_bf16": True, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, False),
        ({"avx512_bf16": False, "avx2": True}, False),
        ({}, False),
    ],
)
def test_bf16_is_fast_only_on_a_processor_with_tiles_for_it(
    known: dict[str, bool],
    there: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert has_fast_bf16() is there


def test_bf16_is_not_expected_to_be_fast_where_torch_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert has_fast_bf16() is False


@pytest.mark.parametrize(
    ("precision", "there", "said"),
    [
        (
            "fp32",
            True,
            "this processor multiplies bf16 in hardware: --precision bf16 trains about twice as fast; "
            "python backtests/benchmark.py --only training-bf16 says by how much",
        ),
        ("bf16", True, ""),
        ("fp32", False, ""),
        ("bf16", False, f"{SLOW_BF16}: --precision fp32 trains faster"),
    ],
)
def test_training_hears_where_the_other_precision_is_faster(
    precision: str,
    there: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": there}, raising=False)
    assert precision_hint(precision) == said
