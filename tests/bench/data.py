"""What building data costs: rows a second and memory, beside the plain way of doing it."""

import gzip
import json
import multiprocessing
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil

from tests.services import PROJECT

Row = tuple[str, str, str]
NEAR_DUPLICATES = 0.05
THRESHOLD = 0.8
_PERMUTATIONS = 64
_WORDS = 20_000


def build_rows(folder: Path, sizes: tuple[int, ...]) -> list[Row]:
    """Our build, and the plain ones; comparing all pairs only where it ends in minutes."""
    found = []
    first: tuple[int, float, float] | None = None
    # Whoever comes first reads all code from the disk, and compiles it.
    for work in (_build, _pandas_and_a_loop, _datasketch):
        _measured(work, write_posts(folder / work.__name__, 100))
    for size in sizes:
        tables = write_posts(folder / str(size), size)
        seconds, memory = _measured(_build, tables)
        beside = []
        if first is None:
            first = size, seconds, memory
            plain, _ = _measured(_pandas_and_a_loop, tables)
            beside.append(f"{seconds / plain:.2f} times pandas and comparing all pairs")
        else:
            beside.append(
                f"{size / first[0]:.0f} times the rows, {seconds / first[1]:.1f} times the time, "
                f"{memory / first[2]:.1f} times the memory"
            )
        library, held = _measured(_datasketch, tables)
        beside.append(
            f"{seconds / library:.2f} times pandas and datasketch in time, "
            f"{memory / held:.2f} in memory"
        )
        found.append(
            (
                f"`data build`, {size:,} posts, {NEAR_DUPLICATES:.0%} near duplicates",
                f"{size / seconds:,.0f} rows/s, {seconds:.0f} s, {memory / 1e6:,.0f} MB",
                "; ".join(beside),
            )
        )
    return found


def write_posts(folder: Path, size: int) -> Path:
    """Both source tables, with answers of a natural length; the same ones every time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        gzip.open(folder / "posts_questions.jsonl.gz", "wt", compresslevel=1) as questions,
        gzip.open(folder / "posts_answers.jsonl.gz", "wt", compresslevel=1) as answers,
    ):
        for number, text in enumerate(_texts(size), start=1):
            question = {
                "id": number,
                "title": f"What does module{number % 997}.thing{number}() do?",
                "tags": f"python|module{number % 997}",
                "accepted_answer_id": number,
                "creation_date": "2024-05-06 07:08:09+00:00",
            }
            body = f"<p>{text}</p>\n<pre><code>x = thing{number}(1)\nprint(x &lt; 2)\n</code></pre>"
            answer = {"id": number, "parent_id": number, "body": body, "score": 5}
            questions.write(json.dumps(question) + "\n")
            answers.write(json.dumps(answer) + "\n")
    return folder


def _texts(size: int) -> Iterator[str]:
    draw = random.Random(1)
    former: list[str] = []
    for _ in range(size):
        if former and draw.random() < NEAR_DUPLICATES:
            words = draw.choice(former).split()
            words[-1] = f"changed{draw.randrange(_WORDS)}."
        else:
            count = draw.randrange(12, 30)
            # As in a language, few words are often used.
            ranks = (int(_WORDS ** draw.random()) for _ in range(count))
            words = ["Return", "the", *(f"word{rank}" for rank in ranks), "of", "it."]
        text = " ".join(words)
        if len(former) < 10_000:
            former.append(text)
        yield text


def _measured(work: Callable[[Path], None], tables: Path) -> tuple[float, float]:
    """Seconds, and the most bytes that all processes of it held at once."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(tables,))
    most = 0.0
    stopped = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stopped.wait(0.1):
            try:
                family = psutil.Process(process.pid)
                # What processes share is counted once.
                held = [
                    each.memory_full_info().pss
                    for each in (family, *family.children(recursive=True))
                ]
            except psutil.Error:
                continue
            most = max(most, float(sum(held)))

    started = time.perf_counter()
    process.start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    process.join()
    seconds = time.perf_counter() - started
    stopped.set()
    watcher.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")
    return seconds, most


def _build(tables: Path) -> None:
    from contextlib import closing

    from llmops.data import params
    from llmops.data.build import build
    from llmops.data.retrieve import LocalTables
    from llmops.datasets import eval_cases

    with closing(LocalTables(tables)) as source:
        build(source, params.load(PROJECT), tables / "made", cases=eval_cases(PROJECT))


def _cleaned(tables: Path) -> list[str]:
    """The plain way: the whole table in pandas, one row after the other."""
    import pandas as pd
    from llmops.data.text import first_sentence, to_markdown

    questions = pd.read_json(tables / "posts_questions.jsonl.gz", lines=True)
    answers = pd.read_json(tables / "posts_answers.jsonl.gz", lines=True)
    joined = questions.merge(answers, left_on="id", right_on="parent_id")
    return list(joined["body"].map(lambda body: first_sentence(to_markdown(body))))


def _shingles(text: str) -> frozenset[str]:
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return frozenset(map(" ".join, pairwise(words)))


def _pandas_and_a_loop(tables: Path) -> None:
    texts = _cleaned(tables)
    sets = [_shingles(text) for text in texts]
    kept: list[frozenset[str]] = []
    for each in sets:
        if not any(len(each & other) / len(each | other) >= THRESHOLD for other in kept):
            kept.append(each)


def _datasketch(tables: Path) -> None:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=_PERMUTATIONS)
    for number, text in enumerate(_cleaned(tables)):
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update_batch([pair.encode() for pair in _shingles(text)])
        if not index.query(sketch):
            index.insert(number, sketch)
