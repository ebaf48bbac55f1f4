"""The record of a checkpoint file: its words and numbers as types, with one spelling as JSON in a safetensors header."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from torch import Tensor

from model.architectures import UnknownArchitecture, architecture
from model.container import pack
from model.drift import Usual
from model.members import MOST_MEMBERS, Member
from model.scaling import Scaler

FORMAT = 2
LARGEST_FILE = 256 << 20
LARGEST_HEADER = 2 << 20
NO_DIGEST = "0" * 64
REMEDY = "Take an undamaged copy or train again."

Read = TypeVar("Read")


class CheckpointError(ValueError):
    """A file is no checkpoint that can be used here; the message names the file and the difference."""

    exit_code = 4


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
    usual: Usual | None


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
