"""Source tables of a test's own, in the columns of bigquery-public-data.stackoverflow."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from llmops.data import params
from llmops.data.build import Dataset, build
from llmops.data.params import DataParams
from llmops.data.retrieve import LocalTables

from tests.services import PROJECT

Row = dict[str, Any]


def asked(number: int, title: str = "", **changes: object) -> Row:
    """A row of posts_questions."""
    return {
        "id": number,
        "title": title or f"What does module{number}.thing() do?",
        "tags": f"python|module{number}",
        "accepted_answer_id": None,
        "creation_date": "2024-05-06 07:08:09+00:00",
        **changes,
    }


def answered(question: Row, body: str = "", *, number: int = 1, score: int = 9) -> Row:
    """A row of posts_answers."""
    body = body or f"<p>{unlike(question['id'])}</p>"
    key = question["id"] * 100 + number
    return {"id": key, "parent_id": question["id"], "body": body, "score": score}


def unlike(number: int) -> str:
    """A sentence that is near no other of another number."""
    return f"Return {' '.join(f'part{number}n{place}' for place in range(6))} for this use."


def write_tables(folder: Path, questions: Sequence[Row], answers: Sequence[Row]) -> Path:
    """The folder, with both tables as gzipped JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("posts_questions", questions), ("posts_answers", answers)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def shipped_params() -> DataParams:
    """Those of params.yaml."""
    return params.load(PROJECT)


@contextmanager
def local(folder: Path) -> Iterator[LocalTables]:
    """The tables of a folder."""
    with closing(LocalTables(folder)) as tables:
        yield tables


def build_from(
    folder: Path,
    questions: Sequence[Row],
    answers: Sequence[Row],
    wanted: DataParams | None = None,
    cases: Sequence[str] = (),
) -> Dataset:
    """What is built from such tables."""
    with local(write_tables(folder / "tables", questions, answers)) as tables:
        return build(tables, wanted or shipped_params(), folder / "made", cases=cases)


def files(dataset: Dataset) -> dict[str, bytes]:
    """File name -> content."""
    return {name: (dataset.folder / name).read_bytes() for name in dataset.files}


def rows(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """Question -> (split, answer)."""
    found = {}
    for split in dataset.rows:
        for line in (dataset.folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "vars" in row:
                question, answer = row["vars"]["question"], row["vars"]["reference"]
            else:
                question, answer = (turn["parts"][0]["text"] for turn in row["contents"])
            found[question] = (split, answer)
    return found
