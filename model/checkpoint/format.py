"""Tensors and texts in the bytes of a safetensors file: the one place where such bytes are made and read."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor

from model.checkpoint.member import MOST_MEMBERS, Member
from model.checkpoint.scaler import Scaler, UsualRanges
from model.errors import CheckpointError, UnknownArchitecture
from model.features.table import FEATURE_NAMES
from model.networks.registry import architecture, unmade_network
from model.runtime import torch_threads


def pack(tensors: Mapping[str, Tensor], **texts: str) -> bytes:
    """Return the bytes of a file that holds the tensors and, in its header, the texts."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=texts)


def tensors_in(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file's bytes."""
    return load(data)


def text_in(data: bytes, name: str) -> str:
    """Return one of the texts of a file's bytes that are known to be whole."""
    text: str = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][name]
    return text


FORMAT = 2
LARGEST_FILE = 256 << 20
LARGEST_HEADER = 2 << 20
NO_DIGEST = "0" * 64
REMEDY = "Take an undamaged copy or train again."

Read = TypeVar("Read")


@dataclass(frozen=True)
class Golden:
    """One window's whole way, kept to check that a serving path computes what training computed.

    stamps (n,) in ns, bars (n, 5) open, high, low, close, volume; of the last bar: features (86,), scores (86,) after
    the scaler, and the probability of the window that ends there.
    """

    stamps: tuple[int, ...]
    bars: tuple[tuple[float, ...], ...]
    features: tuple[float, ...]
    scores: tuple[float, ...]
    probability: float


class TensorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a safetensors header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class Version(msgspec.Struct, frozen=True):
    """The one entry that a record of any format has."""

    format: int


class MemberRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The words and numbers of a member: all but its weights, with the config of its network as it stands in the file."""

    architecture: str
    network: msgspec.Raw
    seed: int
    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=100)]
    metrics: dict[str, float | None]
    history: list[dict[str, float | int]]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The words and numbers of a checkpoint file: everything but the weights, as JSON."""

    format: int
    digest: str
    feature_names: tuple[str, ...]
    members: Annotated[
        tuple[MemberRecord, ...], msgspec.Meta(min_length=1, max_length=MOST_MEMBERS)
    ]
    scaler: Scaler
    label: Literal["open", "close"]
    horizon: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    sequence_length: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    enter: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] | None
    exit: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] | None
    trained_until: str
    instrument: str | None
    bar_interval: Annotated[float, msgspec.Meta(gt=0)]
    timezone: str | None
    stamp: Literal["open", "close"]
    parts: dict[str, dict[str, str | float | int | None]]
    metrics: dict[str, float | None]
    config: dict[str, str | float | int | bool | None]
    versions: dict[str, str]
    golden: Golden | None
    usual: UsualRanges | None


def words_of(member: Member) -> MemberRecord:
    """Return a member as the record has it; CheckpointError where it cannot stand there."""
    return writable(_words, member, name=f"the member {member.name!r} of the checkpoint")


def _words(member: Member) -> MemberRecord:
    own = {name: getattr(member, name) for name in MemberRecord.__struct_fields__}
    network = msgspec.json.decode(
        msgspec.json.encode(member.network), type=type(member.network)
    )  # 1 as 1.0 where that is due
    return MemberRecord(**own | {"network": msgspec.Raw(msgspec.json.encode(asdict(network)))})


def encode(record: Record, members: Sequence[Member]) -> bytes:
    """Return the file's bytes for a record, whose digest is filled in, and its members: one SHA-256 over all of it.

    One metadata entry holds the whole record: the order of several would be left open by safetensors.
    """
    record = writable(_respelt, record, name="the checkpoint")
    weights = {
        prefix(number) + name: tensor
        for number, member in enumerate(members)
        for name, tensor in member.weights.items()
    }
    plain = _bytes(msgspec.structs.replace(record, digest=NO_DIGEST), weights)
    return _bytes(
        msgspec.structs.replace(record, digest=hashlib.sha256(plain).hexdigest()), weights
    )


