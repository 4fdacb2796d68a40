"""The content behind a data pointer, read from DVC's cache by md5: data/ itself is not needed."""

import json
from dataclasses import dataclass
from pathlib import Path

from llmops.errors import MachineryError, UserError
from llmops.formats import DataPointer
from llmops.resources import (
    Desired,
    LoadedCase,
    LoadedSuite,
    Resource,
    check_cases,
    check_variables,
    data_root,
    load_cases,
    parse_cases,
)

DIRECTORY_SUFFIX = ".dir"


@dataclass(frozen=True, kw_only=True)
class ObjectCache:
    """DVC's local cache: files named by the md5 of their content."""

    folder: Path
    """Such as `.llmops/dvc`; objects lie under `files/md5/ab/cdef…`."""

    def path(self, md5: str) -> Path:
        """Where the object lies, or would lie."""
        return self.folder / "files" / "md5" / md5[:2] / md5[2:]

    def manifest(self, md5: str) -> dict[str, str] | None:
        """Relative path -> md5 of a directory object; None when it is not at hand."""
        try:
            entries = json.loads(self.path(md5).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise self._broken(md5) from None
        return {entry["relpath"]: entry["md5"] for entry in entries}

    def read(self, md5: str) -> bytes | None:
        """The content of a file object; None when it is not at hand."""
        try:
            return self.path(md5).read_bytes()
        except FileNotFoundError:
            return None

    def holds(self, pointer: DataPointer) -> bool:
        """Whether everything that the pointer names is at hand."""
        md5 = pointer.output.md5
        if not md5.endswith(DIRECTORY_SUFFIX):
            return self.path(md5).exists()
        manifest = self.manifest(md5)
        return manifest is not None and all(self.path(each).exists() for each in manifest.values())

    def _broken(self, md5: str) -> MachineryError:
        path = self.path(md5)
        return MachineryError(
            f"the cached object {path} is broken", fix=f"rm {path}; llmops data pull"
        )


def row_counts(pointer: Resource[DataPointer], cache: ObjectCache) -> dict[str, int] | None:
    """Split -> rows: counted where the data is at hand, else as the pointer's `meta` says."""
    manifest = cache.manifest(pointer.value.output.md5)
    if manifest is None or not cache.holds(pointer.value):
        return dict(pointer.value.meta.rows) or None
    counts = {}
    for name, md5 in sorted(manifest.items()):
        if name.endswith(".jsonl"):
            content = cache.read(md5) or b""
            counts[name.removesuffix(".jsonl")] = content.count(b"\n")
    return counts


def suite_cases(
    suite: Resource[LoadedSuite], desired: Desired, cache: ObjectCache
) -> tuple[LoadedCase, ...] | None:
    """All cases of a suite; None when some lie in data that is not at hand.

    Raises UserError for cases that are wrong, for gates without a metric, and for a prompt's
    variable that a case does not supply.
    """
    cases = list(suite.value.cases)
    for path in suite.value.data_files:
        text = _data_file(suite, path, desired, cache)
        if text is None:
            return None
        cases.extend(load_cases(suite.value.suite, parse_cases(text, path), path))
    found = tuple(cases)
    if not found:
        line = suite.line_of("tests")
        raise UserError("this suite has no case", path=suite.path, line=line, fix="add cases")
    check_cases(suite.path, suite.source, suite.value, found, complete=True)
    for application in desired.applications.values():
        if suite.path in application.value.suites:
            check_variables(desired.prompts[application.value.prompt], suite.path, found)
    return found


def _data_file(
    suite: Resource[LoadedSuite], path: str, desired: Desired, cache: ObjectCache
) -> str | None:
    pointer = desired.pointer_of(path)
    if pointer is None:
        raise UserError(f"no data pointer holds {path}", path=suite.path)
    manifest = cache.manifest(pointer.value.output.md5)
    if manifest is None:
        return None
    relative = path.removeprefix(data_root(pointer) + "/")
    if relative not in manifest:
        raise UserError(
            f"tests: the data that {pointer.path} points to has no file {relative}",
            path=suite.path,
            line=suite.line_of("tests"),
            fix=f"it has: {', '.join(sorted(manifest))}",
        )
    content = cache.read(manifest[relative])
    return None if content is None else content.decode("utf-8")
