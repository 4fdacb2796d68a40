"""Running another program: its command logged, its last words kept when it fails."""

import logging
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llmops.errors import MachineryError

_LAST_LINES = 15
_GRACE_SECONDS = 10.0
"""What a program that is stopped has for cleaning up, such as a job that it started elsewhere."""
_log = logging.getLogger(__name__)


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None,
    accepted: frozenset[int] = frozenset({0}),
    fix: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """What the program prints, standard error included; `env` None hands on this process's own.

    With `on_line`, that is called with each line as it comes. Raises MachineryError with the last
    lines when the program ends with a code that is not `accepted`.
    """
    shown = shlex.join(command)
    _log.info("running %s", shown)
    try:
        started = subprocess.Popen(
            command,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise MachineryError(f"{command[0]} is not installed", fix=fix or "make setup") from None
    lines = []
    with started:
        try:
            for line in started.stdout or ():
                lines.append(line)
                if on_line:
                    on_line(line.rstrip())
        except BaseException:
            _stop(started)
            raise
    if started.returncode not in accepted:
        tail = "\n    ".join(line.rstrip() for line in lines[-_LAST_LINES:])
        message = f"{shown} ended with code {started.returncode}:\n    {tail}"
        raise MachineryError(message, fix=fix)
    return "".join(lines)


def _stop(program: "subprocess.Popen[str]") -> None:
    program.send_signal(signal.SIGINT)
    try:
        program.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
