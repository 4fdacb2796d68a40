"""How far it is and how long it will take: a bar for a person, a line now and then for a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_LOG_EVERY_SECONDS = 10.0
_animated = True


class Advance(Protocol):
    """Called for each thing that is done."""

    def __call__(self, done: int = 1, note: str = "") -> None:
        """`note` is shown beside the count, such as `2 errors`."""


@contextmanager
def counted(what: str, total: int, *, quiet: bool = False) -> Iterator[Advance]:
    """Progress on standard error, with an estimate of the time left."""
    if quiet or total == 0:
        yield _unseen
    elif _animated and sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
    else:
        yield _log_lines(what, total)


def write_lines() -> None:
    """Has progress written as lines, even to what looks like a terminal: a workflow's log."""
    global _animated  # noqa: PLW0603 - one process has one standard error
    _animated = False


def say(text: str, *, quiet: bool = False) -> None:
    """One line on standard error: what is being done now."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def _unseen(done: int = 1, note: str = "") -> None:
    """Progress that nobody wants to see."""


@contextmanager
def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, note="")

        def advance(done: int = 1, note: str = "") -> None:
            bar.update(task, advance=done, note=note)

        yield advance


def _log_lines(what: str, total: int) -> Advance:
    started = last = time.monotonic()
    count = 0

    def advance(done: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += done
        now = time.monotonic()
        if now - last >= _LOG_EVERY_SECONDS or count == total:
            last = now
            left = (now - started) / count * (total - count)
            tail = f", {note}" if note else ""
            say(f"{what}: {count} of {total}, about {left:.0f} s left{tail}")

    return advance
