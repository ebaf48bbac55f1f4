"""Files that `save` would not write, and the message with which bytes are refused."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.checkpoint.format import NO_DIGEST, checkpoint_errors, decode
from model.errors import CheckpointError

JsonObject = dict[str, Any]

REMEDIES = (
    "Take an undamaged copy or train again.",
    "Name a file that model.train wrote.",
    "or train again.",
    "or upgrade.",
)


def refusal(data: bytes) -> str:
    """Return the message with which the bytes are refused; "" if they are not."""
    try:
        with checkpoint_errors("FILE"):
            decode(data)
    except CheckpointError as error:
        message = str(error)
        assert message.startswith("FILE cannot be used: ") and message.endswith(REMEDIES)
        return message
    return ""


def record_in(data: bytes) -> JsonObject:
    length = int.from_bytes(data[:8], "little")
    record: JsonObject = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["checkpoint"])
    return record


def network_in(record: JsonObject) -> JsonObject:
    """Return the config of the first member's network."""
    network: JsonObject = record["members"][0]["network"]
    return network


def forged(
    data: bytes,
    edit: Callable[[JsonObject], object] = dict,
    weights: dict[str, Tensor] | None = None,
    rewrite: Callable[[str], str] = str,
) -> bytes:
    """Return the file with a record or weights that `save` would not write.

    Its digest is right, as it is in a file that somebody made to harm.
    """
    record = record_in(data) | {"digest": NO_DIGEST}
    edit(record)
    text = rewrite(msgspec.json.encode(record).decode())
    plain = save_tensors(
        load_tensors(data) if weights is None else weights, metadata={"checkpoint": text}
    )
    return plain.replace(NO_DIGEST.encode(), hashlib.sha256(plain).hexdigest().encode(), 1)
