"""What a built data set must keep, or the build stops: with the rows that break it as evidence."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops import yamlfile
from llmops.data.clean import CHARACTERS_PER_TOKEN
from llmops.data.duplicates import MEMORY
from llmops.data.params import PATH as PARAMS
from llmops.data.params import Contract
from llmops.data.rows import rows_of_folder
from llmops.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from ibis.expr.types import BooleanValue, Table

SAMPLES = 5
_BATCH = 10_000
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One clause that is not kept."""

    clause: str
    """Its key under data.contract of params.yaml."""
    says: str
    rows: tuple[str, ...]
    """Evidence: `data/train.jsonl:17 question → answer`."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a data set that keeps its contract measures."""

    rows: dict[str, int]
    tokens: tuple[int, int]
    """Of the shortest and of the longest row."""
    topic: str
    """The one with the most rows."""
    largest_topic: float
    code: float
    """Share of the answers that have code in them."""


def check(folder: Path, contract: Contract, params_text: str = "") -> Measured:
    """Reads the data set of a folder against its contract.

    Raises UserError, with rows as evidence, for each clause that is broken; `params_text` is that
    of params.yaml, for the line of the first one.
    """
    import ibis
    from duckdb import InvalidInputException

    with tempfile.TemporaryDirectory(prefix="llmops-contract-") as name:
        connection = ibis.duckdb.connect(Path(name) / "rows.duckdb", memory_limit=MEMORY)
        try:
            connection.raw_sql("SET enable_progress_bar = false")
            table = connection.create_table("row", schema=ibis.schema(_schema()))
            for batch in _batches(folder):
                connection.insert("row", batch)
            measured = _measure(table)
            broken = [*_broken_rows(table, contract), *_broken_shares(table, measured, contract)]
        except InvalidInputException as error:
            raise UserError(
                f"characters is not what may stand in the brackets of a pattern: {error}",
                path=PARAMS,
                line=_line(params_text, "characters"),
                fix="https://github.com/google/re2/wiki/Syntax",
            ) from None
        finally:
            connection.disconnect()
    if broken:
        raise UserError(
            "the data breaks its contract:"
            + "".join(
                f"\n  {each.clause}: {each.says}" + "".join(f"\n    {row}" for row in each.rows)
                for each in broken
            ),
            path=PARAMS,
            line=_line(params_text, broken[0].clause),
            fix="mend the cleaning or the source; or, if the data may be so, the contract",
        )
    return measured


def _line(params_text: str, clause: str) -> int | None:
    return yamlfile.locate(params_text, ("data", "contract", clause)).line


def _schema() -> dict[str, str]:
    text = dict.fromkeys(("key", "split", "topic", "question", "answer"), "string")
    return {"line": "int64", **text}


def _batches(folder: Path) -> Iterator["pa.Table"]:
    import pyarrow as pa

    rows = (
        {
            "line": line,
            "key": row.key,
            "split": row.split,
            "topic": row.topic,
            "question": row.question,
            "answer": row.answer,
        }
        for line, row in rows_of_folder(folder)
    )
    while batch := list(islice(rows, _BATCH)):
        yield pa.Table.from_pylist(batch)


def _tokens(table: "Table") -> Any:  # noqa: ANN401 - an Ibis expression
    characters = table.question.length() + table.answer.length()
    return (characters / CHARACTERS_PER_TOKEN).ceil().cast("int64")


def _measure(table: "Table") -> Measured:
    topics = table.group_by("topic").agg(n=table.count())
    topics = topics.order_by(topics.n.desc(), topics.topic).limit(1)
    (topic, most), *_ = _values(topics) or [("", 0)]
    splits = table.group_by("split").agg(n=table.count()).order_by("split")
    code = table.answer.contains("`")
    ((rows, fewest, longest, coded),) = _values(
        table.agg(
            rows=table.count(),
            fewest=_tokens(table).min().fill_null(0),
            longest=_tokens(table).max().fill_null(0),
            coded=code.sum().fill_null(0),
        )
    )
    return Measured(
        rows=dict(_values(splits)),
        tokens=(fewest, longest),
        topic=topic,
        largest_topic=most / rows if rows else 0.0,
        code=coded / rows if rows else 0.0,
    )


def _broken_rows(table: "Table", contract: Contract) -> Iterator[Broken]:
    """Clauses that each row keeps or breaks by itself, or together with its twins."""
    fewest, most = contract.tokens
    allowed = table.question.re_search(_all_of(contract.characters)) & table.answer.re_search(
        _all_of(contract.characters)
    )
    twins: dict[str, BooleanValue] = {
        "key": _repeats(table, table.key),
        "question": _repeats(table, table.question.lower()),
        "answer": _repeats(table, table.answer.lower()),
    }
    clauses: list[tuple[str, BooleanValue, str]] = [
        ("tokens", ~_tokens(table).between(fewest, most), f"not of {fewest} to {most} tokens"),
        ("characters", ~allowed, f"with a character that is not in [{contract.characters}]"),
        *(("unique", twins[name], f"whose {name} another row has") for name in contract.unique),
    ]
    for clause, is_broken, says in clauses:
        # A window cannot stand in a filter: the verdict is a column first.
        found = table.mutate(broken=is_broken).filter(lambda row: row.broken)
        ((count,),) = _values(found.agg(n=found.count()))
        if count:
            yield Broken(clause=clause, says=f"{count} rows {says}, such as", rows=_shown(found))


def _broken_shares(table: "Table", measured: Measured, contract: Contract) -> Iterator[Broken]:
    """Clauses of the data set as a whole."""
    for split, fewest in contract.rows.items():
        count = measured.rows.get(split, 0)
        if count < fewest:
            says = f"{split} has {count} rows, fewer than {fewest}"
            yield Broken(clause="rows", says=says, rows=())
    if measured.largest_topic > contract.largest_topic:
        share = f"{measured.largest_topic:.1%}, more than {contract.largest_topic:.1%}"
        yield Broken(
            clause="largest_topic",
            says=f"{measured.topic} has {share} of the rows, such as",
            rows=_shown(table.filter(table.topic == measured.topic)),
        )
    low, high = contract.code
    if not low <= measured.code <= high:
        with_code = table.answer.contains("`")
        yield Broken(
            clause="code",
            says=f"{measured.code:.1%} of the answers have code, not {low:.1%} to {high:.1%}, "
            "such as",
            rows=_shown(table.filter(with_code if measured.code > high else ~with_code)),
        )


def _all_of(characters: str) -> str:
    return f"^[{characters}]*$"


def _repeats(table: "Table", value: Any) -> Any:  # noqa: ANN401 - Ibis expressions
    return table.count().over(group_by=value) > 1


def _shown(found: "Table") -> tuple[str, ...]:
    first = found.order_by("split", "line").limit(SAMPLES)
    columns = first.select("split", "line", "question", "answer")
    return tuple(
        f"data/{split}.jsonl:{line} {_short(question)} → {_short(answer)}"
        for split, line, question, answer in _values(columns)
    )


def _short(text: str) -> str:
    shown = ascii(text)[1:-1] if not text.isprintable() else text
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"


def _values(table: "Table") -> list[tuple[Any, ...]]:
    rows: list[Mapping[str, Any]] = table.to_pyarrow().to_pylist()
    return [tuple(row.values()) for row in rows]
