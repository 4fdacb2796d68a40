"""The cleaning step as one Apache Beam pipeline, for more posts than one machine cleans.

It decides what `llmops.data.duplicates` decides on one machine; the tests hold the two against each
other. It runs in an environment of its own (requirements/beam.in), where only what it needs of this
package can be imported: see `llmops.data.distributed`, which starts it.
"""

import heapq
import json
import logging
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.parquetio import ReadFromParquetBatched, WriteToParquet
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState

from llmops.data import similar
from llmops.data.clean import AT_ONCE, Cleaner
from llmops.data.duplicates import (
    JUDGED_COLUMNS,
    LEAK,
    NEAR,
    NEIGHBOURS,
    SAME_ANSWER,
    SAME_QUESTION,
    SPLITS,
)
from llmops.data.params import DataParams

SHARDS = "judged"


class Usable(NamedTuple):
    """What is compared of a row that the cleaning keeps."""

    id: int
    key: str
    split: int
    """Its place in SPLITS."""
    folded: bytes
    pairs: bytes
    """Its word pairs: 64-bit hashes, distinct, in ascending order."""
    bands: bytes
    """A 64-bit hash for each."""


class Placed(NamedTuple):
    """A row in a bucket of those that share a band. In the order in which they are kept."""

    split: int
    key: str
    id: int
    pairs: int


