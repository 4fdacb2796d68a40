"""What the verbs do that change what is live: release, deploy, rollback."""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops import config, git, progress
from llmops.commands import end, print_json, workspace_of
from llmops.errors import ExitCode, LlmopsError, UserError

if TYPE_CHECKING:
    from llmops.bundle import Bundle
    from llmops.deploy.run import Report
    from llmops.formats import Application
    from llmops.resources import Desired, Resource
    from llmops.rollout import Goal
    from llmops.vertex.clients import Clients
    from llmops.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One application as a revision wants it in an environment."""

    goal: "Goal"
    bundle: "Bundle"
    application: "Resource[Application]"
    desired: "Desired"


# --- release --------------------------------------------------------------------------------------


def release_build(environment: str | None, revision: str, *, as_json: bool) -> None:
    """Writes the bundles into the bucket."""
    from llmops import bundle
    from llmops.bucket import connect

    workspace = workspace_of(environment)
    bucket = connect(workspace.environment)
    built = [
        {
            "application": each.goal.application,
            "release": each.goal.digest,
            "uri": bundle.keep(bucket, each.bundle),
        }
        for each in wanted_by(workspace, revision, None)
    ]
    if as_json:
        print(json.dumps(built, indent=1))
        return
    for each in built:
        print(f"{each['application']}: {each['uri']}")


def wanted_by(
    workspace: "Workspace", revision: str, application: str | None, *, retry: bool = False
) -> list[Wanted]:
    """What the revision says should be live. Raises UserError for an unknown application."""
    from llmops.bucket import connect
    from llmops.resources import Reader

    found = git.resolve(workspace.root, revision)
    desired = Reader(workspace.root).read(found)
    names = [each.value.application for each in desired.applications.values()]
    if application is not None and application not in names:
        known = ", ".join(names) or "none"
        raise UserError(f"there is no application {application!r}", fix=f"known: {known}")
    bucket = connect(workspace.environment)
    return [
        _want(workspace, desired, each, found.oid or "", bucket.read, retry=retry)
        for each in desired.applications.values()
        if application in (None, each.value.application)
        and workspace.environment_name in each.value.base_model
    ]


def _want(
    workspace: "Workspace",
    desired: "Desired",
    application: "Resource[Application]",
    commit: str,
    read: Any,  # noqa: ANN401 - Bucket.read
    *,
    retry: bool,
) -> Wanted:
    from llmops import bundle
    from llmops.release import release_of
    from llmops.rollout import Goal
    from llmops.vertex.live import release_label

    name = workspace.environment_name
    release = release_of(desired, application, name)
    judged = read(bundle.evaluation_name(release.digest))
    prompt = desired.prompts[application.value.prompt]
    goal = Goal(
        application=release.application,
        environment=name,
        digest=release.digest,
        release=release_label(release.digest),
        commit=commit,
        model=release.model,
        rules=application.value.canary,
        tuning=release.tuning,
        retry=retry,
    )
    made = bundle.Bundle(
        release=release,
        commit=commit,
        sources={application.path: application.digest, prompt.path: prompt.digest},
        evaluation=json.loads(judged) if judged else None,
    )
    return Wanted(goal=goal, bundle=made, application=application, desired=desired)


# --- deploy ---------------------------------------------------------------------------------------


def deploy(
    environment: str | None,
    revision: str,
    application: str | None,
    *,
    dry_run: bool,
    retry: bool,
    as_json: bool,
) -> None:
    """Rolls each application's release out; ends with 1 where one was rolled back or held."""
    workspace = workspace_of(environment)
    wanted = wanted_by(workspace, revision, application, retry=retry)
    clients = clients_of(workspace)
    for each in wanted:
        _check_promotion(workspace, each)
    if dry_run:
        _dry_run(clients, wanted, as_json=as_json)
        return
    reports = [roll_out(workspace, clients, each, quiet=as_json) for each in wanted]
    _publish(reports)
    if as_json:
        print_json(tuple(reports))
    else:
        for report in reports:
            reason = f": {report.reason}" if report.reason else ""
            print(f"{report.application} in {report.environment}: {report.ending}{reason}")
    from llmops.deploy.run import Ending

    good = all(report.ending in (Ending.PROMOTED, Ending.UNCHANGED) for report in reports)
    end(ExitCode.PASS if good else ExitCode.GATE_FAILED)


def _dry_run(clients: "Clients", wanted: list[Wanted], *, as_json: bool) -> None:
    from llmops.rollout import steps, words
    from llmops.vertex.read import live_state

    planned = {
        each.goal.application: [
            words(step)
            for step in steps(
                each.goal, live_state(clients, each.goal.application), now=time.time()
            )
        ]
        for each in wanted
    }
    if as_json:
        print(json.dumps(planned, indent=1))
        return
    for application, found in planned.items():
        print(f"{application}: {'nothing to do' if not found else ''}".rstrip(": "))
        for number, step in enumerate(found, 1):
            print(f"  {number}. {step}")


