"""The checkpoint file: the one place where its bytes are made, and judged before they are used.

It is a safetensors file. The tensors are the weights of all members, and one text in the header, in
JSON, is the record: all else. Such a file holds numbers and words only; nothing in it can run.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
import torch
from msgspec import Raw, Struct
from safetensors.torch import load, save
from torch import Tensor

from model.bars.faults import COLUMNS
from model.bars.zones import known_zone
from model.checkpoint.member import Member
from model.checkpoint.record import FORMATS, MemberRecord, Record
from model.errors import CheckpointError, UnknownArchitecture
from model.features.context import require_columns
from model.labels.labelling import Labelling
from model.networks.registry import architecture, make_network_without_weights
from model.runtime import torch_threads, usual_torch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# In bytes. Sixteen members of the usual size take 38 MB; a hostile header, nested as deep as its
# size allows, is refused within a second.
LARGEST_FILE = 256 << 20
LARGEST_HEADER = 2 << 20
NO_DIGEST = "0" * 64  # stands in the digest's place while it is taken
REMEDY = "Take an undamaged copy or train again."
UNLIKE_SAVED = "its record has missing, repeated or differently written entries."

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name -> dtype, shape


class Version(Struct, frozen=True):
    """The one entry that a record of any format has."""

    format: int


class TensorEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """What a safetensors header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_file(path: str | Path) -> bytes:
    """Return the file's bytes; CheckpointError where it cannot be a checkpoint.

    Its header is judged before the rest is read: a large file of another kind does not fill the
    memory.
    """
    path = Path(path)
    remedy = "Name a file that model.train wrote."
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait, a device would never end
            raise CheckpointError(f"{path} cannot be read: it is not a file. {remedy}")
        with path.open("rb") as file:
            start = file.read(8 + LARGEST_HEADER)
            with checkpoint_errors(str(path)):
                record, entries = record_in(start, status.st_size)
                _require_tensors(entries, record)
                weights = sum(4 * math.prod(entry.shape) for entry in entries.values())
                end = 8 + int.from_bytes(start[:8], "little") + weights
                _require(
                    status.st_size == end,
                    f"it must be {end} bytes long, got {status.st_size}; it is not whole, or more "
                    "was written after it.",
                )
            return start + file.read(LARGEST_FILE)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. {remedy}") from error


@usual_torch()
def decode(data: bytes) -> tuple[Record, tuple[Member, ...]]:
    """Return what a file's bytes hold, after every check.

    To be called in `checkpoint_errors`: what a damaged file provokes in a library is not caught
    here. Each check may rely on those before it, and the weights are made last.
    """
    record, entries = record_in(data, len(data))
    _require_digest(data, record.digest)
    _require_features(record)
    _require_sense(record)
    _require_tensors(entries, record)
    weights = tensors_in(data)
    _require_finite(weights)
    members = []
    for number, member in enumerate(record.members):
        start = _prefix(number)
        own = {
            name.removeprefix(start): tensor
            for name, tensor in weights.items()
            if name.startswith(start)
        }
        content = msgspec.structs.asdict(member)
        members.append(Member(**content | {"network": network_of(member), "weights": own}))
    return record, tuple(members)


@contextmanager
def checkpoint_errors(name: str) -> Iterator[None]:
    """Raise whatever a damaged file provokes in the body as a CheckpointError with its name.

    Want of memory is no fault of the file, and passes.
    """
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{name} cannot be used: {error}") from error
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        reason = str(error).rstrip(".")
        raise CheckpointError(
            f"{name} cannot be used: it is damaged ({reason}). {REMEDY}"
        ) from error


