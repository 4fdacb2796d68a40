"""HTTP in and out: a request becomes the official message or is refused, as Google's proxy does."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from llmops.localcloud.vertex.definitions import Definitions, Rpc, Rule
from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.store import Document

_MAPS = {"labels", "trafficSplit"}
_SYSTEM_PARAMETERS = {"$alt", "alt", "key", "prettyPrint", "fields", "quotaUser", "$httpHeaders"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that was understood."""

    rpc: Rpc
    uri: str
    """The rule's template: where an RPC has several, it says which."""
    request: Document
    """The official message, as proto JSON with the names of enums."""

    def field(self, name: str) -> str:
        """A field that holds text, or the empty string."""
        return str(self.request.get(name) or "")


def read(
    definitions: Definitions,
    rule: Rule,
    values: Sequence[str],
    query: Sequence[tuple[str, str]],
    content: bytes,
) -> Call:
    """The call. Raises ApiError, naming the field, for what is not in the official message."""
    body = _json(content)
    message = definitions.message(rule.rpc.request)
    fields: Document = {}
    if rule.body == "*":
        fields = body
    elif rule.body:
        fields[_camel(rule.body)] = body
    elif body:
        raise _bad(f"{rule.rpc.rpc} takes no body")
    for path, value in zip(rule.variables, values, strict=True):
        _set(fields, path.split("."), value)
    for name, value in query:
        if name not in _SYSTEM_PARAMETERS:
            _set_typed(fields, message.DESCRIPTOR, name, value)
    try:
        parsed = json_format.ParseDict(fields, message(), descriptor_pool=definitions.pool)
    except json_format.ParseError as error:
        raise _bad(str(error)) from None
    return Call(rpc=rule.rpc, uri=rule.uri, request=as_document(definitions, parsed))


def fields(request: Document, prefix: str = "") -> Iterator[str]:
    """The paths of the fields that a request fills; what maps hold is not told apart."""
    for key, value in request.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and key not in _MAPS:
            yield from fields(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                yield from fields(each, f"{path}[].")
        else:
            yield path


def as_document(definitions: Definitions, message: Any) -> Document:  # noqa: ANN401 - any message
    """A message as proto JSON."""
    made: Document = json_format.MessageToDict(message, descriptor_pool=definitions.pool)
    return made


def write(definitions: Definitions, kind: str, document: Document, *, integers: bool) -> Document:
    """A document as the version of the message that was asked for has it.

    What that version does not know is left out; `integers` is `$alt=json;enum-encoding=int`.
    """
    message = json_format.ParseDict(
        document,
        definitions.message(kind)(),
        ignore_unknown_fields=True,
        descriptor_pool=definitions.pool,
    )
    made: Document = json_format.MessageToDict(
        message, use_integers_for_enums=integers, descriptor_pool=definitions.pool
    )
    return made


def _json(content: bytes) -> Document:
    if not content.strip():
        return {}
    try:
        body = json.loads(content)
    except ValueError:
        raise _bad("the body is not JSON") from None
    if not isinstance(body, dict):
        raise _bad("the body is not a JSON object")
    return body


def _set(fields: Document, path: Sequence[str], value: object) -> None:
    *outer, last = [_camel(step) for step in path]
    for step in outer:
        fields = fields.setdefault(step, {})
        if not isinstance(fields, dict):
            raise _bad(f"{step} is not a message")
    fields[last] = value


def _set_typed(fields: Document, descriptor: Any, name: str, value: str) -> None:  # noqa: ANN401
    """A query parameter, by the type that the message gives its field."""
    steps = name.split(".")
    field = None
    for step in steps:
        field = None if descriptor is None else _field(descriptor, step)
        if field is None:
            raise _bad(f'Unknown name "{name}": Cannot bind query parameter')
        descriptor = field.message_type
    typed: object = value
    if field is not None and field.cpp_type == field.CPPTYPE_BOOL:
        typed = value.lower() in ("true", "1")
    elif field is not None and field.cpp_type == field.CPPTYPE_ENUM and value.isdigit():
        typed = int(value)
    if field is not None and _repeated(field):
        target = fields
        for step in steps[:-1]:
            target = target.setdefault(_camel(step), {})
        target.setdefault(_camel(steps[-1]), []).append(typed)
    else:
        _set(fields, steps, typed)


def _field(descriptor: Any, name: str) -> Any:  # noqa: ANN401 - descriptors have no stubs
    found = descriptor.fields_by_name.get(name)
    return found or next((f for f in descriptor.fields if f.json_name == name), None)


def _repeated(field: Any) -> bool:  # noqa: ANN401 - as above
    return bool(field.is_repeated)


def _bad(detail: str) -> ApiError:
    return ApiError("INVALID_ARGUMENT", f"Invalid JSON payload received. {detail}")


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