def _check_promotion(workspace: "Workspace", wanted: Wanted) -> None:
    """Raises UserError for a release that the environment before has not verified."""
    source = workspace.environment.promotes_from
    if source is None:
        return
    from llmops.vertex.clients import Clients
    from llmops.vertex.read import live_state

    before = Clients(config.environment(workspace.root, source))
    version = live_state(before, wanted.goal.application).version(wanted.goal.release)
    if version is None or not version.verified:
        name = wanted.goal.digest[:12]
        state = "does not have" if version is None else "has not verified"
        raise UserError(
            f"{source} {state} release {name}: {wanted.goal.environment} takes only what it has",
            path=wanted.application.path,
            fix=f"llmops deploy --env {source}; both need the same base_model",
        )


def roll_out(
    workspace: "Workspace", clients: "Clients", wanted: Wanted, *, quiet: bool
) -> "Report":
    """Runs one rollout, followed in the terminal and at GitHub."""
    from llmops.bucket import connect
    from llmops.deploy.lock import Holder
    from llmops.deploy.run import Follower, Rollout, Shell
    from llmops.report import deployment

    github = config.github()
    prefix = f"{wanted.goal.application}: "
    followers: list[Follower] = []
    if not quiet:
        followers.append(deployment.Terminal(progress.say, prefix))
    repository = deployment.connect(github)
    at_github = None
    if repository is not None:
        goal = wanted.goal
        at_github = deployment.GitHubDeployment(
            repository, goal.commit, goal.environment, github.run_url
        )
        followers.append(at_github)
    shell = Shell(
        clients=clients,
        bucket=connect(workspace.environment),
        bundle=wanted.bundle,
        serving=wanted.application.value.serving,
        cases=_smoke_cases(workspace, wanted),
        holder=Holder.this(github.run_id),
        by=github.actor or config.person(),
        run_id=github.run_id,
        follower=deployment.Both(*followers),
        tune=_tuner(workspace, wanted),
    )
    try:
        report = Rollout(shell, wanted.goal).run()
    except LlmopsError as error:
        if at_github is not None:
            at_github.fail(error.message)
        raise
    if at_github is not None:
        at_github.finish(report)
    return report


def _tuner(workspace: "Workspace", wanted: Wanted) -> Any:  # noqa: ANN401 - a function or None
    from llmops.bucket import connect

    tuning = wanted.application.value.tuning
    if tuning is None or wanted.goal.tuning is None:
        return None
    from llmops.data import remote
    from llmops.vertex.tuning import place_data, tune

    pointer, objects = wanted.desired.pointers[tuning.data], workspace.objects

    def training_rows() -> bytes:
        if not objects.holds(pointer.value):
            remote.fetch([pointer], workspace.environment, workspace.tools, objects)
        files = objects.manifest(pointer.value.output.md5) or {}
        rows = objects.read(files.get("train.jsonl", ""))
        if not rows:
            raise UserError("there is no train.jsonl to tune on", path=pointer.path)
        return rows

    def run() -> str:
        bucket = connect(workspace.environment)
        data = place_data(bucket, pointer.value.output.md5, training_rows)
        return tune(workspace.environment, wanted.application.value, wanted.goal.tuning or "", data)

    return run


def _smoke_cases(workspace: "Workspace", wanted: Wanted) -> list[dict[str, Any]]:
    """Variables of cases that need no data but what git holds, or what is at hand."""
    from llmops.data.objects import suite_cases

    found: list[dict[str, Any]] = []
    for path in wanted.application.value.suites:
        cases = suite_cases(wanted.desired.suites[path], wanted.desired, workspace.objects)
        names = wanted.bundle.release.variables
        found += [{name: case.variables[name] for name in names} for case in cases or ()]
    if not found:
        fix = f"llmops data pull --base HEAD~1 --head HEAD --env {workspace.environment_name}"
        raise UserError("no case is at hand for the smoke test", fix=fix)
    return found


def _publish(reports: list["Report"]) -> None:
    from llmops.report import deployment

    github = config.github()
    deployment.write_summary(github, deployment.summary(reports))
    repository = deployment.connect(github)
    if repository is None:
        return
    for report in reports:
        text = deployment.release_note(report, github.run_url)
        deployment.note_on_pull_request(repository, report.commit, text)


# --- rollback -------------------------------------------------------------------------------------


def rollback(
    environment: str | None, application: str | None, to: str | None, *, as_json: bool
) -> None:
    """Gives the traffic back to a former release."""
    from llmops.deploy.rollback import roll_back

    workspace = workspace_of(environment)
    clients = clients_of(workspace)
    github = config.github()
    done = [
        roll_back(
            clients,
            each.goal.application,
            each.application.value.serving,
            to=to,
            by=github.actor or config.person(),
            run_id=github.run_id,
        )
        for each in wanted_by(workspace, "HEAD", application)
    ]
    if as_json:
        print_json(tuple(done))
        return
    for each in done:
        how = ", which had to be deployed again" if each.redeployed else ""
        print(
            f"{each.application} in {each.environment}: release {each.from_release[:12]} -> "
            f"{each.to_release[:12]} in {each.seconds:.1f} s{how}"
        )
    print("main still says otherwise: revert the change there, or `llmops deploy --retry`.")


def clients_of(workspace: "Workspace") -> "Clients":
    """Vertex AI's clients for the workspace's environment."""
    from llmops.vertex.clients import Clients

    return Clients(workspace.environment)
