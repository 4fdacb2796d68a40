"""What data/ holds: posts retrieved, cleaned, deduplicated and split, the same bytes every time."""

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmops.data import card, retrieve
from llmops.data.card import Dropped
from llmops.data.clean import Cleaner
from llmops.data.params import PATH as PARAMS
from llmops.data.params import DataParams
from llmops.data.select import Selection
from llmops.data.similar import Known
from llmops.errors import UserError
from llmops.wholefile import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from ibis.expr.types import Table

Progress = Callable[[str], None]


class Source(Protocol):
    """Where the posts come from: DuckDB or BigQuery."""

    @property
    def tables(self) -> Mapping[str, "Table"]:
        """posts_questions and posts_answers."""

    def retrieve(self, expression: "Table") -> Iterator["pa.RecordBatch"]:
        """The rows of an expression on `tables`."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the data set, by the names that DVC has for it."""

    md5: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What data/ holds."""

    folder: Path
    files: dict[str, File]
    """File name -> what is in it."""
    rows: dict[str, int]
    """Split -> rows."""
    dropped: dict[str, Dropped]
    """Reason -> what was left out, in the order of the steps."""

    @property
    def md5s(self) -> dict[str, str]:
        """File name -> MD5 of its content."""
        return {name: file.md5 for name, file in self.files.items()}


def build(
    source: Source,
    params: DataParams,
    folder: Path,
    *,
    cases: Iterable[str] = (),
    progress: Progress = lambda _: None,
) -> Dataset:
    """Makes `folder` (of which the parent exists, itself not yet) hold the data set.

    `cases` are the texts of eval suites that training must not come near. The order in which the
    source gives its rows does not matter. Raises UserError when nothing is left.
    """
    cleaner = Cleaner(params=params, held_out=Known(cases, params.duplicates.threshold))
    with tempfile.TemporaryDirectory(prefix="llmops-data-", dir=folder.parent) as name:
        work = Path(name)
        progress("retrieving and cleaning")
        found = retrieve.taken(params.retrieve, source.tables)
        _clean(source.retrieve(found), cleaner, work / "cleaned.parquet", progress)
        dropped = {
            row["reason"]: Dropped(rows=row["questions"], samples=[row["oldest"]])
            for row in _all(source.retrieve(retrieve.left_out(params.retrieve, source.tables)))
        }
        progress("looking for duplicates and leaks")
        selection = Selection(work / "cleaned.parquet", work)
        try:
            selection.drop_duplicates(params)
            dropped |= {
                reason: Dropped(rows=count, samples=samples)
                for reason, (count, samples) in selection.dropped().items()
            }
            rows = selection.counts()
            if not any(rows.values()):
                reasons = "; ".join(f"{each.rows} {reason}" for reason, each in dropped.items())
                raise UserError(
                    f"no row is left: {reasons or 'the source tables are empty'}",
                    path=PARAMS,
                    fix="widen the dates, tags or limits",
                )
            made = _write(selection, params, rows, dropped, work / "data")
        finally:
            selection.close()
        (work / "data").replace(folder)
    return Dataset(folder=folder, files=made, rows=rows, dropped=dropped)


def install(dataset: Dataset, folder: Path) -> None:
    """Makes the folder hold the data set's files and nothing else of an older one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in dataset.files:
        copy(dataset.folder / name, folder / name)
    for old in folder.iterdir():
        if old.is_file() and old.name not in dataset.files:
            old.unlink()


def copy(source: Path, target: Path) -> None:
    """The file under another name, whole or not at all."""
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


def directory_md5(md5s: Mapping[str, str]) -> str:
    """DVC's name for a directory of these files: the MD5 of `directory_object`, with `.dir`."""
    return hashlib.md5(directory_object(md5s), usedforsecurity=False).hexdigest() + ".dir"


def directory_object(md5s: Mapping[str, str]) -> bytes:
    """What DVC keeps for a directory (dvc_data.hashfile.tree.Tree.as_bytes).

    `md5s`: file name -> the MD5 of its content.
    """
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(md5s.items())]
    return json.dumps(entries, sort_keys=True).encode()


def pointer(dataset: Dataset) -> str:
    """The text of `data.dvc`: what DVC would write, and the rows of each split beside it."""
    lines = [
        "outs:",
        f"- md5: {directory_md5(dataset.md5s)}",
        f"  size: {sum(file.size for file in dataset.files.values())}",
        f"  nfiles: {len(dataset.files)}",
        "  hash: md5",
        "  path: data",
        "meta:",
        "  rows:",
        *(f"    {split}: {count}" for split, count in dataset.rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _clean(
    batches: Iterator["pa.RecordBatch"], cleaner: Cleaner, path: Path, progress: Progress
) -> None:
    """Writes the cleaned rows, in whatever order they come."""
    from pyarrow import parquet

    rows = 0
    with parquet.ParquetWriter(path, cleaner.schema()) as writer:
        for table in _cleaned(batches, cleaner):
            writer.write_table(table)
            rows += len(table)
            progress(f"{rows} posts cleaned")


def _cleaned(batches: Iterator["pa.RecordBatch"], cleaner: Cleaner) -> Iterator["pa.Table"]:
    """One batch here; of more, the others on all cores, with few under way."""
    first = next(batches, None)
    second = next(batches, None)
    if first is None:
        return
    if second is None:
        yield cleaner.clean(first)
        return
    cores = os.cpu_count() or 1
    # A fork would copy DuckDB's threads in the middle of their work.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        under_way: deque[Future[pa.Table]] = deque()
        for batch in chain((first, second), batches):
            under_way.append(pool.submit(cleaner.clean, batch))
            if len(under_way) > 2 * cores:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _all(batches: Iterator["pa.RecordBatch"]) -> list[dict[str, Any]]:
    """The rows of a small answer, by their first column."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: str(next(iter(row.values()))))


def _write(
    selection: Selection,
    params: DataParams,
    rows: Mapping[str, int],
    dropped: Mapping[str, Dropped],
    folder: Path,
) -> dict[str, File]:
    folder.mkdir()
    instruction = params.system_instruction
    made = {
        f"{split}.jsonl": _write_file(
            folder / f"{split}.jsonl",
            (
                _case(*row) if split == "test" else _tuning_example(instruction, *row[2:])
                for row in selection.rows(split)
            ),
        )
        for split in rows
    }
    text = card.render(rows=rows, dropped=dropped, summary=selection.summary(), params=params)
    (folder / "README.md").write_text(text, encoding="utf-8")
    content = text.encode()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return made | {"README.md": File(md5=digest, size=len(content))}


def _write_file(path: Path, rows: Iterable[dict[str, Any]]) -> File:
    md5, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("wb") as file:
        for row in rows:
            line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
            file.write(line)
            md5.update(line)
            size += len(line)
    return File(md5=md5.hexdigest(), size=size)


def _tuning_example(instruction: str, question: str, answer: str) -> dict[str, Any]:
    """Vertex AI's data set format for supervised tuning of Gemini models."""
    return {
        "systemInstruction": {"role": "system", "parts": [{"text": instruction}]},
        "contents": [
            {"role": "user", "parts": [{"text": question}]},
            {"role": "model", "parts": [{"text": answer}]},
        ],
    }


def _case(key: str, topic: str, question: str, answer: str) -> dict[str, Any]:
    """Promptfoo's format for a test case."""
    return {
        "description": question,
        "vars": {"question": question, "reference": answer},
        "metadata": {"id": key, "topic": topic},
    }
