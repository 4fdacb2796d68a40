"""Filters, orders and pages of lists, as Google's API conventions have them (pure)."""

import base64
import binascii
import hashlib
import json
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import lark

from llmops.localcloud.vertex.errors import ApiError

Document = dict[str, Any]
Predicate = Callable[[Document], bool]

_LARGEST_PAGE = 1000
_DEFAULT_PAGE = 100

# AIP-160, without functions: AND, OR, NOT, `-`, comparisons, `:` (has), parentheses. OR binds
# tighter than AND, as the AIP says. Two terms without a word between them are both required.
_GRAMMAR = r"""
start: [expression]
expression: sequence ("AND" sequence)*
sequence: factor factor*
factor: term ("OR" term)*
term: NEGATION? simple
simple: restriction | "(" expression ")"
restriction: member (COMPARATOR value)?
member: NAME ("." (NAME | STRING))*
value: STRING | NAME ("." NAME)* -> text
NEGATION: /NOT\s+/ | "-"
COMPARATOR: "<=" | ">=" | "!=" | "<" | ">" | "=" | ":"
NAME: /(?!(?:AND|OR|NOT)\b)[^\s().:=<>!"',-][^\s().:=<>!"',]*/
STRING: /"(?:[^"\\]|\\.)*"/ | /'(?:[^'\\]|\\.)*'/
%ignore /\s+/
"""


@lru_cache(maxsize=256)
def matcher(text: str) -> Predicate:
    """Whether a document passes the filter (AIP-160).

    Raises ApiError when the filter cannot be understood.
    """
    if not text.strip():
        return lambda _: True
    try:
        tree = _parser().parse(text)
    except lark.exceptions.LarkError as error:
        at = getattr(error, "column", None)
        where = f" at position {at}" if isinstance(at, int) and at > 0 else ""
        raise ApiError("INVALID_ARGUMENT", f"Invalid filter{where}: {text}") from None
    made: Predicate = _Compiler().transform(tree)
    return made


@cache
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="earley", lexer="dynamic")


class _Compiler(lark.Transformer[lark.Token, Any]):
    """The tree, as one predicate."""

    def start(self, parts: list[Predicate | None]) -> Predicate:
        return parts[0] or (lambda _: True)

    def expression(self, parts: list[Predicate]) -> Predicate:
        if len(parts) == 1:
            return parts[0]
        return lambda document: all(part(document) for part in parts)

    sequence = expression

    def factor(self, parts: list[Predicate]) -> Predicate:
        if len(parts) == 1:
            return parts[0]
        return lambda document: any(part(document) for part in parts)

    def term(self, parts: list[Any]) -> Predicate:
        inner: Predicate = parts[-1]
        return (lambda document: not inner(document)) if len(parts) > 1 else inner

    def simple(self, parts: list[Predicate]) -> Predicate:
        return parts[0]

    def restriction(self, parts: list[Any]) -> Predicate:
        path: list[str] = parts[0]
        if len(parts) == 1 or parts[1] is None:
            return lambda document: bool(_at(document, path))
        comparator, value = str(parts[1]), str(parts[2])
        if comparator in ("=", "!="):
            same = _same_as(value)
            wanted = comparator == "="
            return lambda document: same(_plain(_at(document, path))) == wanted
        return lambda document: _holds(_at(document, path), comparator, value)

    def member(self, parts: list[lark.Token]) -> list[str]:
        return [_unquoted(part) for part in parts]

    def value(self, parts: list[lark.Token]) -> str:
        return _unquoted(parts[0])

    def text(self, parts: list[lark.Token]) -> str:
        return ".".join(parts)


def _unquoted(token: str) -> str:
    if token[:1] in ("'", '"') and token[-1:] == token[:1]:
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return str(token)


def _at(document: Document, path: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON
    value: Any = document
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step, value.get(_camel(step)))
    return value


def _holds(found: Any, comparator: str, wanted: str) -> bool:  # noqa: ANN401 - any JSON
    if comparator == ":":
        if wanted == "*":
            return found is not None
        if isinstance(found, dict):
            return wanted in found
        if isinstance(found, list):
            return wanted in [str(each) for each in found]
        return wanted.lower() in str(found or "").lower()
    if found is None:
        return False
    one, other = _comparable(found, wanted)
    compared = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    return bool(compared[comparator](one, other))


def _same_as(wanted: str) -> Callable[[str], bool]:
    """Equality, where a star stands for anything."""
    if "*" not in wanted:
        return wanted.__eq__
    pattern = re.compile(".*".join(map(re.escape, wanted.split("*"))), re.DOTALL)
    return lambda text: pattern.fullmatch(text) is not None


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _comparable(found: Any, wanted: str) -> tuple[Any, Any]:  # noqa: ANN401 - any JSON
    try:
        return float(found), float(wanted)
    except (TypeError, ValueError):
        return str(found), wanted


def ordered(documents: Sequence[Document], order: str) -> list[Document]:
    """The documents by `field, other_field desc` (AIP-132).

    Raises ApiError for an order that cannot be understood.
    """
    found = list(documents)
    for part in reversed([part.strip() for part in order.split(",") if part.strip()]):
        match = re.fullmatch(r"([\w.]+)(?:\s+(asc|desc))?", part)
        if not match:
            raise ApiError("INVALID_ARGUMENT", f"Invalid order_by: {order}")
        path = match[1].split(".")
        found.sort(key=lambda each: _sortable(_at(each, path)), reverse=match[2] == "desc")
    return found


def _sortable(value: Any) -> tuple[int, float, str]:  # noqa: ANN401 - any JSON
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, str(value))


def page(
    documents: Sequence[Document], size: int, token: str, query: str
) -> tuple[list[Document], str]:
    """One page and the token of the next, empty on the last (AIP-158).

    `query` is what the list was asked with: a token is good for the same question only. Raises
    ApiError for a negative size and for a token that is not of this list.
    """
    if size < 0:
        raise ApiError("INVALID_ARGUMENT", "page_size must not be negative")
    size = min(size or _DEFAULT_PAGE, _LARGEST_PAGE)
    mark = hashlib.sha256(query.encode()).hexdigest()[:8]
    start = 0
    if token:
        try:
            start, of = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, binascii.Error, TypeError):
            raise ApiError("INVALID_ARGUMENT", "page_token is invalid") from None
        if of != mark:
            raise ApiError("INVALID_ARGUMENT", "page_token is of another request")
    end = start + size
    following = json.dumps([end, mark]).encode()
    more = base64.urlsafe_b64encode(following).decode() if end < len(documents) else ""
    return list(documents[start:end]), more


def masked(current: Document, change: Document, mask: str) -> Document:
    """The document with the fields of the mask taken from the change (AIP-134, AIP-161).

    An empty mask means every field that the change holds. Raises ApiError for output-only fields.
    """
    paths = [path for path in mask.split(",") if path] or [
        key for key in change if key not in ("name", "etag")
    ]
    if paths == ["*"]:
        paths = list(change)
    result = json.loads(json.dumps(current))
    for path in paths:
        steps = [_camel(step) for step in path.split(".")]
        if steps[0] in ("name", "createTime", "updateTime", "etag"):
            raise ApiError("INVALID_ARGUMENT", f"{path} cannot be updated")
        target, source = result, change
        for step in steps[:-1]:
            target = target.setdefault(step, {})
            source = source.get(step) or {}
        if steps[-1] in source:
            target[steps[-1]] = source[steps[-1]]
        else:
            target.pop(steps[-1], None)
    return dict(result)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
