"""What the verbs do that hold live against main: status, reconcile, lineage, doctor."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops import config, progress
from llmops.commands import console, end, print_json, workspace_of
from llmops.errors import ExitCode, LlmopsError, UserError
from llmops.operating import clients_of, roll_out, wanted_by

if TYPE_CHECKING:
    from llmops.deploy.run import Report
    from llmops.reconcile import Finding
    from llmops.vertex.live import Live
    from llmops.workspace import Workspace

_HEALTH_SECONDS = 600.0


def status(environment: str | None, *, as_json: bool) -> None:
    """Prints what is live, beside what main says."""
    findings = list(_findings(environment))
    if as_json:
        print_json(tuple(findings))
        return
    _show(findings)


def reconcile(environment: str | None, *, apply: bool, publish: bool, as_json: bool) -> None:
    """Reports drift; repairs it with `apply`; ends with 1 where it is left."""
    from llmops.reconcile import REPAIRED

    findings = list(_findings(environment))
    reports: list[Report] = []
    if apply:
        for each in findings:
            if each.state in REPAIRED and each.release:
                workspace = workspace_of(each.environment)
                for wanted in wanted_by(workspace, "HEAD", each.application):
                    clients = clients_of(workspace)
                    reports.append(roll_out(workspace, clients, wanted, quiet=as_json))
        findings = list(_findings(environment))
    if publish:
        from llmops.report.drift import publish as tell

        for line in tell(findings, config.github()):
            progress.say(line)
    if as_json:
        print_json(tuple(findings))
    else:
        _show(findings)
    left = any(each.state in REPAIRED for each in findings)
    end(ExitCode.GATE_FAILED if left else ExitCode.PASS)


def lineage(release: str | None, environment: str | None, *, as_json: bool) -> None:
    """Prints the way back from a release, or from each that is live, to its rows."""
    from llmops.bucket import connect
    from llmops.lineage import as_text, find, trace

    workspace = workspace_of(environment)
    bucket = connect(workspace.environment)
    wanted = [release] if release else _live_releases(workspace)
    found = [trace(workspace, find(bucket, each)) for each in wanted]
    if as_json:
        print_json(tuple(found))
        return
    print("\n\n".join(as_text(each) for each in found))


def _live_releases(workspace: "Workspace") -> list[str]:
    """Those that have all the traffic, or had it before a canary."""
    from llmops.vertex.live import Labels
    from llmops.vertex.read import live_state

    clients = clients_of(workspace)
    found = [
        live_state(clients, each.goal.application).label(Labels.STABLE)
        for each in wanted_by(workspace, "HEAD", None)
    ]
    if not any(found):
        raise UserError(
            f"nothing is live in {workspace.environment_name}", fix="llmops deploy; or name one"
        )
    return [each for each in found if each]


def doctor(environment: str | None, *, as_json: bool) -> None:
    """Looks at every part of the set-up; ends with 3 where one is missing."""
    from llmops.doctor import Check, checks, github_checks

    workspace = workspace_of(environment)
    found: list[Check] = []
    for each in (
        *checks(workspace.environment),
        *github_checks(config.github(), workspace.environment),
    ):
        found.append(each)
        if as_json:
            continue
        print(f"{'ok  ' if each.good else 'FAIL'}  {each.name}: {each.found}")
        if each.fix:
            print(f"      fix: {each.fix}")
    if as_json:
        print_json(tuple(found))
    end(ExitCode.PASS if all(each.good for each in found) else ExitCode.MACHINERY)


def _findings(environment: str | None) -> Iterator["Finding"]:
    """Every application in the environment, or in all that have an address."""
    from llmops.reconcile import compare, orphan
    from llmops.vertex.read import live_state, other_endpoints

    root = config.repository_root()
    names = [environment] if environment else config.reachable_environments(root)
    for name in names:
        workspace = workspace_of(name)
        clients = clients_of(workspace)
        wanted = wanted_by(workspace, "HEAD", None)
        for each in wanted:
            live: Live = live_state(clients, each.goal.application)
            found = compare(each.goal, live, time.time())
            yield replace(found, health=_health(workspace, each.goal.application))
        for application in other_endpoints(clients, {each.goal.application for each in wanted}):
            yield orphan(application, name)


def _health(workspace: "Workspace", application: str) -> str:
    """Of the last minutes; a log that cannot be read is said, and stops nobody."""
    from llmops.bucket import connect
    from llmops.reconcile import health
    from llmops.vertex.traffic import TrafficLog

    log = TrafficLog(workspace.environment, application, connect(workspace.environment))
    try:
        return health(log.since(time.time() - _HEALTH_SECONDS))
    except LlmopsError:
        return "unknown: the request log cannot be read"


def _show(findings: list["Finding"]) -> None:
    from llmops.reconcile import State
    from llmops.render import table

    quiet = (State.WAITING, State.ROLLED_BACK, State.ROLLING_OUT)
    styles = {State.IN_SYNC: "green", **dict.fromkeys(quiet, "yellow")}
    columns = ("environment", "application", "release", "commit", "live", "health", "age", "state")
    rows = [
        (
            each.environment,
            each.application,
            each.release[:12],
            each.commit[:7],
            ", ".join(each.live) or "nothing",
            each.health,
            _age(each.since),
            f"[{styles.get(each.state, 'red')}]{each.state}[/]",
        )
        for each in findings
    ]
    out = console()
    out.print(table("", columns, rows))
    for each in findings:
        if each.cause:
            out.print(
                f"  {each.application} in {each.environment}: {each.cause}",
                highlight=False,
                markup=False,
            )


def _age(since: float) -> str:
    if not since:
        return ""
    seconds = max(time.time() - since, 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
