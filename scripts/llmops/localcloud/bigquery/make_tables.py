"""Makes the shipped source tables out of CPython's own docstrings.

`python -m llmops.localcloud.bigquery.make_tables` writes posts_questions.jsonl.gz and
posts_answers.jsonl.gz beside this file, in the columns of bigquery-public-data.stackoverflow.
The words are CPython's (PSF licence, see NOTICE); titles, scores, dates and the noise around them
are made up by a seeded generator. One Python version gives the same bytes every time; the shipped
tables were made with Python 3.11.
"""

import gzip
import html
import importlib
import inspect
import json
import pkgutil
import random
import re
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_SKIPPED = re.compile(
    r"^(_|test|idlelib|lib2to3|turtle|antigravity|this$|distutils|ensurepip|pip|setuptools|"
    r"pydoc_data|tkinter|msilib|encodings)"
)
_SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)")
_FEWEST_WORDS, _MOST_WORDS = 4, 40
_FIRST_DAY = datetime(2019, 1, 1, tzinfo=UTC)
_DAYS = 2700
_TITLES = (
    "What does {name} do?",
    "What does {name} do?",
    "What does {name} do?",
    "What does {name} do in Python?",
    "What is {name} for?",
)
_OTHER_TAGS = ("java", "c#", "javascript", "go", "rust", "r")


def docstrings() -> Iterator[tuple[str, str]]:
    """Qualified name -> whole docstring, for what is public in the standard library."""
    for name in sorted(sys.stdlib_module_names):
        if not _SKIPPED.match(name):
            yield from _module(name)


def first_sentence(doc: str) -> str | None:
    """The first sentence of a docstring, or None where it makes no answer."""
    paragraphs = doc.strip().split("\n\n")
    # Built-in functions begin with their signature.
    if re.match(r"^[\w.]+\(.*\)\s*(->.*)?$", paragraphs[0].split("\n")[0]):
        paragraphs = paragraphs[1:]
    if not paragraphs:
        return None
    text = " ".join(paragraphs[0].split())
    found = _SENTENCE.match(text)
    sentence = found[1] if found else text + "."
    words = len(sentence.split())
    good = (
        _FEWEST_WORDS <= words <= _MOST_WORDS
        and sentence.isascii()
        and sentence[0].isupper()
        and not sentence.startswith("See ")
        and "deprecated" not in sentence.lower()
    )
    return sentence if good else None


def pairs() -> dict[str, tuple[str, str]]:
    """Qualified name -> (first sentence, docstring); each sentence once, by its shortest name."""
    by_sentence: dict[str, tuple[str, str]] = {}
    for name, doc in docstrings():
        sentence = first_sentence(doc)
        if sentence is None:
            continue
        known = by_sentence.get(sentence)
        if known is None or (len(name), name) < (len(known[0]), known[0]):
            by_sentence[sentence] = (name, doc)
    found = {name: (sentence, doc) for sentence, (name, doc) in by_sentence.items()}
    return dict(sorted(found.items()))


def tables(chance: random.Random) -> tuple[list[Row], list[Row]]:
    """Questions and answers, with the noise that such tables have."""
    questions: list[Row] = []
    answers: list[Row] = []
    for name, (sentence, doc) in pairs().items():
        question = _question(chance, len(questions) + 1, name)
        questions.append(question)
        _answer_well(chance, question, answers, sentence, doc)
        if chance.random() < 0.04:  # asked again, in other letters or with a greeting
            again = _question(chance, len(questions) + 1, name)
            again["title"] = chance.choice((question["title"], question["title"].lower()))
            questions.append(again)
            if chance.random() < 0.5:
                _answer_well(chance, again, answers, sentence, doc)
        if chance.random() < 0.05:  # nobody answered, or nobody well
            lonely = _question(chance, len(questions) + 1, name + " again")
            questions.append(lonely)
            if chance.random() < 0.5:
                _add_answer(chance, lonely, answers, "<p>I have the same problem.</p>", -2)
        if chance.random() < 0.06:
            foreign = _question(chance, len(questions) + 1, name)
            foreign["title"] = f"Is there something like {name} here?"
            foreign["tags"] = chance.choice(_OTHER_TAGS)
            questions.append(foreign)
            _answer_well(chance, foreign, answers, "There is not.", "There is not.")
    return questions, answers


