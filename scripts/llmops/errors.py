"""What can go wrong, in the words of the person who can mend it."""

from enum import IntEnum
from pathlib import PurePath


class ExitCode(IntEnum):
    """What the process says to a script: see docs/exit-codes.md."""

    PASS = 0
    GATE_FAILED = 1
    INVALID = 2
    MACHINERY = 3
    INTERRUPTED = 130


class LlmopsError(Exception):
    """A foreseen failure: one message, an optional fix, an exit code."""

    exit_code = ExitCode.MACHINERY

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  fix: {self.fix}"


class UserError(LlmopsError):
    """Something a person wrote is wrong (exit 2): names the file, the line and the remedy."""

    exit_code = ExitCode.INVALID

    def __init__(
        self,
        message: str,
        *,
        path: str | PurePath | None = None,
        line: int | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.path = None if path is None else str(path)
        self.line = line

    @property
    def place(self) -> str:
        """`file:line`, `file`, or the empty string: what an editor can jump to."""
        if self.path is None:
            return ""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.place}: {text}" if self.place else text


class MachineryError(LlmopsError):
    """A service, a process, a disk or the network failed (exit 3): not the change's fault."""
