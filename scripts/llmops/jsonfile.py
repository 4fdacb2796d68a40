"""Values that the verbs leave for one another as JSON: written whole, read back typed."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from llmops.errors import UserError
from llmops.wholefile import replacing

T = TypeVar("T")


def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - whatever type the caller keeps
    return TypeAdapter(kind)


def dump(value: object, path: Path) -> None:
    """Writes the value, a dataclass, as JSON: whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(_adapter(type(value)).dump_json(value, indent=1))


def read(kind: type[T], path: Path, *, made_by: str) -> T:
    """The value that `dump` wrote.

    Raises UserError, naming the command that makes it, when there is none or it is not readable.
    """
    try:
        value: T = _adapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError("there is nothing here yet", path=path, fix=made_by) from None
    except ValueError as error:
        fix = f"run it again: {made_by}"
        raise UserError(f"this is not what {made_by} writes: {error}", path=path, fix=fix) from None
    return value
