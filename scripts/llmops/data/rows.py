"""The rows of a data set, as they stand in its files: tuning examples and cases alike."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops.data.objects import ObjectCache
from llmops.data.text import subject
from llmops.errors import UserError
from llmops.formats import DataPointer
from llmops.resources import Resource

JSONL = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question and its answer."""

    key: str
    """What it is about; unique in a data set that was built here."""
    split: str
    topic: str
    """The first part of the key: `pathlib` of `pathlib.purepath.suffix`."""
    question: str
    answer: str
    instruction: str = ""
    """Of the system, in a tuning example."""


def read_rows(pointer: Resource[DataPointer], cache: ObjectCache) -> dict[str, Row] | None:
    """Key -> row of all splits; None when some of it is not at hand.

    Raises UserError with file and line for a row that is neither a tuning example nor a case, and
    for a key that stands twice.
    """
    manifest = cache.manifest(pointer.value.output.md5)
    if manifest is None:
        return None
    found: dict[str, Row] = {}
    for name, md5 in sorted(manifest.items()):
        if not name.endswith(JSONL):
            continue
        content = cache.read(md5)
        if content is None:
            return None
        path = f"{pointer.value.output.path}/{name}"
        for line, row in _parse(content.splitlines(), name.removesuffix(JSONL), path):
            if row.key in found:
                twice = f"the key {row.key!r} stands in {found[row.key].split} already"
                raise UserError(twice, path=path, line=line, fix="llmops data build")
            found[row.key] = row
    return found


def rows_of_folder(folder: Path, shown: str = "data") -> Iterator[tuple[int, Row]]:
    """Line and row of every file of a folder; `shown` is its name in errors.

    Raises UserError with file and line for a row that is neither a tuning example nor a case.
    """
    for path in sorted(folder.glob(f"*{JSONL}")):
        with path.open("rb") as lines:
            yield from _parse(lines, path.stem, f"{shown}/{path.name}")


def _parse(lines: Iterable[bytes], split: str, path: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines, start=1):
        try:
            question, answer, key, instruction = _texts(json.loads(line))
        except (ValueError, KeyError, IndexError, TypeError):
            raise UserError(
                "this line is neither a tuning example nor a case with question and reference",
                path=path,
                line=number,
                fix="build the data again: llmops data build",
            ) from None
        key = key or subject(question)
        topic = key.split(".")[0]
        yield (
            number,
            Row(
                key=key,
                split=split,
                topic=topic,
                question=question,
                answer=answer,
                instruction=instruction,
            ),
        )


def _texts(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Question, answer, and where the row has them its key and the system's instruction."""
    if "contents" in row:
        question, answer = (turn["parts"][0]["text"] for turn in row["contents"][-2:])
        instruction = (row.get("systemInstruction") or {"parts": []})["parts"]
        return question, answer, "", " ".join(part["text"] for part in instruction)
    key = (row.get("metadata") or {}).get("id", "")
    return row["vars"]["question"], row["vars"]["reference"], key, ""
