"""What differs in meaning between two desired states, resource by resource, field by field."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from llmops.digest import canonical, digest
from llmops.formats import DataPointer
from llmops.resources import Desired, LoadedSuite, Resource, suite_name
from llmops.yamlfile import Written

Rows = Mapping[str, Mapping[str, int]]
"""A data pointer's path -> split -> rows, where they are known."""


class ChangeKind(StrEnum):
    """What happened to a resource."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    RENAMED = "renamed"


class ResourceKind(StrEnum):
    """What kind of resource it is, as docs and reports name it."""

    PROMPT = "prompt"
    MODEL = "model config"
    SUITE = "suite"
    DATA = "data pointer"
    SETTINGS = "settings"


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One thing that differs within a resource."""

    field: str
    """Such as `messages[0].content`, `generation.temperature`, `cases`, `gates.f1.max_drop`."""
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class ResourceChange:
    """One resource that differs in meaning, or in name."""

    kind: ResourceKind
    change: ChangeKind
    path: str
    old_path: str | None
    fields: tuple[FieldChange, ...]
    touches: tuple[str, ...]
    """What it reaches, in words: `assistant`, `assistant/quality`."""


W = TypeVar("W", bound=Written)


def changes_between(
    base: Desired, head: Desired, base_rows: Rows, head_rows: Rows
) -> Iterator[ResourceChange]:
    """Every resource that differs in meaning, or only in name."""
    yield from _kind_changes(base, head, base.prompts, head.prompts, ResourceKind.PROMPT, _fields)
    yield from _kind_changes(
        base, head, base.applications, head.applications, ResourceKind.MODEL, _fields
    )
    yield from _kind_changes(
        base, head, base.suites, head.suites, ResourceKind.SUITE, _suite_fields
    )
    yield from _kind_changes(
        base,
        head,
        base.pointers,
        head.pointers,
        ResourceKind.DATA,
        lambda old, new: _pointer_fields(old, new, base_rows, head_rows),
    )
    one = {base.settings.path: base.settings} if base.settings else {}
    other = {head.settings.path: head.settings} if head.settings else {}
    yield from _kind_changes(base, head, one, other, ResourceKind.SETTINGS, _fields)


def _kind_changes(
    base: Desired,
    head: Desired,
    before: Mapping[str, Resource[Any]],
    after: Mapping[str, Resource[Any]],
    kind: ResourceKind,
    compare: Callable[[Any, Any], tuple[FieldChange, ...]],
) -> Iterator[ResourceChange]:
    gone = {path: each for path, each in before.items() if path not in after}
    by_digest = {each.digest: path for path, each in gone.items()}
    for path, new in after.items():
        old = before.get(path)
        old_path = None
        change = ChangeKind.CHANGED
        if old is None and new.digest in by_digest:
            old_path = by_digest.pop(new.digest)
            old, change = gone.pop(old_path), ChangeKind.RENAMED
        elif old is None:
            change = ChangeKind.ADDED
        elif old.digest == new.digest:
            continue
        yield ResourceChange(
            kind=kind,
            change=change,
            path=path,
            old_path=old_path,
            fields=() if old is None or change is ChangeKind.RENAMED else compare(old, new),
            touches=_touched(head, kind, path),
        )
    for path in gone:
        yield ResourceChange(
            kind=kind,
            change=ChangeKind.REMOVED,
            path=path,
            old_path=None,
            fields=(),
            touches=_touched(base, kind, path),
        )


def _touched(desired: Desired, kind: ResourceKind, path: str) -> tuple[str, ...]:
    """What depends on the resource: applications and their suites, in words."""
    found = []
    for application in desired.applications.values():
        value = application.value
        tuned_on = value.tuning is not None and value.tuning.data == path
        whole = path in (application.path, value.prompt) or tuned_on
        if whole and kind is not ResourceKind.SUITE:
            found.append(value.application)
        for suite in value.suites:
            files = desired.suites[suite].value.data_files if suite in desired.suites else ()
            holders = {pointer.path for each in files if (pointer := desired.pointer_of(each))}
            if whole or suite == path or path in holders:
                found.append(f"{value.application}/{suite_name(suite)}")
    return tuple(found)


def _fields(old: Resource[W], new: Resource[W]) -> tuple[FieldChange, ...]:
    return tuple(_differences(_flat(_dump(old.value)), _flat(_dump(new.value))))


def _suite_fields(
    old: Resource[LoadedSuite], new: Resource[LoadedSuite]
) -> tuple[FieldChange, ...]:
    def cases(suite: LoadedSuite) -> dict[str, str]:
        return {
            case.id: digest([case.variables, suite.assertion_digest(case)]) for case in suite.cases
        }

    def rest(suite: LoadedSuite) -> dict[str, Any]:
        value = _dump(suite.suite)
        return {
            "gates": {gate["metric"]: gate for gate in value["gates"]},
            "defaultTest": value["defaultTest"],
            "repeat": value["evaluateOptions"]["repeat"],
            "max_error_share": value["max_error_share"],
            "data": sorted(suite.data_files),
            "assertion files": suite.file_digests,
        }

    before, after = cases(old.value), cases(new.value)
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = sorted(id_ for id_ in before.keys() & after.keys() if before[id_] != after[id_])
    found = [
        FieldChange(field=f"cases {word}", before=None, after=f"{len(ids)}: {_few(ids)}")
        for word, ids in (("added", added), ("removed", removed), ("changed", changed))
        if ids
    ]
    return (*found, *_differences(_flat(rest(old.value)), _flat(rest(new.value))))


def _pointer_fields(
    old: Resource[DataPointer], new: Resource[DataPointer], base_rows: Rows, head_rows: Rows
) -> tuple[FieldChange, ...]:
    before, after = _dump(old.value), _dump(new.value)
    before["meta"] = {"rows": dict(base_rows.get(old.path, {}))}
    after["meta"] = {"rows": dict(head_rows.get(new.path, {}))}
    return tuple(
        replace(change, field=change.field.removeprefix("meta.").removeprefix("outs[0]."))
        for change in _differences(_flat(before), _flat(after))
    )


def _dump(value: Written) -> dict[str, Any]:
    return value.model_dump(mode="json", by_alias=True)


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": [1]}}` -> `{"a.b[0]": "1"}`: text as it is, everything else as JSON."""
    if isinstance(value, dict) and value:
        return {
            path: text
            for key, item in value.items()
            for path, text in _flat(item, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    if isinstance(value, list) and value:
        return {
            path: text
            for index, item in enumerate(value)
            for path, text in _flat(item, f"{prefix}[{index}]").items()
        }
    if value is None or value in ([], {}):
        return {}
    return {prefix: value if isinstance(value, str) else canonical(value).decode()}


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield FieldChange(field=name, before=before.get(name), after=after.get(name))


def _few(names: list[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
