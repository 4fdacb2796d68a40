"""Questions and answers: rows of BigQuery's stackoverflow.posts_questions and posts_answers."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row of posts_questions, as far as the data needs it."""

    id: int
    title: str
    """Plain text, with HTML entities."""
    tags: tuple[str, ...]
    accepted_answer_id: int | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row of posts_answers."""

    id: int
    question_id: int
    body: str
    """HTML."""
    score: int


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table that is kept as gzipped JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def questions(rows: Iterable[dict[str, Any]]) -> list[Question]:
    """Rows of posts_questions, typed."""
    return [
        Question(
            id=row["id"],
            title=row["title"],
            tags=tuple(row["tags"].split("|")),
            accepted_answer_id=row["accepted_answer_id"],
        )
        for row in rows
    ]


def answers(rows: Iterable[dict[str, Any]]) -> list[Answer]:
    """Rows of posts_answers, typed."""
    return [
        Answer(id=row["id"], question_id=row["parent_id"], body=row["body"], score=row["score"])
        for row in rows
    ]
