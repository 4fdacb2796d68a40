"""Which of the cleaned rows another one stands for, or leaks into: on one machine, in DuckDB.

On disk: what is held in memory at once does not grow with the rows. `llmops.data.beam` decides the
same on many machines.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llmops.data import similar
from llmops.wholefile import replacing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "600MB"
"""What DuckDB may hold at once; the rest it keeps on disk."""
SPLITS = ("test", "validation", "train")
"""In the order in which they keep a row that several of them have."""
NEIGHBOURS = 8
"""A row is compared with so many earlier ones of each split that share a band with it."""

SAME_QUESTION = "duplicate of an older question"
SAME_ANSWER = "same answer as another question"
LEAK = "near a test or validation row"
NEAR = "near another row"


@contextmanager
def database(folder: Path, name: str = ":memory:") -> Iterator["DuckDBPyConnection"]:
    """DuckDB with a limit to its memory; beyond it, it writes into the folder."""
    import duckdb

    with duckdb.connect(name, config={"memory_limit": MEMORY}) as db:
        db.execute("SET temp_directory = ?", [str(folder / "spilled")])
        db.execute("SET enable_progress_bar = false")
        yield db


def sort(source: Path, target: Path, columns: str = "*", order: str = "id") -> None:
    """Parquet files (a glob, perhaps) as one, in an order: the same bytes however they came."""
    with (
        tempfile.TemporaryDirectory(prefix="sort-", dir=target.parent) as name,
        database(Path(name)) as db,
        replacing(target) as partial,
    ):
        rows = db.read_parquet(str(source)).project(columns).order(order)
        rows.write_parquet(str(partial), compression="zstd")


def mark(cleaned: Path, threshold: float, target: Path) -> None:
    """Gives each row of `Cleaner.clean` that another one stands for its reason.

    Writes `JUDGED_COLUMNS`, by id. `threshold` is the Jaccard similarity of two that are one.
    """
    with tempfile.TemporaryDirectory(prefix="mark-", dir=target.parent) as name:
        folder = Path(name)
        with database(folder, str(folder / "rows.duckdb")) as db:
            db.execute("SET preserve_insertion_order = false")
            _load(db, cleaned)
            _repeated(db, "key", "id", SAME_QUESTION)
            _repeated(db, "folded", "class, key", SAME_ANSWER)
            _find_pairs(db, cleaned, threshold)
            _drop_similar(db, cleaned, threshold)
            db.table("row").write_parquet(str(folder / "rows.parquet"))
        sort(folder / "rows.parquet", target, JUDGED_COLUMNS)


JUDGED_COLUMNS = "id, key, split, topic, question, answer, masked, reason"


def _load(db: "DuckDBPyConnection", cleaned: Path) -> None:
    classes = ", ".join(f"'{split}'" for split in SPLITS)
    db.execute(
        f"""CREATE TABLE row AS
        SELECT * EXCLUDE (word_pairs, bands), len(word_pairs) AS size,
            CAST(list_position([{classes}], split) AS INT) AS class
        FROM read_parquet(?)""",  # noqa: S608 - no value of a user
        [str(cleaned)],
    )


def _repeated(db: "DuckDBPyConnection", same: str, order: str, reason: str) -> None:
    """Of rows with the same, all but the first by `order` get the reason."""
    db.execute(
        f"""UPDATE row SET reason = ? FROM (
            SELECT id, row_number() OVER (PARTITION BY {same} ORDER BY {order}) AS nth
            FROM row WHERE reason IS NULL
        ) AS seen WHERE row.id = seen.id AND seen.nth > 1 AND row.reason IS NULL""",  # noqa: S608
        [reason],
    )


def _find_pairs(db: "DuckDBPyConnection", cleaned: Path, threshold: float) -> None:
    """Of two sets, what both have is no more than the smaller: sizes alone rule most out."""
    db.execute(
        """CREATE TABLE place AS
        SELECT id, class, size, row_number() OVER (ORDER BY class, key) AS place
        FROM row WHERE reason IS NULL"""
    )
    db.execute("CREATE TABLE pair (later BIGINT, earlier BIGINT)")
    for band in range(similar.BANDS):
        db.execute(
            """INSERT INTO pair
            WITH bucket AS (
                SELECT place, class, size, bands[?] AS hash
                FROM read_parquet(?) JOIN place USING (id)
                QUALIFY count(*) OVER (PARTITION BY hash) > 1
            ), leader AS (
                SELECT * FROM bucket
                QUALIFY row_number() OVER (PARTITION BY hash, class ORDER BY place) <= ?
            )
            SELECT bucket.place, leader.place
            FROM bucket JOIN leader ON bucket.hash = leader.hash AND leader.place < bucket.place
            WHERE least(bucket.size, leader.size) >= ? * greatest(bucket.size, leader.size)""",
            [band + 1, str(cleaned), NEIGHBOURS, threshold],
        )


def _drop_similar(db: "DuckDBPyConnection", cleaned: Path, threshold: float) -> None:
    db.execute(
        """CREATE TABLE candidate AS
        SELECT place, id, class, word_pairs FROM read_parquet(?) JOIN place USING (id)
        WHERE place IN (SELECT later FROM pair UNION SELECT earlier FROM pair)""",
        [str(cleaned)],
    )
    db.execute(
        """UPDATE row SET reason = CASE WHEN leaks THEN $leak ELSE $near END
        FROM (
            SELECT one.id, bool_or(one.class <> other.class) AS leaks
            FROM (SELECT DISTINCT * FROM pair) AS pair
            JOIN candidate AS one ON one.place = pair.later
            JOIN candidate AS other ON other.place = pair.earlier
            WHERE len(list_intersect(one.word_pairs, other.word_pairs))
                / len(list_distinct(one.word_pairs || other.word_pairs)) >= $threshold
            GROUP BY one.id
        ) AS found
        WHERE row.id = found.id""",
        {"leak": LEAK, "near": NEAR, "threshold": threshold},
    )
