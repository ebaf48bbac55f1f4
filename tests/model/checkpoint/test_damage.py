"""Damaged checkpoints: truncated, flipped, blanked, exchanged or longer, none is ever loaded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.forging import refusal


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 1000])
def test_a_truncated_file_is_refused_with_its_length(small: bytes, length: int) -> None:
    assert f"it is not a safetensors file, or not a whole one ({length} bytes)" in refusal(
        small[:length]
    )


def test_the_file_truncated_at_every_length_is_refused(small: bytes) -> None:
    assert not [length for length in range(len(small)) if not refusal(small[:length])]


@pytest.mark.parametrize("more", [b"\0", b"x" * 1000, b"\0" * 5000])
def test_appended_bytes_are_refused(small: bytes, more: bytes) -> None:
    assert "does not have the digest it states" in refusal(small + more)


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_a_bit_flipped_in_every_fifth_byte_is_refused(small: bytes) -> None:
    bits = [8 * byte + byte % 8 for byte in range(0, len(small), 5)]
    assert len(bits) > 1800
    assert not [bit for bit in bits if not refusal(flipped(small, bit))]


@pytest.mark.slow
def test_the_file_with_any_one_bit_flipped_is_refused(small: bytes) -> None:
    assert not [bit for bit in range(8 * len(small)) if not refusal(flipped(small, bit))]


Draw = np.random.Generator


def header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def scrambled(data: bytes, draw: Draw) -> bytes:
    damaged = bytearray(data)
    for place in draw.integers(0, header_end(data), 8):
        damaged[place] = draw.integers(0, 256)
    return bytes(damaged)


def blanked(data: bytes, draw: Draw) -> bytes:
    page = draw.integers(0, max(1, len(data) // 4096))
    return (
        data[: 4096 * page]
        + b"\0" * len(data[4096 * page : 4096 * (page + 1)])
        + data[4096 * (page + 1) :]
    )


def exchanged(data: bytes, draw: Draw) -> bytes:
    sector = 512
    first, second = sorted(draw.choice(len(data) // sector, 2, replace=False) * sector)
    damaged = bytearray(data)
    damaged[first : first + sector], damaged[second : second + sector] = (
        data[second : second + sector],
        data[first : first + sector],
    )
    return bytes(damaged)


def unwritten_tail(data: bytes, draw: Draw) -> bytes:
    start = draw.integers(0, len(data))
    return data[:start] + b"\0" * (len(data) - start)


MUTATIONS: dict[str, Callable[[bytes, Draw], bytes]] = {
    "one bit anywhere": lambda data, draw: flipped(data, draw.integers(0, 8 * len(data))),
    "one bit of the weights": lambda data, draw: flipped(
        data, draw.integers(8 * header_end(data), 8 * len(data))
    ),
    "one bit of the words": lambda data, draw: flipped(
        data, draw.integers(0, 8 * header_end(data))
    ),
    "eight random bytes of the words": scrambled,
    "a page of zeros": blanked,
    "two sectors exchanged": exchanged,
    "truncated": lambda data, draw: data[: draw.integers(0, len(data))],
    "a tail of zeros": unwritten_tail,
    "garbage appended": lambda data, draw: data + draw.bytes(draw.integers(1, 3000)),
}


def accepted_damages(data: bytes, kind: str, count: int) -> list[bytes]:
    draw = np.random.default_rng(list(kind.encode()))
    damages = (MUTATIONS[kind](data, draw) for _ in range(count))
    return [damaged for damaged in damages if damaged != data and not refusal(damaged)]


@pytest.mark.parametrize("kind", MUTATIONS)
def test_no_damage_is_ever_loaded(checkpoint_path: str, kind: str) -> None:
    assert not accepted_damages(Path(checkpoint_path).read_bytes(), kind, 220)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MUTATIONS)
def test_none_of_100_000_damages_is_ever_loaded(checkpoint_path: str, kind: str) -> None:
    assert not accepted_damages(Path(checkpoint_path).read_bytes(), kind, 11_200)
