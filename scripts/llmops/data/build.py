"""What data/ holds: posts retrieved, cleaned, deduplicated and split, the same bytes every time.

Each step reads what the one before wrote into the same folder, so that dvc.yaml can run it alone.
"""

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmops import jsonfile
from llmops.data import card, duplicates, retrieve
from llmops.data.card import Dropped
from llmops.data.clean import AT_ONCE, Cleaner
from llmops.data.params import PATH as PARAMS
from llmops.data.params import DataParams, Retrieval
from llmops.data.select import Selection
from llmops.data.similar import Known
from llmops.errors import UserError
from llmops.formats import Origin
from llmops.wholefile import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from ibis.expr.types import Table

Progress = Callable[[str], None]

POSTS, LEFT_OUT, ORIGIN = "posts.parquet", "left_out.json", "origin.json"
CLEANED = "cleaned.parquet"
MADE = "made"
CARD, RECORD = "README.md", "build.json"

WORTH_PROCESSES = 20_000
"""Posts: fewer are cleaned before other processes have started."""


class Source(Protocol):
    """Where the posts come from: DuckDB or BigQuery."""

    @property
    def tables(self) -> Mapping[str, "Table"]:
        """posts_questions and posts_answers."""

    def retrieve(self, expression: "Table") -> Iterator["pa.RecordBatch"]:
        """The rows of an expression on `tables`."""

    def origin(self) -> Origin:
        """Which tables these are, and what was asked of them so far."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a data set was made: it is one of its files, and the same wherever it is made."""

    sql: str
    """What BigQuery is asked, or would be."""
    params: dict[str, Any]
    """Those of params.yaml that decide what the data set holds."""
    rows: dict[str, int]
    """Split -> rows."""
    dropped: dict[str, Dropped]
    """Reason -> what was left out, in the order of the steps."""


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
    record: Record
    origin: Origin

    @property
    def rows(self) -> dict[str, int]:
        """Split -> rows."""
        return self.record.rows

    @property
    def dropped(self) -> dict[str, Dropped]:
        """Reason -> what was left out."""
        return self.record.dropped

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
    """All steps, in a folder that does not exist yet, of which the parent does.

    `cases` are the texts of eval suites that training must not come near. The order in which the
    source gives its rows does not matter. Raises UserError when nothing is left.
    """
    with tempfile.TemporaryDirectory(prefix="llmops-data-", dir=folder.parent) as name:
        work = Path(name) / "work"
        retrieve_posts(source, params.retrieve, work, progress)
        clean_posts(params, work, cases=cases, progress=progress)
        select_rows(params, work, progress)
        work.replace(folder)
    return load(folder)


def load(folder: Path) -> Dataset:
    """The data set that the steps left in a folder. Raises UserError when they did not run."""
    made_by = "llmops data build"
    made = folder / MADE
    return Dataset(
        folder=made,
        files={path.name: _file(path) for path in sorted(made.iterdir())},
        record=jsonfile.read(Record, made / RECORD, made_by=made_by),
        origin=jsonfile.read(Origin, folder / ORIGIN, made_by=made_by),
    )


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


# --- retrieve -------------------------------------------------------------------------------------


def retrieve_posts(source: Source, wanted: Retrieval, folder: Path, progress: Progress) -> None:
    """The posts that are taken, in the order of their ids; how many were left out; from where."""
    folder.mkdir(parents=True, exist_ok=True)
    progress("retrieving")
    _sort(source.retrieve(retrieve.taken(wanted, source.tables)), folder / POSTS)
    refused = source.retrieve(retrieve.left_out(wanted, source.tables))
    rows = [row for batch in refused for row in batch.to_pylist()]
    dropped = {
        row["reason"]: Dropped(rows=row["questions"], samples=[row["oldest"]])
        for row in sorted(rows, key=lambda row: str(row["reason"]))
    }
    jsonfile.dump(_LeftOut(dropped=dropped), folder / LEFT_OUT)
    jsonfile.dump(source.origin(), folder / ORIGIN)


@dataclass(frozen=True, kw_only=True)
class _LeftOut:
    dropped: dict[str, Dropped]


