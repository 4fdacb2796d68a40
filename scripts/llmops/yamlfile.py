"""What a YAML file says, and on which line it says it."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Strict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from llmops.errors import UserError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# Strict: YAML's "0.5" in quotes is text, and `yes` is a truth value; neither is a number.
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]


class _UniqueKeys(_Loader):  # type: ignore[misc, valid-type]
    """libyaml's safe loader, which refuses a mapping that says the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's own signature
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} stands here twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


class Written(BaseModel):
    """A value that a person writes in YAML: closed, frozen, and helpful about misspelled keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _name_the_near_key(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in data:
            if key not in known and key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else "known keys: " + ", ".join(sorted(known))
                )
                raise PydanticCustomError(
                    "unknown_key", "unknown key '{key}': {hint}", {"key": str(key), "hint": hint}
                )
        return data


def load(text: str, path: str) -> Any:  # noqa: ANN401 - what YAML holds is known after parsing only
    """The value in `text`.

    Raises UserError with `path` and the line when it is not YAML or a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        message = f"this is not valid YAML: {error.problem or error.context}"
        fix = "correct the indentation, quotes or brackets near that line"
        raise UserError(message, path=path, line=line, fix=fix) from None
    except yaml.YAMLError as error:
        raise UserError(f"this is not valid YAML: {error}", path=path) from None


T = TypeVar("T", bound=Written)


def parse(text: str, path: str, model: type[T]) -> T:
    """The file as a `model`.

    Raises UserError with the line of the first thing wrong, and the count of the others.
    """
    return check(load(text, path), model, text=text, path=path)


def parse_list(text: str, path: str, model: type[T]) -> tuple[T, ...]:
    """The file, which holds a list, as `model`s. Raises UserError like `parse`."""
    value = load(text, path)
    if not isinstance(value, list):
        raise UserError(f"expected a list, found {_kind(value)}", path=path, line=1)
    return tuple(
        check(item, model, text=text, path=path, within=(index,))
        for index, item in enumerate(value)
    )


def check(
    value: object, model: type[T], *, text: str, path: str, within: tuple[int, ...] = ()
) -> T:
    """`value`, which stands in `text` at `within`, as a `model`. Raises UserError with its line."""
    if not isinstance(value, dict):
        message = (
            f"expected a mapping with the keys of a {model.__name__.lower()}, found {_kind(value)}"
        )
        raise UserError(message, path=path, line=locate(text, within).line or 1)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _first_problem(error.errors(include_url=False), text, path, within) from None


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a value stands in a YAML text."""

    line: int | None
    """From 1; None where the text could not be read."""
    steps: tuple[str, ...]
    """The keys and indices that led there."""


def locate(text: str, steps: Sequence[object]) -> Location:
    """Where the value at `steps` (keys and indices) stands.

    Steps that the text does not have, such as a union's branch in pydantic's locations, are
    passed over.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return Location(line=None, steps=())
    line = None if node is None else node.start_mark.line + 1
    taken: list[str] = []
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, item) for key, item in node.value if key.value == str(step)), None)
            if found is None:
                continue
            key, node = found
            line = key.start_mark.line + 1
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            continue
        taken.append(str(step))
    return Location(line=line, steps=tuple(taken))


def _first_problem(
    problems: Sequence[ErrorDetails], text: str, path: str, within: tuple[int, ...]
) -> UserError:
    # A misspelled key also leaves the right one missing: the misspelling is the better message.
    first = min(problems, key=lambda problem: problem["type"] != "unknown_key")
    place = locate(text, (*within, *first["loc"]))
    line = place.line
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unknown_key":
        line = locate(text, (*within, *first["loc"], first["ctx"]["key"])).line
    elif first["type"] == "missing":
        message = f"the key '{first['loc'][-1]}' is missing"
    elif not isinstance(first["input"], dict | list):
        message = f"{message[0].lower()}{message[1:]}, found {first['input']!r}"
    if place.steps:
        message = f"{'.'.join(place.steps)}: {message}"
    others = len({problem["loc"] for problem in problems}) - 1
    if others:
        message += f" (and {others} more in this file)"
    fix = "see docs/formats.md for every key and what it means"
    return UserError(message, path=path, line=line, fix=fix)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
