"""The rows of one build: those kept, split by split, and those left out with their reason."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops.data.duplicates import SPLITS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH = 10_000
SAMPLES = 20


class Selection:
    """Reads the judged rows: nothing but what is asked for is held."""

    def __init__(self, db: "DuckDBPyConnection", judged: Path) -> None:
        """`judged` is the Parquet file of `llmops.data.duplicates`."""
        self._db = db
        db.read_parquet(str(judged)).create_view("row")

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
