"""The format of a file of JSON as the tests freeze it."""

from typing import Any

import msgspec


def format_of(kind: type) -> Any:
    """Return the JSON Schema of a type, without the words that describe it: they may change."""
    return _without_words(msgspec.to_builtins(msgspec.json.schema(kind)))


def columns_of(kind: type) -> list[str]:
    """Return the columns of a table whose rows have this type."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _without_words(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            name: _without_words(value)
            for name, value in part.items()
            if name != "description" or not isinstance(value, str)
        }
    return [_without_words(value) for value in part] if isinstance(part, list) else part
