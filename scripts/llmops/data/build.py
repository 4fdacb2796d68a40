"""What data/ holds: posts retrieved, cleaned, deduplicated and split, the same bytes every time."""

import hashlib
import html
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops.data import card
from llmops.data.posts import Answer, Question
from llmops.data.text import first_sentence, mask_emails, subject, to_markdown

LANGUAGE = "python"
LOWEST_SCORE = 3
"""Of an answer that nobody accepted."""
SHORTEST, LONGEST = 4, 40
"""Words of a usable answer."""
TEST_SHARE, VALIDATION_SHARE = 0.037, 0.045
"""About 170 cases are answered in two minutes on a laptop, and show a drop of 0.03 in ROUGE-L."""
SYSTEM_INSTRUCTION = "Answer questions about the Python standard library in one short sentence."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One question and its one-sentence answer."""

    key: str
    """What the question is about, such as `pathlib.PurePath.suffix`: stable, unique."""
    topic: str
    question: str
    answer: str

    @property
    def split(self) -> str:
        """`train`, `validation` or `test`: by the key's MD5, so that a row never moves."""
        place = int(hashlib.md5(self.key.encode(), usedforsecurity=False).hexdigest()[:8], 16)
        share = place / 2**32
        if share < TEST_SHARE:
            return "test"
        return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What data/ holds."""

    files: dict[str, bytes]
    """File name -> content."""
    rows: dict[str, int]
    """Split -> rows."""
    dropped: dict[str, int]
    """Reason -> questions, in the order of the steps."""


def build(questions: Sequence[Question], answers: Sequence[Answer]) -> Dataset:
    """The data set. The order of the rows that are given does not matter."""
    dropped: dict[str, int] = {}
    retrieved = _retrieve(questions, answers, dropped)
    pairs = _distinct(_clean(retrieved, dropped), dropped)
    splits: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for pair in pairs:
        splits[pair.split].append(pair)
    rows = {split: len(found) for split, found in splits.items()}
    files = {
        "train.jsonl": _jsonl(map(_tuning_example, splits["train"])),
        "validation.jsonl": _jsonl(map(_tuning_example, splits["validation"])),
        "test.jsonl": _jsonl(map(_case, splits["test"])),
        "README.md": card.render(
            retrieved=len(questions),
            dropped=dropped,
            rows=rows,
            topics=[pair.topic for pair in pairs],
            lengths=[len(pair.answer.split()) for pair in pairs],
        ).encode(),
    }
    return Dataset(files=files, rows=rows, dropped=dropped)


def write(dataset: Dataset, folder: Path) -> None:
    """Makes the folder hold the data set's files and nothing else of an older one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in dataset.files.items():
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    for old in folder.iterdir():
        if old.is_file() and old.name not in dataset.files:
            old.unlink()


def directory_md5(files: Mapping[str, bytes]) -> str:
    """DVC's name for a directory of these files: the MD5 of `directory_object`, with `.dir`."""
    return hashlib.md5(directory_object(files), usedforsecurity=False).hexdigest() + ".dir"


def directory_object(files: Mapping[str, bytes]) -> bytes:
    """What DVC keeps for a directory (dvc_data.hashfile.tree.Tree.as_bytes)."""
    entries = [
        {"md5": hashlib.md5(content, usedforsecurity=False).hexdigest(), "relpath": name}
        for name, content in sorted(files.items())
    ]
    return json.dumps(entries, sort_keys=True).encode()


def pointer(dataset: Dataset) -> str:
    """The text of `data.dvc`: what DVC would write, and the rows of each split beside it."""
    size = sum(map(len, dataset.files.values()))
    lines = [
        "outs:",
        f"- md5: {directory_md5(dataset.files)}",
        f"  size: {size}",
        f"  nfiles: {len(dataset.files)}",
        "  hash: md5",
        "  path: data",
        "meta:",
        "  rows:",
        *(f"    {split}: {count}" for split, count in dataset.rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _retrieve(
    questions: Sequence[Question], answers: Sequence[Answer], dropped: dict[str, int]
) -> list[tuple[Question, Answer]]:
    """Questions about Python, each with its accepted answer, else with its best."""
    by_question: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_question[answer.question_id].append(answer)
    foreign = unanswered = low = 0
    found = []
    for question in sorted(questions, key=lambda question: question.id):
        given = by_question[question.id]
        if LANGUAGE not in question.tags:
            foreign += 1
        elif not given:
            unanswered += 1
        else:
            best = max(given, key=lambda a: (a.id == question.accepted_answer_id, a.score, -a.id))
            if best.id == question.accepted_answer_id or best.score >= LOWEST_SCORE:
                found.append((question, best))
            else:
                low += 1
    dropped[f"not tagged `{LANGUAGE}`"] = foreign
    dropped["without an answer"] = unanswered
    dropped[f"no answer accepted or scored {LOWEST_SCORE} or more"] = low
    return found


def _clean(posts: Iterable[tuple[Question, Answer]], dropped: dict[str, int]) -> list[Pair]:
    """Pairs of plain text; an answer is its first sentence."""
    unusable = 0
    pairs = []
    for question, answer in posts:
        title = mask_emails(" ".join(html.unescape(question.title).split()))
        sentence = first_sentence(to_markdown(answer.body))
        if not SHORTEST <= len(sentence.split()) <= LONGEST:
            unusable += 1
            continue
        topic = question.tags[-1]
        if sentence[-1] not in ".!?":
            sentence += "."
        pairs.append(Pair(key=subject(title), topic=topic, question=title, answer=sentence))
    dropped[f"first sentence not of {SHORTEST} to {LONGEST} words"] = unusable
    return pairs


def _distinct(pairs: Iterable[Pair], dropped: dict[str, int]) -> list[Pair]:
    """One pair for each subject and for each answer, by key: the oldest question is kept.

    One answer to two questions (a function and its twin in another module) would let a model
    that learnt the one pass the test on the other.
    """
    by_key: dict[str, Pair] = {}
    twice = 0
    for pair in pairs:
        twice += pair.key in by_key
        by_key.setdefault(pair.key, pair)
    by_answer: dict[str, Pair] = {}
    for _, pair in sorted(by_key.items()):
        by_answer.setdefault(pair.answer.lower(), pair)
    dropped["duplicate of an older question"] = twice
    dropped["same answer as another question"] = len(by_key) - len(by_answer)
    return list(by_answer.values())


def _tuning_example(pair: Pair) -> dict[str, Any]:
    """Vertex AI's data set format for supervised tuning of Gemini models."""
    return {
        "systemInstruction": {"role": "system", "parts": [{"text": SYSTEM_INSTRUCTION}]},
        "contents": [
            {"role": "user", "parts": [{"text": pair.question}]},
            {"role": "model", "parts": [{"text": pair.answer}]},
        ],
    }


def _case(pair: Pair) -> dict[str, Any]:
    """Promptfoo's format for a test case."""
    return {
        "description": pair.question,
        "vars": {"question": pair.question, "reference": pair.answer},
        "metadata": {"id": pair.key, "topic": pair.topic},
    }


def _jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
