"""Desired against live: in sync, waiting, rolling out, rolled back, drifted, missing, foreign."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from llmops.rollout import Goal
from llmops.sequential import Served
from llmops.vertex.live import Deployed, Labels, Live

_OURS_SECONDS = 3
"""A change later than this after our last write is not ours."""


class State(StrEnum):
    """How one application in one environment stands to main."""

    IN_SYNC = "in sync"
    WAITING = "waiting"
    ROLLING_OUT = "rolling out"
    ROLLED_BACK = "rolled back"
    DRIFTED = "drifted"
    MISSING = "missing"
    FOREIGN = "foreign"


REPAIRED = (State.DRIFTED, State.MISSING, State.FOREIGN)
"""What `llmops reconcile --apply` mends.

A rollback is on purpose until main is reverted. A release that was never promoted here waits for
its deploy, which may ask for an approval: reconciling is no way round it.
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One application in one environment."""

    application: str
    environment: str
    state: State
    cause: str
    """Why, for people; empty where it is in sync."""
    release: str
    """What main says."""
    commit: str
    """Of main."""
    live: tuple[str, ...]
    """What answers: `RELEASE 25%`."""
    since: float
    """Of the last shift of traffic, in seconds since the epoch; 0 where there was none."""
    health: str = ""
    """What the last minutes' requests came to, for people."""


def compare(goal: Goal, live: Live, now: float) -> Finding:
    """What is live, against what main says."""
    state, cause = _state(goal, live, now)
    return Finding(
        application=goal.application,
        environment=goal.environment,
        state=state,
        cause=cause,
        release=goal.release,
        commit=goal.commit,
        live=tuple(f"{_name(each)} {each.share}%" for each in live.deployed if each.share),
        since=live.since,
    )


def health(served: Sequence[Served]) -> str:
    """What these requests came to: `12 requests, 2 failed`."""
    if not served:
        return "no traffic"
    failed = sum(each.failed for each in served)
    blocked = sum(each.blocked for each in served)
    said = [f"{len(served)} requests"]
    said += [f"{failed} failed"] if failed else []
    said += [f"{blocked} blocked"] if blocked else []
    return ", ".join(said) if failed or blocked else f"ok, {said[0]}"


def orphan(application: str, environment: str) -> Finding:
    """An endpoint of an application that main does not have."""
    return Finding(
        application=application,
        environment=environment,
        state=State.FOREIGN,
        cause=f"main has no application {application}, and its endpoint is there",
        release="",
        commit="",
        live=(),
        since=0.0,
    )


def _state(goal: Goal, live: Live, now: float) -> tuple[State, str]:
    if live.endpoint is None:
        return State.MISSING, f"there is no endpoint of {goal.application}"
    strangers = [each for each in live.deployed if not each.release]
    if strangers:
        names = ", ".join(each.id for each in strangers)
        return State.FOREIGN, f"deployed model {names} was not put there by llmops"
    mine = live.serving(goal.release)
    locked = bool(live.label(Labels.LOCK)) and float(live.label(Labels.LOCK_UNTIL) or 0) > now
    if live.label(Labels.REJECTED) == goal.release:
        back = live.label(Labels.STABLE)[:12] or "nothing"
        cause = (
            f"release {goal.release[:12]} of main was rolled back to {back}"
            f"{_who(live)}; revert it on main, or deploy it again with --retry"
        )
        return State.ROLLED_BACK, cause
    stable = live.label(Labels.STABLE)
    if locked or (mine is not None and stable != goal.release):
        share = mine.share if mine else 0
        how = "" if locked else ", and nobody deploys now: `llmops deploy` goes on with it"
        return State.ROLLING_OUT, f"release {goal.release[:12]} has {share}% of the traffic{how}"
    if mine is None:
        if not live.deployed:
            return State.MISSING, "nothing is deployed behind the endpoint"
        serves = f"live serves {_split(live.deployed)}, main says {goal.release[:12]}"
        if stable != goal.release:
            return State.WAITING, f"{serves}, which was not deployed here yet"
        return State.DRIFTED, f"{serves}{_changed(live)}"
    if mine.share != 100:
        cause = f"traffic split {_shares(live.deployed)}, main says 100{_changed(live)}"
        return State.DRIFTED, cause
    return State.IN_SYNC, ""


def _name(deployed: Deployed) -> str:
    return deployed.release[:12] or f"foreign {deployed.id}"


def _split(deployed: Sequence[Deployed]) -> str:
    return ", ".join(f"{_name(each)} {each.share}%" for each in deployed if each.share)


def _shares(deployed: Sequence[Deployed]) -> str:
    return "/".join(str(each.share) for each in sorted(deployed, key=lambda d: -d.share))


def _changed(live: Live) -> str:
    """Who changed it, as far as the labels tell: a change by hand leaves none."""
    if not live.updated:
        return ""
    when = datetime.fromtimestamp(live.updated, UTC).strftime("%Y-%m-%d %H:%M UTC")
    by_hand = live.updated - float(live.label(Labels.TOUCHED) or 0) > _OURS_SECONDS
    who = "by somebody other than llmops" if by_hand else f"by {live.label(Labels.BY) or 'llmops'}"
    return f" (changed {when}, {who})"


def _who(live: Live) -> str:
    when = datetime.fromtimestamp(live.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    by = live.label(Labels.BY)
    return f" on {when}" + (f" by {by}" if by else "")
