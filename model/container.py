"""Tensors and texts in the bytes of a safetensors file: the one place where such bytes are made and read."""

import json
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor


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
