"""From a release back to the rows that it was tuned and judged on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from llmops import bundle, datasets, git
from llmops.bucket import Bucket
from llmops.data.build import Record
from llmops.data.objects import ObjectCache
from llmops.errors import LlmopsError, UserError
from llmops.formats import Application, DataPointer, Origin
from llmops.resources import Desired, Reader, Resource
from llmops.workspace import Workspace, pull_pointers

Use = Literal["tuned on", "judged on"]


@dataclass(frozen=True, kw_only=True)
class DataLineage:
    """One data set that a release rests on."""

    use: Use
    pointer: str
    """The path of the data pointer."""
    md5: str
    rows: dict[str, int]
    """Split -> rows."""
    origin: Origin | None
    """Tables, BigQuery jobs and snapshot time; None where the pointer does not say."""
    record: Record | None
    """Query, parameters and what was left out; None where the data cannot be had, or is older."""
    files: dict[str, str]
    """File name -> where it lies on this machine."""
    missing: str
    """Why the data itself could not be had; else the empty string."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a release came from."""

    release: str
    """The whole digest."""
    application: str
    environment: str
    model: str
    """The tuned one, where the release is tuned."""
    tuning: str | None
    commit: str
    """That first asked for the release."""
    sources: dict[str, str]
    """Path -> digest of the resources that it was made of."""
    evaluation: dict[str, Any] | None
    data: tuple[DataLineage, ...]


def find(bucket: Bucket, beginning: str) -> bundle.Bundle:
    """The bundle of the release whose digest begins so.

    Raises UserError where there is none, or more than one.
    """
    folders = bucket.names(bundle.folder(beginning))
    found = sorted({name.split("/")[1] for name in folders})
    if len(found) > 1:
        names = ", ".join(each[:12] for each in found[:5])
        raise UserError(f"{len(found)} releases begin with {beginning!r}: {names}", fix="say more")
    loaded = bundle.fetch(bucket, found[0]) if found else None
    if loaded is None:
        raise UserError(
            f"{bucket.url} has no release that begins with {beginning!r}",
            fix="llmops status shows what is live; --env chooses the environment",
        )
    return loaded


def trace(workspace: Workspace, found: bundle.Bundle) -> Lineage:
    """The way back from a bundle, by git, the pointer and the data itself.

    Raises UserError when this clone does not have the release's commit.
    """
    desired = Reader(workspace.root).read(git.resolve(workspace.root, found.commit))
    name = found.release.application
    application = next(
        each for each in desired.applications.values() if each.value.application == name
    )
    return Lineage(
        release=found.release.digest,
        application=name,
        environment=workspace.environment_name,
        model=found.asked.model,
        tuning=found.release.tuning,
        commit=found.commit,
        sources=found.sources,
        evaluation=found.evaluation,
        data=tuple(
            _data(workspace, use, pointer) for use, pointer in _pointers(desired, application)
        ),
    )


def as_text(lineage: Lineage) -> str:
    """The way back, as a terminal shows it."""
    judged = lineage.evaluation or {}
    lines = [
        f"release     {lineage.release}",
        f"  of        {lineage.application} in {lineage.environment}, on {lineage.model}",
        f"  judged    {judged.get('title') or 'never, before it was deployed'}",
        f"commit      {lineage.commit}",
        *(f"  {digest[:12]}  {path}" for path, digest in sorted(lineage.sources.items())),
    ]
    if lineage.tuning:
        lines.append(f"tuning      {lineage.tuning}")
    for data in lineage.data:
        lines += ["", *_data_lines(data)]
    if not lineage.data:
        lines += ["", "No data: it is not tuned, and its suites hold their cases themselves."]
    return "\n".join(lines)


def _data_lines(data: DataLineage) -> Iterator[str]:
    yield f"{data.use:11} {data.pointer}: {data.md5}"
    yield "  rows      " + (
        ", ".join(f"{n} {split}" for split, n in data.rows.items()) or "unknown"
    )
    if data.origin:
        at = f", as they stood at {data.origin.at}" if data.origin.at else ""
        yield f"  from      {data.origin.engine}{at}"
        for table, version in data.origin.tables.items():
            yield f"            {table} ({version})"
        for job in data.origin.jobs:
            yield f"  job       {job}"
    if data.missing:
        yield f"  not here  {data.missing}"
    if data.record:
        for reason, dropped in data.record.dropped.items():
            yield f"  left out  {dropped.rows} {reason}"
        yield "  parameters"
        text = yaml.safe_dump(data.record.params, sort_keys=False, allow_unicode=True)
        yield from (f"    {line}" for line in text.splitlines())
        yield "  query"
        yield from (f"    {line}" for line in data.record.sql.splitlines())
    for name, path in sorted(data.files.items()):
        yield f"  {name:16} {path}"


def _pointers(
    desired: Desired, application: Resource[Application]
) -> list[tuple[Use, Resource[DataPointer]]]:
    found: list[tuple[Use, Resource[DataPointer]]] = []
    if application.value.tuning:
        found.append(("tuned on", desired.pointers[application.value.tuning.data]))
    files = [
        path
        for suite in application.value.suites
        for path in desired.suites[suite].value.data_files
    ]
    judged = {each.path: each for path in files if (each := desired.pointer_of(path))}
    return [*found, *(("judged on", judged[path]) for path in sorted(judged))]


def _data(workspace: Workspace, use: Use, pointer: Resource[DataPointer]) -> DataLineage:
    missing = ""
    try:
        pull_pointers(workspace, [pointer])
    except LlmopsError as error:
        missing = str(error)
    objects: ObjectCache = workspace.objects
    manifest = objects.manifest(pointer.value.output.md5) or {}
    return DataLineage(
        use=use,
        pointer=pointer.path,
        md5=pointer.value.output.md5,
        rows=dict(pointer.value.meta.rows),
        origin=pointer.value.meta.origin,
        record=datasets.record(pointer, objects),
        files={} if missing else {name: str(objects.path(md5)) for name, md5 in manifest.items()},
        missing=missing,
    )
