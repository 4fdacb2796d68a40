"""The one way back: traffic to a former release, in one call where it is still deployed."""

import time
from dataclasses import dataclass

from llmops.errors import UserError
from llmops.formats import Serving
from llmops.vertex import write
from llmops.vertex.clients import Clients, ConflictError
from llmops.vertex.live import Labels, Live, ReleaseLabel, Version, as_label
from llmops.vertex.read import live_state

_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What a rollback did."""

    application: str
    environment: str
    from_release: str
    to_release: str
    seconds: float
    redeployed: bool
    """Whether the former release had to be deployed again: its grace time was over."""


def roll_back(
    clients: Clients,
    application: str,
    serving: Serving,
    *,
    to: str | None,
    by: str,
    run_id: str,
) -> RolledBack:
    """Gives all traffic to the former release, or to the one whose digest begins with `to`.

    A deploy that is under way loses: it sees that its release was rejected, and stops. Raises
    UserError where there is nothing to go back to.
    """
    started = time.monotonic()
    for attempt in range(_ATTEMPTS):
        live = live_state(clients, application)
        current = _current(live)
        target = _target(live, current, to, application)
        redeployed = live.serving(target.release) is None
        labels: dict[str, str | None] = {
            Labels.STABLE: target.release,
            Labels.REJECTED: current,
            Labels.CANARY: None,
            Labels.SINCE: str(int(time.time())),
            Labels.BY: as_label(by),
            Labels.RUN: as_label(run_id),
            Labels.LOCK: None,
            Labels.LOCK_UNTIL: None,
        }
        try:
            if redeployed:
                digest = target.artifact.rpartition("/")[2]
                split = {each.id: 0 for each in live.deployed} | {"0": 100}
                write.deploy(clients, live, target.name, digest, serving, split)
                live = live_state(clients, application)
            serves = live.serving(target.release)
            split = {each.id: 100 if each == serves else 0 for each in live.deployed}
            write.change_endpoint(clients, live, labels=labels, split=split)
            break
        except ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
    return RolledBack(
        application=application,
        environment=clients.environment.name,
        from_release=current,
        to_release=target.release,
        seconds=time.monotonic() - started,
        redeployed=redeployed,
    )


def _current(live: Live) -> ReleaseLabel:
    """What is to be left: the canary while one rises, else the stable release."""
    canary = live.label(Labels.CANARY)
    return ReleaseLabel(canary or live.label(Labels.STABLE))


def _target(live: Live, current: str, to: str | None, application: str) -> Version:
    known = [each for each in live.versions if each.release]
    if to is not None:
        found = [each for each in known if each.release.startswith(to.lower()[:40])]
        if len({each.release for each in found}) != 1:
            names = ", ".join(dict.fromkeys(each.release[:12] for each in known)) or "none"
            which = "more than one release begins" if found else "no release begins"
            raise UserError(f"{which} with {to!r}", fix=f"known releases: {names}")
        return found[0]
    if current != live.label(Labels.STABLE):
        stable = live.version(ReleaseLabel(live.label(Labels.STABLE)))
        if stable is not None:
            return stable
    deployed = {each.release for each in live.deployed}
    former = [each for each in known if each.release != current]
    former.sort(key=lambda v: (v.release in deployed, v.verified, int(v.number)))
    if not former:
        fix = "llmops status shows what is live"
        raise UserError(f"{application} has no former release to go back to", fix=fix)
    return former[-1]