def main() -> None:
    """Writes both tables."""
    warnings.simplefilter("ignore")
    questions, answers = tables(random.Random(20_260_801))  # noqa: S311 - noise, not a secret
    for name, rows in (("posts_questions", questions), ("posts_answers", answers)):
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        path = Path(__file__).with_name(f"{name}.jsonl.gz")
        # Without a time stamp in it, equal content is an equal file.
        path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        print(f"{path.name}: {len(rows)} rows, {path.stat().st_size:,} bytes")


def _module(name: str) -> Iterator[tuple[str, str]]:
    try:
        module = importlib.import_module(name)
    except Exception:  # noqa: BLE001 - a module for another system, say
        return
    for key, thing in sorted(vars(module).items()):
        if key.startswith("_") or inspect.ismodule(thing) or _is_borrowed(thing, name):
            continue
        if inspect.isroutine(thing):
            yield from _doc(f"{name}.{key}()", thing)
        elif inspect.isclass(thing):
            yield from _doc(f"{name}.{key}", thing)
            for member, value in sorted(vars(thing).items()):
                if member.startswith("_"):
                    continue
                if isinstance(value, property):
                    yield from _doc(f"{name}.{key}.{member}", value)
                elif inspect.isroutine(value):
                    yield from _doc(f"{name}.{key}.{member}()", getattr(thing, member, value))
    for inner in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not inner.name.startswith(("_", "test", "idle_test")):
            yield from _module(f"{name}.{inner.name}")


def _is_borrowed(thing: object, module: str) -> bool:
    """Whether the module only imports the thing from a public module elsewhere."""
    owner = getattr(thing, "__module__", None) or module
    own = owner == module or owner.startswith((module + ".", "_")) or owner in {"posix", "nt"}
    return not own


def _doc(name: str, thing: object) -> Iterator[tuple[str, str]]:
    doc = inspect.getdoc(thing)
    if doc:
        yield name, doc


def _question(chance: random.Random, number: int, name: str) -> Row:
    created = _FIRST_DAY + timedelta(days=chance.randrange(_DAYS), seconds=chance.randrange(86_400))
    topic = name.split(".", maxsplit=1)[0]
    body = f"<p>I found <code>{html.escape(name)}</code> in some code. What is it for?</p>"
    if chance.random() < 0.3:
        body += (
            f"\n<pre><code>import {topic}\nhelp({html.escape(name.rstrip('()'))})\n</code></pre>"
        )
    if chance.random() < 0.01:
        body += f"\n<p>Please write to reader{number}@example.com &amp; thanks!</p>"
    return {
        "id": 50_000_000 + number * 7,
        "title": chance.choice(_TITLES).format(name=name),
        "body": body,
        "accepted_answer_id": None,
        "answer_count": 0,
        "comment_count": chance.randrange(5),
        "creation_date": created.isoformat(sep=" "),
        "last_activity_date": created.isoformat(sep=" "),
        "owner_user_id": chance.randrange(1, 20_000),
        "score": chance.randrange(-1, 30),
        "tags": f"python|{topic}" if chance.random() < 0.9 else f"python-3.x|python|{topic}",
        "view_count": chance.randrange(20, 50_000),
    }


def _answer_well(
    chance: random.Random, question: Row, answers: list[Row], sentence: str, doc: str
) -> None:
    body = f"<p>{html.escape(sentence)}</p>"
    if chance.random() < 0.5:
        body += f"\n<pre><code>{html.escape(doc[:600])}\n</code></pre>"
    if chance.random() < 0.01:
        body += "\n<p>Still stuck? Mail me: helper@example.org</p>"
    good = _add_answer(chance, question, answers, body, chance.randrange(3, 60))
    if chance.random() < 0.9:
        question["accepted_answer_id"] = good["id"]
    if chance.random() < 0.15:
        _add_answer(chance, question, answers, "<p>Have you read the documentation?</p>", 0)


def _add_answer(
    chance: random.Random, question: Row, answers: list[Row], body: str, score: int
) -> Row:
    asked = datetime.fromisoformat(question["creation_date"])
    answer = {
        "id": 70_000_000 + len(answers) * 3,
        "parent_id": question["id"],
        "body": body,
        "creation_date": (asked + timedelta(minutes=chance.randrange(5, 9000))).isoformat(sep=" "),
        "owner_user_id": chance.randrange(1, 20_000),
        "score": score,
    }
    answers.append(answer)
    question["answer_count"] += 1
    return answer


if __name__ == "__main__":
    main()
