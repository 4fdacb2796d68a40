"""Running another program: its command logged, its last words kept when it fails."""

import logging
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmops.errors import MachineryError

_LAST_LINES = 15
_log = logging.getLogger(__name__)


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None,
    accepted: frozenset[int] = frozenset({0}),
    fix: str | None = None,
) -> str:
    """What the program prints, standard error included; `env` None hands on this process's own.

    Raises MachineryError with its last lines when it ends with a code that is not `accepted`.
    """
    shown = shlex.join(command)
    _log.info("running %s", shown)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise MachineryError(f"{command[0]} is not installed", fix=fix or "make setup") from None
    if done.returncode not in accepted:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        message = f"{shown} ended with code {done.returncode}:\n    {tail}"
        raise MachineryError(message, fix=fix)
    return done.stdout
