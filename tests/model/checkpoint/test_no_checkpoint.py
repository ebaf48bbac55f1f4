"""Files that are no checkpoint at all: refused by their first bytes, or by their size, unread."""

import os
import subprocess
from pathlib import Path

import pytest

from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from tests.helpers.forging import refusal


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "missing.ckpt",
            "missing.ckpt cannot be read: No such file or directory. "
            "Name a file that model.train wrote.",
        ),
        (".", "cannot be read: it is not a file. Name a file that model.train wrote."),
        ("pipe", "pipe cannot be read: it is not a file."),
        (
            "text",
            "text cannot be used: it is not a safetensors file, or not a whole one (11 bytes).",
        ),
        (
            "empty",
            "empty cannot be used: it is not a safetensors file, or not a whole one (0 bytes).",
        ),
    ],
)
def test_what_is_no_checkpoint_at_all_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "text").write_text("no weights!")
    (tmp_path / "empty").touch()
    subprocess.run(["mkfifo", tmp_path / "pipe"], check=True)
    with pytest.raises(CheckpointError) as refused:
        Checkpoint.load(tmp_path / name)
    assert reason in str(refused.value)


def test_a_file_that_something_was_written_after_is_refused_unread(
    small: bytes, tmp_path: Path
) -> None:
    (tmp_path / "long.ckpt").write_bytes(small + b"more")
    message = (
        f"it must be {len(small)} bytes long, got {len(small) + 4}; "
        "it is not whole, or more was written after it."
    )
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(tmp_path / "long.ckpt")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (256 << 20, "bytes long, got 268435456; it is not whole"),
        ((256 << 20) + 1, "it is not a safetensors file, or not a whole"),
    ],
)
def test_a_file_larger_than_any_checkpoint_is_no_safetensors_file(
    small: bytes, tmp_path: Path, size: int, reason: str
) -> None:
    (tmp_path / "large.ckpt").write_bytes(small)
    os.truncate(tmp_path / "large.ckpt", size)  # a hole: it takes no room
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.load(tmp_path / "large.ckpt")


NO_FILE_OF_THE_KIND = "it is not a safetensors file, or not a whole one"


@pytest.mark.parametrize(
    ("length", "content", "reason"),
    [
        (2 << 20, b" " * (2 << 20), "it is damaged"),
        ((2 << 20) + 1, b" " * ((2 << 20) + 1), NO_FILE_OF_THE_KIND),
        (0, b"{}", NO_FILE_OF_THE_KIND),
        (1, b"{}", "it is damaged"),
        (2, b"{}", "of another program"),
        (3, b"{}", NO_FILE_OF_THE_KIND),
    ],
)
def test_a_header_is_read_from_one_byte_to_two_mebibytes(
    length: int, content: bytes, reason: str
) -> None:
    assert reason in refusal(length.to_bytes(8, "little") + content)


def test_a_header_that_says_more_of_a_tensor_is_refused(small: bytes) -> None:
    header = (
        small[8 : 8 + int.from_bytes(small[:8], "little")]
        .rstrip()
        .replace(b'"dtype"', b'"colour":1,"dtype"', 1)
    )
    assert "unknown field `colour`" in refusal(
        len(header).to_bytes(8, "little") + header + bytes(len(small))
    )


def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(CheckpointError, match="/dev/zero cannot be read: it is not a file"):
        Checkpoint.load("/dev/zero")
