"""Which of the cleaned rows are kept: no duplicates, and nothing in training that a test asks.

In DuckDB, on disk: what is held in memory at once does not grow with the rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops.data import similar
from llmops.data.params import DataParams

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SPLITS = ("test", "validation", "train")
"""In the order in which they keep a row that several of them have."""

MEMORY = "600MB"
"""What DuckDB may hold at once; the rest it keeps on disk."""
_NEIGHBOURS = 8
"""A row is compared with so many earlier ones of each split that share a band with it."""
_BATCH = 10_000
SAMPLES = 20


class Selection:
    """The rows of one build: those kept, and those left out with their reason."""

    def __init__(self, cleaned: Path, folder: Path) -> None:
        """`cleaned` is the Parquet file of `Cleaner.clean`; `folder` takes what memory cannot."""
        import duckdb

        self._db: DuckDBPyConnection = duckdb.connect(str(folder / "selection.duckdb"))
        self._db.execute(f"SET memory_limit = '{MEMORY}'")
        self._db.execute("SET temp_directory = ?", [str(folder / "spilled")])
        self._db.execute("SET preserve_insertion_order = false")
        classes = ", ".join(f"'{split}'" for split in SPLITS)
        self._db.execute(
            f"""CREATE TABLE row AS
            SELECT * EXCLUDE (word_pairs, bands), len(word_pairs) AS size,
                CAST(list_position([{classes}], split) AS INT) AS class
            FROM read_parquet(?)""",  # noqa: S608 - no value of a user
            [str(cleaned)],
        )
        self._cleaned = str(cleaned)

    def close(self) -> None:
        """Lets the database go."""
        self._db.close()

    def drop_duplicates(self, params: DataParams) -> None:
        """Gives every row that another stands for its reason."""
        self._repeated("key", "id", "duplicate of an older question")
        self._repeated("lower(answer)", "class, key", "same answer as another question")
        self._db.execute(
            """CREATE TABLE place AS
            SELECT id, class, size, row_number() OVER (ORDER BY class, key) AS place
            FROM row WHERE reason IS NULL"""
        )
        self._db.execute("CREATE TABLE pair (later BIGINT, earlier BIGINT)")
        for band in range(similar.BANDS):
            self._add_pairs(band, params.duplicates.threshold)
        self._drop_similar(params.duplicates.threshold)

    def dropped(self) -> dict[str, tuple[int, list[str]]]:
        """Reason -> how many rows, and questions of some of them: the same ones every time."""
        found = self._db.execute(
            """SELECT reason, count(*), list(question ORDER BY md5(key), id)[:?]
            FROM row WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason""",
            [SAMPLES],
        ).fetchall()
        return {reason: (count, samples) for reason, count, samples in found}

    def counts(self) -> dict[str, int]:
        """Split -> rows kept."""
        found = self._db.execute(
            "SELECT split, count(*) FROM row WHERE reason IS NULL GROUP BY split"
        ).fetchall()
        return {split: dict(found).get(split, 0) for split in reversed(SPLITS)}

    def summary(self) -> Mapping[str, Any]:
        """Of the rows kept: `topics` (name, rows), `words` (median, 95th percentile), `masked`."""
        one = self._db.execute(
            """SELECT quantile_disc(words, 0.5), quantile_disc(words, 0.95), sum(masked)
            FROM (SELECT len(string_split(answer, ' ')) AS words, masked
                  FROM row WHERE reason IS NULL)"""
        ).fetchone()
        topics = self._db.execute(
            """SELECT topic, count(*) FROM row WHERE reason IS NULL
            GROUP BY topic ORDER BY count(*) DESC, topic LIMIT 15"""
        ).fetchall()
        median, long, masked = one or (0, 0, 0)
        return {"topics": topics, "words": (median, long), "masked": int(masked or 0)}

    def rows(self, split: str) -> Iterator[tuple[str, str, str, str]]:
        """key, topic, question and answer of the rows kept, by key."""
        cursor = self._db.cursor()
        cursor.execute(
            """SELECT key, topic, question, answer FROM row
            WHERE reason IS NULL AND split = ? ORDER BY key""",
            [split],
        )
        while batch := cursor.fetchmany(_BATCH):
            yield from batch

    def _repeated(self, same: str, order: str, reason: str) -> None:
        """Of rows with the same, all but the first by `order` get the reason."""
        self._db.execute(
            f"""UPDATE row SET reason = ? FROM (
                SELECT id, row_number() OVER (PARTITION BY {same} ORDER BY {order}) AS nth
                FROM row WHERE reason IS NULL
            ) AS seen WHERE row.id = seen.id AND seen.nth > 1 AND row.reason IS NULL""",  # noqa: S608
            [reason],
        )

    def _add_pairs(self, band: int, threshold: float) -> None:
        """Of two sets, what both have is no more than the smaller: sizes alone rule most out."""
        self._db.execute(
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
            [band + 1, self._cleaned, _NEIGHBOURS, threshold],
        )

    def _drop_similar(self, threshold: float) -> None:
        self._db.execute(
            """CREATE TABLE candidate AS
            SELECT place, id, class, word_pairs FROM read_parquet(?) JOIN place USING (id)
            WHERE place IN (SELECT later FROM pair UNION SELECT earlier FROM pair)""",
            [self._cleaned],
        )
        self._db.execute(
            """UPDATE row SET reason = CASE WHEN leaks
                THEN 'near a test or validation row' ELSE 'near another row' END
            FROM (
                SELECT one.id, bool_or(one.class <> other.class) AS leaks
                FROM (SELECT DISTINCT * FROM pair) AS pair
                JOIN candidate AS one ON one.place = pair.later
                JOIN candidate AS other ON other.place = pair.earlier
                WHERE len(list_intersect(one.word_pairs, other.word_pairs))
                    / len(list_distinct(one.word_pairs || other.word_pairs)) >= ?
                GROUP BY one.id
            ) AS found
            WHERE row.id = found.id""",
            [threshold],
        )
