"""One deploy at a time: a lock in the endpoint's labels, taken and kept by its etag."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from llmops.errors import MachineryError
from llmops.vertex.clients import Clients
from llmops.vertex.live import Labels, Live
from llmops.vertex.write import change_endpoint

_HELD_SECONDS = 300
_RENEWED_SECONDS = 120
"""With less than this left it is renewed."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who deploys: a workflow run, or a process on a machine."""

    name: str

    @classmethod
    def this(cls, run_id: str) -> "Holder":
        """A workflow run that is started again holds its lock still; so may a process of here."""
        if run_id:
            return cls(name=f"run-{run_id}")
        host = "".join(c if c.isalnum() else "-" for c in socket.gethostname().lower())
        return cls(name=f"pid-{os.getpid()}-{host}"[:63])

    def is_dead(self, other: str) -> bool:
        """Whether the lock is of a process of this machine that is gone: killed, that is."""
        kind, _, rest = other.partition("-")
        pid, _, host = rest.partition("-")
        if kind != "pid" or not pid.isdigit() or not self.name.endswith(f"-{host}"):
            return False
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class BusyError(MachineryError):
    """Another deploy holds the lock, and the rule is to refuse."""


def hold(
    clients: Clients,
    live: Live,
    holder: Holder,
    *,
    when_busy: str,
    say: Callable[[str], None],
) -> bool:
    """Takes or renews the lock. True where it was held already; False: look again.

    Raises BusyError where another holds it and `when_busy` is `refuse`, ConflictError where
    another was faster.
    """
    now = time.time()
    other, until = live.label(Labels.LOCK), float(live.label(Labels.LOCK_UNTIL) or 0)
    if other == holder.name and until - now > _RENEWED_SECONDS:
        return True
    if other and other != holder.name and until > now and not holder.is_dead(other):
        if when_busy == "refuse":
            message = f"{other} is deploying to {live.endpoint}"
            raise BusyError(
                message, fix=f"wait for it; its lock ends in {until - now:.0f} s at most"
            )
        say(f"waiting for {other}, which is deploying; at most {until - now:.0f} s")
        time.sleep(min(2.0, until - now))
        return False
    labels = {Labels.LOCK: holder.name, Labels.LOCK_UNTIL: str(int(now + _HELD_SECONDS))}
    change_endpoint(clients, live, labels=dict(labels))
    return False


def release(clients: Clients, live: Live, holder: Holder) -> None:
    """Gives the lock back, if it is ours, or of one that was killed after its last step."""
    other = live.label(Labels.LOCK)
    if other and (other == holder.name or holder.is_dead(other)):
        change_endpoint(clients, live, labels={Labels.LOCK: None, Labels.LOCK_UNTIL: None})