def _sort(batches: Iterator["pa.RecordBatch"], path: Path) -> None:
    """An engine gives rows in whatever order it likes."""
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    schema = pa.schema({"id": pa.int64(), "title": text, "tags": text, "answer": text})
    with tempfile.TemporaryDirectory(prefix="retrieve-", dir=path.parent) as name:
        unsorted = Path(name) / path.name
        with parquet.ParquetWriter(unsorted, schema) as writer:
            for batch in batches:
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
        duplicates.sort(unsorted, path, order="id, title")


# --- clean ----------------------------------------------------------------------------------------


def clean_posts(
    params: DataParams,
    folder: Path,
    *,
    cases: Iterable[str] = (),
    progress: Progress = lambda _: None,
) -> None:
    """The posts made usable; what is left out has its reason, duplicates and leaks among it."""
    threshold = params.duplicates.threshold
    cleaner = Cleaner(params=params, held_out=Known(cases, threshold))
    with tempfile.TemporaryDirectory(prefix="clean-", dir=folder) as name:
        cleaned = Path(name) / CLEANED
        _clean(folder / POSTS, cleaner, cleaned, progress)
        progress("looking for duplicates and leaks")
        duplicates.mark(cleaned, threshold, folder / CLEANED)


def _clean(path: Path, cleaner: Cleaner, target: Path, progress: Progress) -> None:
    from pyarrow import parquet

    rows = 0
    with parquet.ParquetFile(path) as posts:
        total = posts.metadata.num_rows
        batches = posts.iter_batches(AT_ONCE)
        alone = total < WORTH_PROCESSES
        with parquet.ParquetWriter(target, cleaner.schema()) as writer:
            for table in map(cleaner.clean, batches) if alone else _cleaned(batches, cleaner):
                writer.write_table(table)
                rows += len(table)
                progress(f"{rows} of {total} posts cleaned")


def _cleaned(batches: Iterator["pa.RecordBatch"], cleaner: Cleaner) -> Iterator["pa.Table"]:
    """On all cores, with few under way."""
    cores = os.cpu_count() or 1
    # A fork would copy DuckDB's threads in the middle of their work.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        under_way: deque[Future[pa.Table]] = deque()
        for batch in batches:
            under_way.append(pool.submit(cleaner.clean, batch))
            if len(under_way) > 2 * cores:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


# --- select ---------------------------------------------------------------------------------------


def select_rows(params: DataParams, folder: Path, progress: Progress = lambda _: None) -> None:
    """The data set: one file a split, its card and its record.

    Raises UserError when nothing is left.
    """
    progress("writing the splits")
    left_out = jsonfile.read(_LeftOut, folder / LEFT_OUT, made_by="llmops data build")
    with tempfile.TemporaryDirectory(prefix="select-", dir=folder) as name:
        work = Path(name)
        with duplicates.database(work) as db:
            selection = Selection(db, folder / CLEANED)
            dropped = left_out.dropped | {
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
            _write(selection, params, rows, dropped, work / MADE)
        shutil.rmtree(folder / MADE, ignore_errors=True)
        (work / MADE).replace(folder / MADE)


def _write(
    selection: Selection,
    params: DataParams,
    rows: dict[str, int],
    dropped: dict[str, Dropped],
    folder: Path,
) -> None:
    folder.mkdir()
    instruction = params.system_instruction
    for split in rows:
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for row in selection.rows(split):
                made = _case(*row) if split == "test" else _tuning_example(instruction, *row[2:])
                file.write(json.dumps(made, ensure_ascii=False) + "\n")
    text = card.render(rows=rows, dropped=dropped, summary=selection.summary(), params=params)
    (folder / CARD).write_text(text, encoding="utf-8")
    record = Record(
        sql=retrieve.bigquery_sql(retrieve.taken(params.retrieve)),
        params=params.model_dump(
            mode="json", exclude={"retrieve": {"max_gib", "usd_per_tib"}, "contract": True}
        ),
        rows=rows,
        dropped=dropped,
    )
    jsonfile.dump(record, folder / RECORD)


def _file(path: Path) -> File:
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return File(md5=md5.hexdigest(), size=path.stat().st_size)


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
