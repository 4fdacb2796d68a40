"""Which posts are taken: one definition, that DuckDB runs on a laptop and BigQuery in production.

The tables are those of bigquery-public-data.stackoverflow (posts_questions, posts_answers).
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops.data.params import Retrieval
from llmops.errors import UserError
from llmops.formats import Origin

if TYPE_CHECKING:
    import pyarrow as pa
    from ibis.expr.types import BooleanValue, Table

PUBLIC_DATASET = ("bigquery-public-data", "stackoverflow")
BATCH_ROWS = 10_000

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "posts_questions": {
        "id": "int64",
        "title": "string",
        "tags": "string",
        "accepted_answer_id": "int64",
        "creation_date": "timestamp('UTC')",
    },
    "posts_answers": {"id": "int64", "parent_id": "int64", "body": "string", "score": "int64"},
}
"""Table -> column -> Ibis type: those that are read, of more that there are."""

_DUCKDB = {"int64": "BIGINT", "string": "VARCHAR", "timestamp('UTC')": "TIMESTAMPTZ"}


def taken(wanted: Retrieval, tables: Mapping[str, "Table"] | None = None) -> "Table":
    """The posts that are taken: id, title, tags, answer (HTML).

    The accepted answer is taken, else the best one; of equal ones the oldest. `tables` defaults to
    BigQuery's public ones.
    """
    questions, answers = (tables or public_tables()).values()
    asked = questions.filter(_tagged(questions, wanted), _in_time(questions, wanted))
    best = _best_answers(asked, answers, wanted)
    return best.filter(best.good).select("id", "title", "tags", answer=best.body)


def left_out(wanted: Retrieval, tables: Mapping[str, "Table"] | None = None) -> "Table":
    """What `taken` leaves out: `reason`, `questions` (how many) and `oldest` (one of them).

    It reads no bodies, which are most of the bytes.
    """
    import ibis

    questions, answers = (tables or public_tables()).values()
    asked = questions.mutate(
        foreign=~_tagged(questions, wanted), other_day=~_in_time(questions, wanted)
    )
    best = _best_answers(asked, answers.drop("body"), wanted)
    languages = " or ".join(f"`{tag}`" for tag in wanted.tags)
    reason = ibis.cases(
        (best.foreign, f"not tagged {languages}"),
        (best.other_day, f"not asked from {wanted.since} to before {wanted.until}"),
        (best.answer_id.isnull(), "without an answer"),
        (~best.good, f"no answer accepted or scored {wanted.lowest_score} or more"),
    )
    refused = best.select("id", "title", reason=reason)
    refused = refused.filter(refused.reason.notnull())
    return refused.group_by("reason").agg(
        questions=refused.id.count(), oldest=refused.title.argmin(refused.id)
    )


def _tagged(questions: "Table", wanted: Retrieval) -> "BooleanValue":
    import ibis

    bars = ibis.literal("|")
    padded = bars.concat(questions.tags, bars)
    tagged = ibis.or_(*(padded.contains(f"|{tag}|") for tag in wanted.tags))
    return tagged.fill_null(False)  # noqa: FBT003 - Ibis's own


def _in_time(questions: "Table", wanted: Retrieval) -> "BooleanValue":
    import ibis

    since, until = (
        ibis.timestamp(f"{day.isoformat()} 00:00:00", timezone="UTC")
        for day in (wanted.since, wanted.until)
    )
    created = questions.creation_date
    return ((created >= since) & (created < until)).fill_null(False)  # noqa: FBT003


def _best_answers(asked: "Table", answers: "Table", wanted: Retrieval) -> "Table":
    """Each question with its best answer, and whether that is `good` enough."""
    import ibis

    given = answers.rename(answer_id="id")
    joined = asked.left_join(given, asked.id == given.parent_id)
    accepted = (joined.answer_id == joined.accepted_answer_id).fill_null(False)  # noqa: FBT003
    place = ibis.row_number().over(
        group_by=joined.id,
        order_by=[accepted.desc(), joined.score.desc(), joined.answer_id],
    )
    good = accepted | (joined.score >= wanted.lowest_score).fill_null(False)  # noqa: FBT003
    best = joined.mutate(good=good, place=place)
    return best.filter(best.place == 0)


def public_tables() -> dict[str, "Table"]:
    """BigQuery's tables, unbound: to compile, not to run."""
    import ibis

    catalog, database = PUBLIC_DATASET
    return {
        name: ibis.table(dict(columns), name=name, catalog=catalog, database=database)
        for name, columns in COLUMNS.items()
    }


def bigquery_sql(expression: "Table") -> str:
    """The query, as BigQuery is asked."""
    import ibis

    return str(ibis.to_sql(expression, dialect="bigquery"))


class LocalTables:
    """The source tables as gzipped JSON lines in a folder, read by DuckDB."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError for a table or a column that is missing or of another type."""
        import ibis

        self._connection = ibis.duckdb.connect()
        self._connection.raw_sql("SET preserve_insertion_order = false")
        self._connection.raw_sql("SET enable_progress_bar = false")
        self.tables = {name: self._table(folder, name) for name in COLUMNS}
        self._folder = folder

    def origin(self) -> Origin:
        """The tables, by the MD5 of their files."""
        versions = {
            name: hashlib.md5((self._folder / _file(name)).read_bytes(), usedforsecurity=False)
            for name in COLUMNS
        }
        return Origin(
            engine="duckdb", tables={name: md5.hexdigest() for name, md5 in versions.items()}
        )

    def retrieve(self, expression: "Table") -> Iterator["pa.RecordBatch"]:
        """The rows of an expression on `tables`, BATCH_ROWS at a time."""
        from duckdb import Error

        try:
            reader = self._connection.to_pyarrow_batches(expression, chunk_size=BATCH_ROWS)
            with closing(reader):
                yield from reader
        except Error as error:
            raise _unreadable(error) from None

    def close(self) -> None:
        """Lets the tables go."""
        self._connection.disconnect()

    def _table(self, folder: Path, name: str) -> "Table":
        from duckdb import Error

        path = folder / _file(name)
        if not path.exists():
            raise UserError("this source table is missing", path=str(path), fix="git checkout it")
        columns = {column: _DUCKDB[kind] for column, kind in COLUMNS[name].items()}
        try:
            self._check_columns(path, columns)
            return self._connection.read_json(
                path,
                table_name=name,
                format="newline_delimited",
                columns=columns,
                maximum_object_size=_LARGEST_ROW_BYTES,
            )
        except Error as error:
            raise _unreadable(error, str(path)) from None

    def _check_columns(self, path: Path, columns: Mapping[str, str]) -> None:
        """DuckDB reads a column that is not there as nulls: it is looked for here."""
        options: dict[str, Any] = {"maximum_object_size": _LARGEST_ROW_BYTES}
        found = self._connection.read_json(path, format="newline_delimited", **options).columns
        missing = [column for column in columns if column not in found]
        if missing:
            raise UserError(
                f"the source table has no column {', '.join(missing)}",
                path=str(path),
                line=1,
                fix=f"it has: {', '.join(found)}",
            )


def _file(table: str) -> str:
    return f"{table}.jsonl.gz"


_LARGEST_ROW_BYTES = 64 * 2**20


def _unreadable(error: Exception, path: str | None = None) -> UserError:
    reason = str(error).splitlines()[0]
    fix = "look at the row: a type that changed, or text that is not UTF-8"
    return UserError(f"the source table cannot be read: {reason}", path=path, fix=fix)