def prefix(number: int) -> str:
    """Return what the names of a member's tensors begin with."""
    return f"{number}."


def _respelt(record: Record) -> Record:
    """Check the record's types and give every value its one spelling: 1 where a float is due is 1.0."""
    return msgspec.json.decode(msgspec.json.encode(record), type=Record)


def _bytes(record: Record, weights: dict[str, Tensor]) -> bytes:
    return pack(weights, checkpoint=msgspec.json.encode(record).decode())


def named(read: Callable[..., Read], *arguments: Any, name: str) -> Read:
    """Return what `read` returns; whatever a damaged file provokes in it, the caller sees one type with the file's name."""
    try:
        return read(*arguments)
    except CheckpointError as error:
        raise CheckpointError(f"{name} cannot be used: {error}") from error
    except Exception as error:
        _pass_on_want_of_memory(error)
        raise CheckpointError(
            f"{name} cannot be used: it is damaged ({str(error).rstrip('.')}). {REMEDY}"
        ) from error


def writable(make: Callable[..., Read], *arguments: Any, name: str) -> Read:
    """Return what `make` returns of what is to be written; where it fails, that cannot be written.

    Raises CheckpointError with the name, the reason and what to do.
    """
    try:
        return make(*arguments)
    except Exception as error:
        _pass_on_want_of_memory(error)
        reason = str(error).removesuffix(REMEDY).rstrip(" .")
        raise CheckpointError(
            f"{name} cannot be written: {reason}. "
            "Give every field a value that can be loaded again."
        ) from error


def _pass_on_want_of_memory(error: Exception) -> None:
    """Raise the error where it says nothing of the file; torch has its own for a MemoryError."""
    if isinstance(error, MemoryError) or (
        type(error) is RuntimeError and "allocate memory" in str(error)
    ):
        raise error


def network_of(words: MemberRecord) -> Any:
    """Return the config of a member's network, of the class that its architecture has here."""
    try:
        known = architecture(words.architecture)
    except UnknownArchitecture as error:
        raise CheckpointError(
            f"a member's {error} Do so before loading, or train again."
        ) from error
    config = msgspec.json.decode(words.network, type=known.config)
    if msgspec.json.encode(asdict(config)) != bytes(words.network):
        raise CheckpointError(
            f"its record has missing, repeated or differently written entries. {REMEDY}"
        )
    return config


def record_in(data: bytes, size: int) -> tuple[Record, dict[str, TensorEntry]]:
    """Return the record and the tensors' entries from the start of a file of `size` bytes: its header at least."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(LARGEST_HEADER, size - 8) or size > LARGEST_FILE:
        raise CheckpointError(
            f"it is not a safetensors file, or not a whole one ({size} bytes). {REMEDY}"
        )
    header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, msgspec.Raw])
    text = msgspec.json.decode(header.pop("__metadata__", b"{}"), type=dict[str, str]).get(
        "checkpoint"
    )
    if text is None:
        raise CheckpointError(
            "it is a safetensors file of another program. Name a file that model.train wrote."
        )
    return _record_of(text), {
        name: msgspec.json.decode(entry, type=TensorEntry) for name, entry in header.items()
    }


def _record_of(text: str) -> Record:
    version = msgspec.json.decode(text, type=Version).format
    if version != FORMAT:
        raise CheckpointError(
            f"it has format {version}, this program reads format {FORMAT}. "
            "Use the version that wrote it, or upgrade."
        )
    record = msgspec.json.decode(text, type=Record)
    if msgspec.json.encode(record).decode() != text:
        raise CheckpointError(
            f"its record has missing, repeated or differently written entries. {REMEDY}"
        )
    return record


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
    # One thread: a process forked after torch used several, as a pool of Backtrader's is, hangs in the next parallel
    # operation.
    with torch_threads(1):
        faulty = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if faulty:
        raise CheckpointError(
            f"{len(faulty)} tensors hold values that are not finite, the first is {faulty[0]}. {REMEDY}"
        )
