"""How torch computes in this process: its defaults, threads, memory, and arithmetic."""

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's mallopt keys (malloc.h)
MEBIBYTE = 1 << 20


# torch's random numbers come from one generator per process: trainings wait for each other. One
# that begins within another, in the same thread, goes ahead; the other goes on as if it had not.
_training = threading.RLock()


def _new_lock() -> None:
    global _training
    _training = threading.RLock()


# A process that was forked while another thread trained would wait for ever.
os.register_at_fork(after_in_child=_new_lock)


@contextmanager
def one_training() -> Iterator[None]:
    """Run the body when no other thread of this process trains."""
    with _training:
        yield


@contextmanager
def usual_torch() -> Iterator[None]:
    """Run the body with the defaults that torch starts with, and put back what was set.

    A notebook may have chosen another dtype or device, switched gradients off or mixed precision
    on; results shall not depend on it. The dtype and the precision of products are those of the
    process: other threads have them too while the body runs.
    """
    with ExitStack() as stack:
        dtype, products = torch.get_default_dtype(), torch.get_float32_matmul_precision()
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if products != "highest":
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, products)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        yield


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for reuse; False where the C library is another one.

    torch allocates and frees megabytes at every step. By default glibc gives them back to the
    kernel each time and fetches them again: a fifth to a third of the training time.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Single blocks come from the kept memory as well, and it is given back from 2 GiB on.
    settings = (
        (M_MMAP_THRESHOLD, 1024 * MEBIBYTE),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 256 * MEBIBYTE),
    )
    return all(mallopt(key, value) == 1 for key, value in settings)


def give_back_freed_memory() -> None:
    """Give back to the kernel what `keep_freed_memory` kept, once it is not soon needed again."""
    if keep_freed_memory():
        ctypes.CDLL(None).malloc_trim(0)


def arithmetic(precision: Precision, device: str = "cpu") -> torch.autocast:
    """Return the context in which a network computes in a precision.

    With bf16 only the products of matrices do so, not the sums of losses.
    """
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def torch_threads(count: int = 1) -> Iterator[None]:
    """Run the body with `count` torch threads and put the caller's number back afterwards.

    One thread is the default everywhere: the order of summation, and so the bits of a result,
    depends on the number; and two threads wait for each other in spin loops, about a hundred times
    slower when another process uses a core.
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
