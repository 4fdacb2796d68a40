"""The digest of a value's meaning: equal for equal meaning, however it was written down."""

import hashlib
import json


def canonical(value: object) -> bytes:
    """The value as JSON with sorted keys and no spare white space (the idea of RFC 8785).

    Floats that are whole numbers are written as integers, so that `temperature: 0` and
    `temperature: 0.0` mean the same.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: object) -> str:
    """SHA-256 of the canonical form, as 64 hexadecimal characters."""
    return hashlib.sha256(canonical(value)).hexdigest()


def short(value: str) -> str:
    """The first 12 characters: enough for a person, and what git shows of a commit."""
    return value[:12]


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
