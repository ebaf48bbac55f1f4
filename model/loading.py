"""Loading checkpoint files: what is checked of one beyond its types, its digest, sense, features, tensors and finite numbers."""

import hashlib
import math
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from model.architectures import unmade_network
from model.container import tensors_in
from model.features import FEATURE_NAMES
from model.members import Member
from model.record import (
    LARGEST_FILE,
    LARGEST_HEADER,
    NO_DIGEST,
    REMEDY,
    CheckpointError,
    MemberRecord,
    Record,
    TensorEntry,
    named,
    network_of,
    prefix,
    record_in,
    writable,
)

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name -> dtype, shape


def read_file(path: str | Path) -> bytes:
    """Return the file's bytes; CheckpointError where it cannot be one of ours.

    Its header is judged before the rest is read: a large file of another kind does not fill the memory.
    """
    path = Path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would wait, a device would never end
            raise CheckpointError(
                f"{path} cannot be read: it is not a file. Name a file that model.train wrote."
            )
        with path.open("rb") as file:
            start = file.read(8 + LARGEST_HEADER)
            named(_require_worth, start, about.st_size, name=str(path))
            return start + file.read(LARGEST_FILE)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}. Name a file that model.train wrote."
        ) from error


def _require_worth(start: bytes, size: int) -> None:
    """Refuse, from the start of a file alone, one whose rest cannot be the weights of its network."""
    record, entries = record_in(start, size)
    _require_tensors(entries, record)
    end = (
        8
        + int.from_bytes(start[:8], "little")
        + sum(4 * math.prod(entry.shape) for entry in entries.values())
    )
    if size != end:
        raise CheckpointError(
            f"it must be {end} bytes long, got {size}; it is not whole, or more was written after it. {REMEDY}"
        )


def decode(data: bytes, name: str) -> tuple[Record, tuple[Member, ...]]:
    """Return what a file's bytes hold, after every check; CheckpointError with `name` and the reason otherwise."""
    return named(_checked, data, name=name)


def require_loadable(data: bytes) -> Record:
    """Return the record of bytes to be written; CheckpointError where they could not be loaded."""
    return writable(_checked, data, name="the checkpoint")[0]


def _checked(data: bytes) -> tuple[Record, tuple[Member, ...]]:
    record, entries = record_in(data, len(data))
    _require_digest(data, record.digest)
    _require_features(record)
    _require_sense(record)
    _require_tensors(entries, record)
    weights = tensors_in(data)
    _require_finite(weights)
    return record, tuple(
        _member(words, prefix(number), weights) for number, words in enumerate(record.members)
    )


def _member(words: MemberRecord, start: str, weights: dict[str, Tensor]) -> Member:
    own = {name: getattr(words, name) for name in MemberRecord.__struct_fields__} | {
        "network": network_of(words)
    }
    return Member(
        weights={
            name.removeprefix(start): tensor
            for name, tensor in weights.items()
            if name.startswith(start)
        },
        **own,
    )


def _require_digest(data: bytes, stated: str) -> None:
    """Compare the digest over the whole file, taken with zeros in its own place, with the one the file states."""
    place = data.find(stated.encode())
    content = memoryview(data)  # slices without copying the weights
    found = hashlib.sha256(content[:place])
    found.update(NO_DIGEST.encode())
    found.update(content[place + len(NO_DIGEST) :])
    if found.hexdigest() != stated:
        raise CheckpointError(
            f"its content does not have the digest it states; it is damaged or was changed. {REMEDY}"
        )


def _require_sense(record: Record) -> None:
    """Check what the types of the entries leave open."""
    until = pd.Timestamp(record.trained_until)
    if str(until) != record.trained_until or pd.isna(until) or until.tz is not None:
        raise CheckpointError(
            f"trained_until must be a stamp without zone, got {record.trained_until!r}. {REMEDY}"
        )
    if (record.enter is None) != (record.exit is None):
        raise CheckpointError(
            f"enter and exit must both be chosen or neither, got {record.enter} and {record.exit}. {REMEDY}"
        )
    if record.enter is not None and record.exit is not None and record.exit > record.enter:
        raise CheckpointError(
            f"exit must not be above enter, got {record.exit} and {record.enter}. {REMEDY}"
        )


def _require_features(record: Record) -> None:
    names = record.feature_names
    if names != FEATURE_NAMES:
        foreign, missing = (
            sorted(set(names) - set(FEATURE_NAMES)),
            sorted(set(FEATURE_NAMES) - set(names)),
        )
        moved = [
            f"{theirs} for {ours}" for theirs, ours in zip(names, FEATURE_NAMES) if theirs != ours
        ]
        raise CheckpointError(
            f"its features are not the ones computed here (unknown: {foreign[:3]}, missing: {missing[:3]}, "
            f"{len(moved)} out of place: {moved[:1]}). Use the version that wrote it, or train again."
        )
    for words in record.members:
        _require_shape(record, network_of(words))


def _require_shape(record: Record, network: Any) -> None:
    """Check that a network reads windows of the record's shape, as far as its config states one."""
    features, length = (
        getattr(network, "features", len(FEATURE_NAMES)),
        getattr(network, "sequence_length", record.sequence_length),
    )
    if not len(record.scaler.mean) == features == len(FEATURE_NAMES):
        raise CheckpointError(
            f"scaler and network must have {len(FEATURE_NAMES)} features, "
            f"got {len(record.scaler.mean)} and {features}. {REMEDY}"
        )
    if record.usual is not None and len(record.usual.low) != len(FEATURE_NAMES):
        raise CheckpointError(
            f"usual ranges must be those of {len(FEATURE_NAMES)} features, got {len(record.usual.low)}. {REMEDY}"
        )
    if length != record.sequence_length:
        raise CheckpointError(
            f"sequence_length must be that of the network, got {record.sequence_length} and {length}. {REMEDY}"
        )


def _require_tensors(entries: dict[str, TensorEntry], record: Record) -> None:
    """Compare names, dtypes and shapes with those of the networks that the record describes, before any tensor is made."""
    found: Tensors = {name: (entry.dtype, entry.shape) for name, entry in entries.items()}
    for number, words in enumerate(
        record.members
    ):  # one by one: no more networks are made than have their tensors
        network = unmade_network(words.architecture, network_of(words))
        expected = {
            prefix(number) + name: ("F32", tuple(tensor.shape))
            for name, tensor in network.state_dict().items()
        }
        _require_equal(
            {name: found.pop(name) for name in [*found] if name.startswith(prefix(number))},
            expected,
        )
    _require_equal(found, {})


def _require_equal(found: Tensors, expected: Tensors) -> None:
    differing = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if differing:
        name = differing[0]
        raise CheckpointError(
            f"{len(differing)} tensors are not those of its networks; "
            f"{name} must be {expected.get(name)}, got {found.get(name)}. {REMEDY}"
        )


def _require_finite(weights: dict[str, Tensor]) -> None:
    faulty = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if faulty:
        raise CheckpointError(
            f"{len(faulty)} tensors hold values that are not finite, the first is {faulty[0]}. {REMEDY}"
        )
