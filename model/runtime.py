"""The one home of how torch computes here: its threads, the C allocator, and the precision of its arithmetic."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

# glibc's mallopt keys (malloc.h). torch allocates and frees megabytes at every step; by default glibc gives them back to
# the kernel each time and fetches them again, which costs a fifth to a third of the training time.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MEBIBYTE = 1 << 20


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for reuse; True if it was told, False where the C library is another one."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (M_MMAP_THRESHOLD, 1024 * MEBIBYTE),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 256 * MEBIBYTE),
    )
    return all(mallopt(key, value) == 1 for key, value in settings)


SLOW_BF16 = (
    "this processor has no AMX unit (amx_bf16), without which bf16 is slower than fp32, "
    "by a quarter where it was measured"
)


def has_fast_bf16() -> bool:
    """Return whether bf16 is faster than fp32 here: whether the processor multiplies tiles of bf16 (AMX).

    The vector instructions alone (avx512_bf16) do not suffice: with them a training step took 180 ms against 125 in fp32.
    """
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # from torch 2.11 on
    return bool(known.get("amx_bf16", False))


def precision_hint(precision: str) -> str:
    """Return a line for commands where the other precision trains faster on this processor; "" where it does not."""
    if precision == "bf16":
        return "" if has_fast_bf16() else f"{SLOW_BF16}: --precision fp32 trains faster"
    if not has_fast_bf16():
        return ""
    return (
        "this processor multiplies bf16 in hardware: --precision bf16 trains about twice as fast; "
        "python backtests/benchmark.py --only training-bf16 says by how much"
    )


def arithmetic(precision: Precision, device: str = "cpu") -> torch.autocast:
    """Return the context in which a network computes in a precision: with bf16, products of matrices, not sums of losses."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16")


def require_precision(precision: object) -> None:
    """Refuse what is no precision with a ValueError."""
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"`precision` must be 'fp32' or 'bf16', got {precision!r}.")


@contextmanager
def torch_threads(count: int = 1) -> Iterator[None]:
    """Run the body with `count` torch threads and put the caller's number back afterwards.

    One thread is the default everywhere: the order of summation, and so the bits of a result, depends on the number; and
    two threads wait for each other in spin loops, about a hundred times slower when another process uses a core.
    """
    if count < 1:
        raise ValueError(f"`threads` must be at least 1, got {count}.")
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)
