"""Asking the model for the answers that are missing, several at a time, each kept as it comes."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from llmops import progress
from llmops.errors import MachineryError
from llmops.evals.cache import ContentCache
from llmops.release import Release
from llmops.serving.answer import Answer

Ask = Callable[[Release, dict[str, Any]], Answer]

# So many failures before the first success mean that the model is not there at all: asking on
# would only make a person wait for the same news.
_HOPELESS = 8


@dataclass(frozen=True, kw_only=True)
class Question:
    """One answer that is wanted."""

    key: str
    """Its answer key, see release.answer_key."""
    release: Release
    variables: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What asking came to."""

    answers: dict[str, Answer]
    """By key; with errors, which are not kept in the cache."""
    calls: int
    busy_seconds: float
    """Wall time in which at least one call was under way."""


def ask_all(
    questions: Sequence[Question],
    ask: Ask,
    cache: ContentCache[Answer],
    *,
    concurrency: int,
    quiet: bool = False,
) -> Asked:
    """Asks every question once. Ctrl-C ends it after the calls under way, whose answers are kept.

    Raises MachineryError when the model answers nothing at all.
    """
    # One release after the other: its prompt's beginning stays in the model's prefix cache.
    ordered = sorted(questions, key=lambda question: question.release.digest)
    clock = _BusyClock()
    answers: dict[str, Answer] = {}
    reasons: Counter[str] = Counter()

    def one(question: Question) -> None:
        with clock:
            answer = ask(question.release, question.variables)
        answers[question.key] = answer
        if answer.error is None:
            cache.put(question.key, answer)
        else:
            reasons[answer.error] += 1

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="ask")
    try:
        with progress.counted("asking the model", len(ordered), quiet=quiet) as advance:
            pending: set[Future[None]] = {pool.submit(one, question) for question in ordered}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                failed = reasons.total()
                advance(len(done), note=f"{failed} errors" if failed else "")
                if failed >= _HOPELESS and failed == len(answers):
                    raise _nobody_there(reasons)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if reasons and reasons.total() == len(answers):
        raise _nobody_there(reasons)
    return Asked(answers=answers, calls=len(answers), busy_seconds=clock.seconds)


def _nobody_there(reasons: Counter[str]) -> MachineryError:
    reason, count = reasons.most_common(1)[0]
    return MachineryError(
        f"the model answers nothing: {count} calls failed, each after retries: {reason}",
        fix="llmops local status (locally), or check the project, region and model's name",
    )


class _BusyClock:
    """Counts the wall time in which at least one thread is inside."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = 0
        self._since = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._since = time.perf_counter()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.seconds += time.perf_counter() - self._since