def main() -> None:
    """Runs the job in the file that is named first, with the pipeline options that follow."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Where a job can be watched, and how it goes.
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    params = DataParams.model_validate(job["params"])
    cleaner = Cleaner(
        params=params, held_out=similar.Known(job["cases"], params.duplicates.threshold)
    )
    run(cleaner, Path(job["posts"]), Path(job["target"]), sys.argv[2:])


def run(cleaner: Cleaner, posts: Path, target: Path, options: Sequence[str]) -> None:
    """Judges the posts, and puts files of `duplicates.JUDGED_COLUMNS` into the target folder.

    With a temp_location among the options both go through it: workers elsewhere see no other disk.
    Raises RuntimeError when the job does not end well.
    """
    # First of all: it refuses options that cannot be.
    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    shared = pipeline.options.view_as(GoogleCloudOptions).temp_location
    if not shared:
        _judge(pipeline, cleaner, str(posts), str(target))
        return
    folder = FileSystems.join(shared, f"llmops-{uuid4()}")
    FileSystems.mkdirs(folder)
    try:
        there = FileSystems.join(folder, posts.name)
        with posts.open("rb") as source, FileSystems.create(there) as copy:
            shutil.copyfileobj(source, copy)
        _judge(pipeline, cleaner, there, folder)
        (found,) = FileSystems.match([FileSystems.join(folder, f"{SHARDS}-*")])
        for shard in found.metadata_list:
            name = FileSystems.split(shard.path)[1]
            with FileSystems.open(shard.path) as source, (target / name).open("wb") as copy:
                shutil.copyfileobj(source, copy)
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """What stays behind costs a little; that must not hide why a job failed."""
    try:
        # A bucket takes a folder with its last slash, a disk without.
        FileSystems.delete([f"{folder}/" if FileSystems.get_scheme(folder) else folder])
    except Exception as error:  # noqa: BLE001 - each file system raises its own
        logging.getLogger(__name__).warning("%s is still there: %s", folder, error)


def _judge(pipeline: beam.Pipeline, cleaner: Cleaner, posts: str, folder: str) -> None:
    batches = (
        pipeline
        | "Read" >> ReadFromParquetBatched(posts)
        | "Cut" >> beam.FlatMap(lambda table: table.to_batches(AT_ONCE))
        | "Share out" >> beam.Reshuffle()
    )
    columns = [name.strip() for name in JUDGED_COLUMNS.split(",")]
    judged(batches, cleaner) | "Write" >> WriteToParquet(
        FileSystems.join(folder, SHARDS),
        pa.schema([cleaner.schema().field(name) for name in columns]),
        file_name_suffix=".parquet",
    )
    result = pipeline.run()
    try:
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        # Once more would leave the job running, and paid for.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        result.cancel()
        raise
    if state != PipelineState.DONE:
        raise RuntimeError(f"the job ended as {state}")


def judged(batches: beam.PCollection, cleaner: Cleaner) -> beam.PCollection:
    """Batches of posts -> rows (dicts of `duplicates.JUDGED_COLUMNS`), in no order."""
    threshold = cleaner.params.duplicates.threshold
    cleaned = batches | "Clean" >> beam.Map(cleaner.clean)
    usable = cleaned | "Compared" >> beam.FlatMap(_usable)
    usable, asked_before = _firsts(
        usable, "question", lambda row: row.key, lambda row: row.id, SAME_QUESTION
    )
    usable, said_before = _firsts(
        usable, "answer", lambda row: row.folded, lambda row: (row.split, row.key), SAME_ANSWER
    )
    near = _near(usable, threshold)
    reasons = (asked_before, said_before, near) | "Reasons" >> beam.Flatten()
    return (
        {"row": cleaned | "Kept" >> beam.FlatMap(_texts), "reason": reasons}
        | "Rows and reasons" >> beam.CoGroupByKey()
        | "Judged" >> beam.Map(_with_reason)
    )


def _usable(cleaned: pa.Table) -> Iterator[Usable]:
    for row in cleaned.to_pylist():
        if row["reason"] is None:
            yield Usable(
                id=row["id"],
                key=row["key"],
                split=SPLITS.index(row["split"]),
                folded=row["folded"].to_bytes(8, "little"),
                pairs=_bytes(row["word_pairs"]),
                bands=_bytes(row["bands"]),
            )


def _texts(cleaned: pa.Table) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in cleaned.drop_columns(["folded", "word_pairs", "bands"]).to_pylist():
        yield row["id"], row


def _with_reason(joined: tuple[int, Mapping[str, Iterable[Any]]]) -> dict[str, Any]:
    _, found = joined
    (row,) = found["row"]
    return {**row, "reason": next(iter(found["reason"]), row["reason"])}


def _firsts(
    rows: beam.PCollection,
    name: str,
    same: Callable[[Usable], Any],
    order: Callable[[Usable], Any],
    reason: str,
) -> tuple[beam.PCollection, beam.PCollection]:
    """Of rows with the same: the first by `order`, and (id, reason) of each other one."""

    def others(group: tuple[Any, Iterable[Usable]]) -> Iterator[tuple[int, str]]:
        first = min(group[1], key=order)
        return ((row.id, reason) for row in group[1] if row.id != first.id)

    grouped = rows | f"By {name}" >> beam.GroupBy(same)
    first = grouped | f"First by {name}" >> beam.Map(lambda group: min(group[1], key=order))
    return first, grouped | f"Others by {name}" >> beam.FlatMap(others)


def _near(rows: beam.PCollection, threshold: float) -> beam.PCollection:
    """(id, reason) of each row that an earlier one is as similar to as the threshold."""
    pairs = (
        rows
        | "Banded" >> beam.FlatMap(_banded)
        | "By band" >> beam.GroupByKey()
        | "Later and earlier" >> beam.FlatMap(_compared, threshold)
        | "Once" >> beam.Distinct()
    )
    by_id = rows | "By id" >> beam.Map(lambda row: (row.id, (row.split, row.pairs)))
    earlier = pairs | "Earlier and later" >> beam.Map(lambda pair: (pair[1], pair[0]))
    met = (
        {"row": by_id, "later": earlier}
        | "Rows of the earlier" >> beam.CoGroupByKey()
        | "Earlier rows" >> beam.FlatMap(_handed_on)
    )
    return (
        {"row": by_id, "earlier": met}
        | "Rows of the later" >> beam.CoGroupByKey()
        | "Near" >> beam.FlatMap(_nearness, threshold)
    )


def _banded(row: Usable) -> Iterator[tuple[bytes, Placed]]:
    placed = Placed(row.split, row.key, row.id, len(row.pairs) // 8)
    for band in range(similar.BANDS):
        yield bytes([band]) + row.bands[8 * band : 8 * band + 8], placed


def _compared(
    bucket: tuple[bytes, Iterable[Placed]], threshold: float
) -> Iterator[tuple[int, int]]:
    """(id, id of an earlier row) of those in one bucket that are compared."""
    leaders = [
        leader
        for split in range(len(SPLITS))
        for leader in heapq.nsmallest(NEIGHBOURS, (row for row in bucket[1] if row.split == split))
    ]
    for row in bucket[1]:
        for leader in leaders:
            fewer, more = sorted((row.pairs, leader.pairs))
            if leader < row and fewer >= threshold * more:
                yield row.id, leader.id


def _handed_on(
    joined: tuple[int, Mapping[str, Iterable[Any]]],
) -> Iterator[tuple[int, tuple[int, bytes]]]:
    _, found = joined
    (row,) = found["row"]
    return ((later, row) for later in found["later"])


def _nearness(
    joined: tuple[int, Mapping[str, Iterable[Any]]], threshold: float
) -> Iterator[tuple[int, str]]:
    number, found = joined
    ((split, pairs),) = found["row"]
    own = _hashes(pairs)
    near = {
        other != split
        for other, theirs in found["earlier"]
        if similar.jaccard(own, _hashes(theirs)) >= threshold
    }
    if near:
        yield number, LEAK if True in near else NEAR


def _bytes(hashes: Sequence[int]) -> bytes:
    return np.array(hashes, dtype="<u8").tobytes()


def _hashes(of_bytes: bytes) -> similar.Hashes:
    return np.frombuffer(of_bytes, dtype="<u8")