@contextmanager
def writing_errors(name: str) -> Iterator[None]:
    """Raise whatever a value that no file can hold provokes in the body as a CheckpointError.

    name: what cannot be written then. It is not called damaged: no file is there yet.
    """
    try:
        yield
    except Exception as error:
        if _is_out_of_memory(error):
            raise
        reason = str(error).removesuffix(REMEDY).rstrip(" .")
        raise CheckpointError(
            f"{name} cannot be written: {reason}. "
            "Give every field a value that can be loaded again."
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says nothing of the file; torch has its own for a MemoryError."""
    return isinstance(error, MemoryError) or (
        type(error) is RuntimeError and "allocate memory" in str(error)
    )


def record_in(data: bytes, size: int) -> tuple[Record, dict[str, TensorEntry]]:
    """Return the record and the tensors' entries of a file of `size` bytes.

    data: its start, which holds the header at least.
    """
    length = int.from_bytes(data[:8], "little")
    _require(
        0 < length <= min(LARGEST_HEADER, size - 8) and size <= LARGEST_FILE,
        f"it is not a safetensors file, or not a whole one ({size} bytes).",
    )
    # Raw: of nested lists and long texts nothing is made before its own type is known.
    header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, Raw])
    texts = msgspec.json.decode(header.pop("__metadata__", b"{}"), type=dict[str, str])
    if "checkpoint" not in texts:
        raise CheckpointError(
            "it is a safetensors file of another program. Name a file that model.train wrote."
        )
    text = texts["checkpoint"]
    version = msgspec.json.decode(text, type=Version).format
    if version not in FORMATS:
        raise CheckpointError(
            f"it has format {version}, this program reads the formats "
            f"{min(FORMATS)} to {max(FORMATS)}. Use the version that wrote it, or upgrade."
        )
    written = msgspec.json.decode(text, type=FORMATS[version])
    # What is read must be all that stands there: one content has one spelling.
    _require(msgspec.json.encode(written).decode() == text, UNLIKE_SAVED)
    record = Record(**msgspec.structs.asdict(written))
    entries = {name: msgspec.json.decode(entry, type=TensorEntry) for name, entry in header.items()}
    return record, entries


def network_of(member: MemberRecord) -> DataclassInstance:
    """Return the config of a member's network, of the class that its architecture has here.

    That class bounds its numbers: a network of terabytes is refused by its first words.
    """
    try:
        known = architecture(member.architecture)
    except UnknownArchitecture as error:
        raise CheckpointError(
            f"a member's {error} Do so before loading, or train again."
        ) from error
    config = msgspec.json.decode(member.network, type=known.config)
    _require(msgspec.json.encode(asdict(config)) == bytes(member.network), UNLIKE_SAVED)
    return config


def _require(holds: bool, message: str) -> None:
    """Raise a CheckpointError with the message and what to do about a damaged file."""
    if not holds:
        raise CheckpointError(f"{message} {REMEDY}")


def _require_digest(data: bytes, stated: str) -> None:
    """Compare the digest over the file with the one that it states.

    It is taken with zeros in its own place. It tells damage, not forgery: whoever changes a file
    can write another one, so that every other check must hold without it.
    """
    place = data.find(stated.encode())
    content = memoryview(data)  # slices without copying the weights
    found = hashlib.sha256(content[:place])
    found.update(NO_DIGEST.encode())
    found.update(content[place + len(NO_DIGEST) :])
    _require(
        found.hexdigest() == stated,
        "its content does not have the digest it states; it is damaged or was changed.",
    )


def _require_features(record: Record) -> None:
    """Check that features, scaler, windows and networks of the record are those of one another."""
    names, known = record.feature_names, record.layout.names
    count = len(known)
    _require(count > 0, "it must have features, got none.")
    if names != known:
        foreign = sorted(set(names) - set(known))
        missing = sorted(set(known) - set(names))
        moved = [
            f"{theirs} for {ours}"
            for theirs, ours in zip(names, known, strict=False)
            if theirs != ours
        ]
        raise CheckpointError(
            f"its features are not the ones computed here (unknown: {foreign[:3]}, "
            f"missing: {missing[:3]}, {len(moved)} out of place: {moved[:1]}). "
            "Use the version that wrote it, or train again."
        )
    scaled, rows = len(record.scaler.mean), record.sequence_length
    for member in record.members:
        # A network of the user's own need not know the shape of its windows.
        network = network_of(member)
        features = getattr(network, "features", count)
        length = getattr(network, "sequence_length", rows)
        _require(
            scaled == features == count,
            f"scaler and network must have {count} features, got {scaled} and {features}.",
        )
        _require(
            length == rows,
            f"sequence_length must be that of the network, got {rows} and {length}.",
        )
    if record.usual is not None:
        ranges = len(record.usual.low)
        _require(ranges == count, f"usual ranges must be those of {count} features, got {ranges}.")


def _require_sense(record: Record) -> None:
    """Check what the types of the entries leave open."""
    # One spelling, so that two files of the same training have the same bytes.
    until = pd.Timestamp(record.trained_until)
    _require(
        str(until) == record.trained_until and not pd.isna(until) and until.tz is None,
        f"trained_until must be a timestamp without zone, got {record.trained_until!r}.",
    )
    enter, exit = record.enter, record.exit
    _require(
        (enter is None) == (exit is None),
        f"enter and exit must both be chosen or neither, got {enter} and {exit}.",
    )
    _require(
        enter is None or exit is None or exit <= enter,
        f"exit must not be above enter, got {exit} and {enter}.",
    )
    # A label of the one kind with the figures of the other, or a trade without an end.
    Labelling(record.label, record.horizon, record.barrier or None, record.own_label or None)
    for series in record.context.series if record.context else ():
        require_columns(series.columns, series.title)
        known_zone(series.clock.zone or "UTC")
    total = 1.0 if record.hours is None else math.fsum(record.hours)
    _require(
        math.isclose(total, 1.0, abs_tol=1e-6),
        f"hours must be shares that sum to 1, got a sum of {total:g}.",
    )
    # Arrays of other shapes would be stretched to fit where they are compared.
    golden = record.golden
    if golden is not None:
        rows = record.layout
        width = len(COLUMNS) + len(record.context.names if record.context else ())
        bars, features = rows.lookback + record.sequence_length - 1, len(rows.names)
        found = len(golden.stamps), len(golden.bars), len(golden.features), len(golden.scores)
        widths = sorted({len(bar) for bar in golden.bars})
        _require(
            found == (bars, bars, features, features) and widths == [width],
            f"its golden window must have {bars} timestamps, {bars} bars of {width} values, "
            f"{features} features and as many scores, got {found} and bars of {widths[:3]} values.",
        )


def _require_tensors(entries: Mapping[str, TensorEntry], record: Record) -> None:
    """Compare names, dtypes and shapes with those of the networks that the record describes.

    Neither side takes memory: the networks are made without weights, the file's are not read.
    """
    found: Tensors = {name: (entry.dtype, entry.shape) for name, entry in entries.items()}
    # One by one: no more networks are made than have their tensors in the file.
    for number, member in enumerate(record.members):
        start = _prefix(number)
        network = make_network_without_weights(member.architecture, network_of(member))
        expected: Tensors = {
            start + name: ("F32", tuple(tensor.shape))
            for name, tensor in network.state_dict().items()
        }
        own = {name: found.pop(name) for name in [*found] if name.startswith(start)}
        _require_equal(own, expected)
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


def _require_finite(weights: Mapping[str, Tensor]) -> None:
    # One thread: a process forked after torch used several, as a pool of Backtrader's is, hangs in
    # the next parallel operation.
    with torch_threads(1):
        faulty = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if faulty:
        raise CheckpointError(
            f"{len(faulty)} tensors hold values that are not finite, the first is {faulty[0]}. "
            f"{REMEDY}"
        )


@usual_torch()
def encode(record: Record, members: Sequence[Member]) -> tuple[bytes, str]:
    """Return the bytes of a file and their digest, one SHA-256 over all of it.

    What could not be loaded is never written: the bytes are read again with every check.

    Parameters
    ----------
    record
        Its digest is filled in.
    members
        Those whose weights go with it.

    Raises
    ------
    CheckpointError
        With what cannot be written.
    """
    weights = {
        _prefix(number) + name: tensor
        for number, member in enumerate(members)
        for name, tensor in member.weights.items()
    }
    with writing_errors("the checkpoint"):
        # Types are checked and every value gets its one spelling: 1 where a float is due is 1.0.
        record = msgspec.json.decode(msgspec.json.encode(record), type=Record)
        digest = hashlib.sha256(_bytes(record, NO_DIGEST, weights)).hexdigest()
        data = _bytes(record, digest, weights)
        decode(data)
    return data, digest


def _bytes(record: Record, digest: str, weights: Mapping[str, Tensor]) -> bytes:
    # One text holds the whole record: the order of several would be left open by safetensors. What
    # was read from an older format is written in that again, so that its digest stays.
    content = msgspec.structs.asdict(record) | {"digest": digest}
    kind = FORMATS[record.format]
    written = kind(**{name: content.pop(name) for name in kind.__struct_fields__})
    defaults = {field.name: field.default for field in msgspec.structs.fields(Record)}
    for name, value in content.items():
        _require(value == defaults[name], f"format {record.format} cannot hold `{name}`.")
    return pack(weights, checkpoint=msgspec.json.encode(written).decode())


def member_record(member: Member) -> MemberRecord:
    """Return a member as the record has it.

    Raises CheckpointError with the member's name where it cannot stand there.
    """
    with writing_errors(f"the member {member.name!r} of the checkpoint"):
        own = {name: getattr(member, name) for name in MemberRecord.__struct_fields__}
        # There and back, so that 1 becomes 1.0 where a float is due.
        text = msgspec.json.encode(member.network)
        network = msgspec.json.decode(text, type=type(member.network))
        return MemberRecord(**own | {"network": Raw(msgspec.json.encode(asdict(network)))})


def _prefix(number: int) -> str:
    return f"{number}."


@usual_torch()
def pack(tensors: Mapping[str, Tensor], **texts: str) -> bytes:
    """Return the bytes of a file that holds the tensors and, in its header, the texts."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=texts)


@usual_torch()
def tensors_in(data: bytes) -> dict[str, Tensor]:
    return load(data)


def text_in(data: bytes, name: str) -> str:
    """Return one of the texts of a file's bytes that are known to be whole."""
    text: str = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][name]
    return text
