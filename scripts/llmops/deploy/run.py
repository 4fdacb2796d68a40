"""Runs the rollout: looks, takes the next step, looks again, until live is as desired or back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from llmops import bundle
from llmops.bucket import Bucket
from llmops.bundle import Bundle
from llmops.deploy import lock
from llmops.deploy.smoke import smoke
from llmops.deploy.watch import watch
from llmops.errors import LlmopsError, MachineryError
from llmops.formats import Serving
from llmops.rollout import (
    CreateEndpoint,
    Deploy,
    Goal,
    MarkVerified,
    Restore,
    Shift,
    Smoke,
    Step,
    Tune,
    Undeploy,
    Upload,
    Watch,
    next_step,
    split_for,
    words,
)
from llmops.vertex import write
from llmops.vertex.clients import Clients, ConflictError, GoneError, TransientError
from llmops.vertex.live import MANAGER, Labels, Live, ReleaseLabel, as_label, numeric_id
from llmops.vertex.read import live_state
from llmops.vertex.traffic import TrafficLog

_ATTEMPTS = 6
_BACK_ATTEMPTS = 40
_LONGEST_PAUSE_SECONDS = 15.0


class Ending(StrEnum):
    """How a deploy ends."""

    PROMOTED = "promoted"
    UNCHANGED = "unchanged"
    ROLLED_BACK = "rolled back"
    HELD = "held"


class FailedCheckError(LlmopsError):
    """The canary is worse than what it is to replace."""


class HeldError(LlmopsError):
    """Too little traffic to decide, and the rule is to hold."""


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One step that was taken."""

    step: str
    state: str
    """done, failed."""
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a deploy did."""

    application: str
    environment: str
    release: str
    ending: Ending
    reason: str
    steps: tuple[Happened, ...]
    endpoint: str
    commit: str


class Follower:
    """Told of every step: what the terminal, the job summary and GitHub show."""

    def started(self, step: str) -> None:
        """A step begins."""

    def said(self, text: str) -> None:
        """Something about the step under way."""

    def ended(self, happened: Happened) -> None:
        """A step is over."""


@dataclass(frozen=True, kw_only=True)
class Shell:
    """What a deploy needs beside its goal."""

    clients: Clients
    bucket: Bucket
    bundle: Bundle
    serving: Serving
    cases: Sequence[Mapping[str, Any]]
    """Variables of the smoke cases."""
    holder: lock.Holder
    by: str
    run_id: str
    follower: Follower
    tune: Callable[[], str] | None = None
    """Tunes, and returns the model that came of it."""


@dataclass
class Rollout:
    """One run of `llmops deploy` for one application."""

    shell: Shell
    goal: Goal
    happened: list[Happened] = field(default_factory=list)
    _step: Step | None = None
    _tuned: str | None = None

    def run(self) -> Report:
        """Ends promoted, unchanged, held or rolled back.

        Raises UserError for a release that was rolled back before, BusyError where another deploy
        runs, MachineryError where not even rolling back was possible.
        """
        try:
            self._rise()
        except (lock.BusyError, RejectedError):
            raise
        except HeldError as error:
            return self._report(Ending.HELD, error.message)
        except LlmopsError as error:
            # A release that was not tried yet, for want of quota say, may be tried again.
            tried = isinstance(self._step, Deploy | Smoke | Watch)
            rejected = tried and not isinstance(error, TransientError)
            self._back(error.message, rejected=rejected)
            return self._report(Ending.ROLLED_BACK, error.message)
        finally:
            self._unlock()
        changed = bool(self.happened)
        return self._report(Ending.PROMOTED if changed else Ending.UNCHANGED, "")

    # --- up

    def _rise(self) -> None:
        done: frozenset[Step] = frozenset()
        failures = 0
        while True:
            try:
                live = self._look()
                self._check_not_rejected(live)
                step = next_step(self.goal, live, now=time.time(), done=done)
                if step is None:
                    return
                if live.endpoint is not None and not self._hold(live):
                    continue
                self._take(step, live)
            except (TransientError, GoneError) as error:
                failures += 1
                if failures > _ATTEMPTS:
                    raise
                pause = min(0.5 * 2**failures, _LONGEST_PAUSE_SECONDS)
                if not isinstance(error, ConflictError):
                    self.shell.follower.said(f"{error.message}; again in {pause:g} s")
                time.sleep(pause if not isinstance(error, ConflictError) else 0.1)
                continue
            failures = 0
            done |= {step}

    def _look(self) -> Live:
        return live_state(self.shell.clients, self.goal.application)

    def _check_not_rejected(self, live: Live) -> None:
        if live.label(Labels.REJECTED) == self.goal.release and not self.goal.retry:
            raise RejectedError(
                f"release {self.goal.release[:12]} was rolled back in {self.goal.environment}",
                fix="merge a change, revert it on main, or run it again with --retry",
            )

    def _hold(self, live: Live) -> bool:
        shell = self.shell
        return lock.hold(
            shell.clients,
            live,
            shell.holder,
            when_busy=self.goal.rules.when_busy,
            say=shell.follower.said,
        )

    def _take(self, step: Step, live: Live) -> None:
        """Takes one step and tells of it."""
        follower, started, self._step = self.shell.follower, time.monotonic(), step
        follower.started(words(step))
        try:
            note = self._do(step, live)
        except LlmopsError as error:
            if not isinstance(error, TransientError):
                self._note(step, "failed", started, error.message)
            raise
        self._note(step, "done", started, note)

    def _note(self, step: Step, state: str, started: float, note: str) -> None:
        seconds = time.monotonic() - started
        happened = Happened(step=words(step), state=state, seconds=seconds, note=note)
        self.happened.append(happened)
        self.shell.follower.ended(happened)

    def _do(self, step: Step, live: Live) -> str:
        """Does it; returns what is worth knowing of it."""
        shell, clients = self.shell, self.shell.clients
        match step:
            case CreateEndpoint():
                write.create_endpoint(
                    clients, self.goal.application, shell.serving, self._signature()
                )
            case Tune():
                return self._tune()
            case Upload():
                return self._upload()
            case Deploy(share=share):
                self._deploy(live, share)
            case Smoke(cases=count):
                return smoke(clients, self._mine(live), live, self.goal.digest, shell.cases[:count])
            case Watch():
                return self._watch(live)
            case Shift(release=release, share=share):
                self._shift(live, release, share)
            case MarkVerified(release=release):
                version = live.version(release)
                write.mark_verified(clients, version.name if version else "")
                write.delete_duplicates(clients, live)
            case Restore(release=release):
                self._shift(live, release, 100)
            case Undeploy(deployed=deployed):
                endpoint, limit = live.endpoint or "", shell.serving.deploy_timeout_seconds
                write.undeploy(clients, endpoint, deployed, limit)
            case _:
                raise TypeError(f"no such step: {step}")
        return ""

    def _tune(self) -> str:
        if self.shell.tune is None:
            raise MachineryError("this release needs tuning, and there is nothing that tunes")
        self._tuned = self.shell.tune()
        return f"tuned model {self._tuned}"

    def _upload(self) -> str:
        shell, goal = self.shell, self.goal
        made = replace(shell.bundle, tuned_model=self._tuned)
        artifact = bundle.keep(shell.bucket, made)
        labels = {
            Labels.MANAGED_BY: MANAGER,
            Labels.APPLICATION: goal.application,
            Labels.ENVIRONMENT: goal.environment,
            Labels.RELEASE: goal.release,
            Labels.COMMIT: goal.commit[:40],
        }
        new = write.NewVersion(
            application=goal.application,
            digest=goal.digest,
            artifact=artifact,
            labels=labels,
            description=f"release {goal.digest[:12]} on {goal.model}, commit {goal.commit[:12]}",
            serving=shell.serving,
        )
        write.upload(shell.clients, new)
        return artifact

    def _deploy(self, live: Live, share: int) -> None:
        shell, goal = self.shell, self.goal
        version = live.version(goal.release)
        if version is None:
            raise TransientError("the version is not in the registry yet")
        bundle.fetch(shell.bucket, goal.digest)  # refuses one that was tampered with
        stable = live.serving(ReleaseLabel(live.label(Labels.STABLE)))
        split = {each.id: 0 for each in live.deployed} | {"0": share if stable else 100}
        if stable:
            split[stable.id] = 100 - share
        write.deploy(shell.clients, live, version.name, goal.digest, shell.serving, split)
        self._sign(canary=True)

    def _sign(self, *, canary: bool) -> None:
        live = self._look()
        labels: dict[str, str | None] = {**self._signature()}
        if canary:
            labels[Labels.CANARY] = self.goal.release
        write.change_endpoint(self.shell.clients, live, labels=labels)

    def _watch(self, live: Live) -> str:
        shell, goal = self.shell, self.goal
        mine = self._mine(live)
        log = TrafficLog(shell.clients.environment, goal.application, shell.bucket)
        seen = watch(
            lambda: log.since(max(live.since, mine.created)),
            mine.id,
            goal.rules,
            started=max(live.since, mine.created),
            say=shell.follower.said,
            keep_lock=lambda: self._hold(self._look()),
        )
        if seen.failed:
            raise FailedCheckError(seen.words)
        if seen.held:
            raise HeldError(seen.words, fix="run it again to go on watching")
        return seen.words

    def _shift(self, live: Live, release: ReleaseLabel, share: int) -> None:
        labels: dict[str, str | None] = {**self._signature()}
        if share == 100:
            labels |= {Labels.STABLE: release, Labels.CANARY: None}
            if live.label(Labels.REJECTED) == release:
                labels[Labels.REJECTED] = None
        else:
            labels[Labels.CANARY] = release
        write.change_endpoint(
            self.shell.clients, live, labels=labels, split=split_for(live, release, share)
        )

    def _mine(self, live: Live) -> Any:  # noqa: ANN401 - Deployed, never None here
        mine = live.serving(self.goal.release)
        if mine is None:
            raise GoneError(f"release {self.goal.release[:12]} is not behind the endpoint any more")
        return mine

    def _signature(self) -> dict[str, str]:
        shell = self.shell
        return {
            Labels.SINCE: str(int(time.time())),
            Labels.BY: as_label(shell.by),
            Labels.RUN: as_label(shell.run_id),
            Labels.COMMIT: self.goal.commit[:40],
        }

    # --- and back

    def _back(self, reason: str, *, rejected: bool) -> None:
        """All traffic to the stable release; the other one is taken away. Tries for minutes."""
        self.shell.follower.said(f"rolling back: {reason}")
        for attempt in range(_BACK_ATTEMPTS):
            try:
                self._back_once(rejected=rejected)
            except (TransientError, GoneError) as error:
                if attempt == _BACK_ATTEMPTS - 1:
                    fix = f"llmops rollback --env {self.goal.environment}"
                    raise MachineryError(f"not rolled back: {error.message}", fix=fix) from None
                time.sleep(min(0.25 * 2**attempt, _LONGEST_PAUSE_SECONDS))
            else:
                return

    def _back_once(self, *, rejected: bool) -> None:
        live = self._look()
        mine = live.serving(self.goal.release)
        if live.endpoint is None:
            return
        stable = ReleaseLabel(live.label(Labels.STABLE))
        if stable == self.goal.release:
            return  # it had passed: what failed came after, such as undeploying the former one
        labels: dict[str, str | None] = {
            **self._signature(),
            Labels.CANARY: None,
            **({Labels.REJECTED: self.goal.release} if rejected else {}),
        }
        settled = live.serving(stable)
        split = None if settled is None else split_for(live, stable, 100)
        write.change_endpoint(self.shell.clients, live, labels=labels, split=split)
        if mine is not None:
            limit = self.shell.serving.deploy_timeout_seconds
            write.undeploy(self.shell.clients, live.endpoint, mine.id, limit)

    def _unlock(self) -> None:
        for _ in range(_ATTEMPTS):
            try:
                live = self._look()
                if live.endpoint is not None:
                    lock.release(self.shell.clients, live, self.shell.holder)
            except ConflictError:
                continue
            except MachineryError:
                return  # it ends by itself
            else:
                return

    def _report(self, ending: Ending, reason: str) -> Report:
        environment = self.shell.clients.environment
        return Report(
            application=self.goal.application,
            environment=self.goal.environment,
            release=self.goal.digest,
            ending=ending,
            reason=reason,
            steps=tuple(self.happened),
            endpoint=endpoint_url(self.shell.clients, self.goal.application, environment.name),
            commit=self.goal.commit,
        )


class RejectedError(LlmopsError):
    """The release was rolled back before."""


def endpoint_url(clients: Clients, application: str, environment: str) -> str:
    """Where the endpoint is asked: what a GitHub deployment links to."""
    host = (
        clients.environment.endpoints.vertex
        or f"https://{clients.environment.region}-aiplatform.googleapis.com"
    )
    identifier = numeric_id("endpoint", application, environment)
    return f"{host}/v1/{clients.location}/endpoints/{identifier}"
