"""What each verb does once its options are parsed; all that it prints goes through here.

Everything heavy is imported inside the functions, so that `llmops --help` answers at once.
"""

import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmops import config, progress, wholefile
from llmops.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from rich.console import Console

    from llmops.data.diff import DataDiff
    from llmops.decision import Comparison
    from llmops.evals.results import Results
    from llmops.plan import Plan
    from llmops.report.publish import Conclusion, Publication
    from llmops.resources import Desired
    from llmops.workspace import Planned, Workspace

PLAN, RESULTS, COMPARISON = "plan.json", "results.json", "comparison.json"
DATA = "data.json"
COMMENT, PAGE, JUNIT = "comment.md", "index.html", "junit.xml"


# --- plan --------------------------------------------------------------------------------


def plan(
    base: str, head: str | None, environment: str | None, *, as_json: bool, github_output: bool
) -> None:
    """Prints the plan and keeps it for the other verbs."""
    workspace = workspace_of(environment)
    (workspace.run_folder / DATA).unlink(missing_ok=True)
    planned = _plan(workspace, base, head)
    if github_output:
        config.write_github_output(evaluate=bool(planned.plan.evaluations))
    if as_json:
        print_json(planned.plan)
    else:
        from llmops.render import show_plan

        show_plan(planned.plan, console())


def data_differences(
    workspace: "Workspace", base: "Desired", head: "Desired"
) -> "dict[str, DataDiff | str]":
    """Pointer -> its difference, or why there is none; kept in the run folder for the report."""
    from llmops import jsonfile
    from llmops.data.diff import DataDiffs
    from llmops.datasets import differences

    found = differences(workspace, base, head)
    jsonfile.dump(DataDiffs(pointers=found), workspace.run_folder / DATA)
    return found


# --- eval and compare -----------------------------------------------------------------------------


def evaluate(base: str, head: str | None, environment: str | None, *, as_json: bool) -> None:
    """Answers and judges what the plan names."""
    workspace = workspace_of(environment)
    planned = _plan(workspace, base, head)
    results = _evaluate(workspace, planned)
    if as_json:
        print_json(results)
        return
    print(f"{results.model_calls} model calls, {results.elapsed_seconds:.1f} s.")
    for note in results.notes:
        print(f"note: {note}")
    print("Next: llmops compare")


def compare(*, as_json: bool) -> None:
    """Decides, prints, and ends with the decision's exit code."""
    from llmops.compare import exit_code

    workspace = workspace_of(None)
    comparison = _compare(workspace)
    if as_json:
        print_json(comparison)
    else:
        from llmops.render import show_comparison

        show_comparison(comparison, console())
    end(exit_code(comparison))


def _evaluate(workspace: "Workspace", planned: "Planned", *, quiet: bool = False) -> "Results":
    from llmops import jsonfile
    from llmops.evals.run import evaluate as run
    from llmops.workspace import cases_at_hand, evaluation_shell

    results = run(
        evaluation_shell(workspace, quiet=quiet),
        planned.plan,
        planned.base,
        planned.head,
        cases_at_hand(workspace, planned),
    )
    jsonfile.dump(results, workspace.run_folder / RESULTS)
    return results


def _compare(workspace: "Workspace") -> "Comparison":
    from llmops import compare as comparing
    from llmops import jsonfile
    from llmops.evals.results import Results

    results = jsonfile.read(Results, workspace.run_folder / RESULTS, made_by="llmops eval")
    comparison = comparing.compare(results, config.settings(workspace.root).prices)
    jsonfile.dump(comparison, workspace.run_folder / COMPARISON)
    _keep_decision(workspace, results, comparison)
    return comparison


def _keep_decision(workspace: "Workspace", results: "Results", comparison: "Comparison") -> None:
    """Into the bucket, so that whoever deploys the release sees that it was judged, and how.

    Once for a decision: asking the bucket costs more than a whole run where nothing changed.
    """
    from llmops import bundle
    from llmops.bucket import connect

    suites = {
        suite.name: {metric.metric: metric.head for metric in suite.metrics}
        for suite in comparison.suites
    }
    summary = {"verdict": comparison.verdict, "title": comparison.title, "suites": suites}
    content = json.dumps(summary, sort_keys=True).encode()
    for release in results.releases:
        marker = config.home(workspace.root) / "cache" / bundle.evaluation_name(release.head)
        if marker.exists() and marker.read_bytes() == content:
            continue
        try:
            connect(workspace.environment).write(bundle.evaluation_name(release.head), content)
        except LlmopsError as error:
            progress.say(f"note: the decision is not in the bucket: {error.message}")
            continue
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_bytes(content)


# --- the whole way --------------------------------------------------------------------------------


def pull_request(
    base: str, environment: str | None, *, as_json: bool, open_page: bool | None
) -> None:
    """Plan, data, eval, compare, report; ends with the decision's exit code."""
    from llmops.workspace import pull_data

    started = time.perf_counter()
    workspace = workspace_of(environment)
    (workspace.run_folder / DATA).unlink(missing_ok=True)
    planned = _plan(workspace, base, None)
    _note_if_behind(workspace, base)
    if not as_json:
        from llmops.render import show_plan

        show_plan(planned.plan, console())
    if not planned.plan.evaluations:
        (workspace.run_folder / RESULTS).unlink(missing_ok=True)
        (workspace.run_folder / COMPARISON).unlink(missing_ok=True)
        paths = _report(workspace)
        if as_json:
            print(json.dumps({"verdict": "pass", "evaluated": 0, **paths}))
        else:
            print(f"\nNothing to evaluate. {time.perf_counter() - started:.1f} s.")
        return
    if _needs_cloud(workspace, planned):
        _start_local_cloud(workspace)
    pull_data(workspace, planned)
    data_differences(workspace, planned.base, planned.head)
    _evaluate(workspace, planned)
    comparison = _compare(workspace)
    paths = _report(workspace)
    from llmops.compare import exit_code

    if as_json:
        print(json.dumps({"verdict": comparison.verdict, "title": comparison.title, **paths}))
    else:
        from llmops.render import show_comparison

        print()
        show_comparison(comparison, console())
        print(f"Report: {paths['page']}  ({time.perf_counter() - started:.1f} s)")
        if open_page or (open_page is None and sys.stdout.isatty() and not config.on_a_runner()):
            click.launch(paths["page"])
    end(exit_code(comparison))


def _needs_cloud(workspace: "Workspace", planned: "Planned") -> bool:
    """Whether anything must be asked, fetched or looked up that is not on this machine."""
    asked = any(
        e.model_calls is None or e.cached_calls < e.model_calls for e in planned.plan.evaluations
    )
    from llmops.datasets import moved

    needed = [planned.head.pointers[path] for path in planned.plan.data_needed]
    compared = [side for _, *sides in moved(planned.base, planned.head) for side in sides if side]
    return asked or not all(workspace.objects.holds(each.value) for each in needed + compared)


def _note_if_behind(workspace: "Workspace", base: str) -> None:
    from llmops import git

    behind = git.count_between(workspace.root, "HEAD", git.resolve(workspace.root, base).oid)
    if behind:
        progress.say(
            f"note: {base} is {behind} commits ahead of where this branch left it; "
            f"`git rebase {base}` to be judged against it"
        )


# --- report ---------------------------------------------------------------------------------------


def report(*, as_json: bool) -> None:
    """Writes comment, page and JUnit file."""
    paths = _report(workspace_of(None))
    print(json.dumps(paths) if as_json else "\n".join(paths.values()))


def report_publish(
    environment: str | None, *, as_json: bool, nothing_to_evaluate: bool, report_url: str | None
) -> None:
    """Puts the report on the pull request of this workflow run."""
    from llmops.report import publish

    workspace = workspace_of(environment)
    github = config.github()
    about = publish.event(github)
    if nothing_to_evaluate:
        planned = _plan(workspace, "HEAD^1", "HEAD")
        if planned.plan.changes:
            print("This pull request changes resources: its own workflow publishes the report.")
            return
    made = _publication(workspace, about.head_sha, report_url or "")
    done = publish.publish(made, github, about, _report_folder(workspace))
    print(json.dumps({"done": done}) if as_json else "\n".join(done))


def _report(workspace: "Workspace", report_url: str = "") -> dict[str, str]:
    """Writes the files of the report; their paths by what they are."""
    folder = _report_folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    made = _publication(workspace, "", report_url)
    paths = {"comment": folder / COMMENT}
    wholefile.write_text(folder / COMMENT, made.comment)
    kept = _kept(workspace)
    if kept.failure is None and kept.comparison is not None and kept.results is not None:
        from llmops.report.junit import junit
        from llmops.report.page import load_assets, page

        assets = load_assets(workspace.tools.node_modules)
        text = page(kept.plan, kept.results, kept.comparison, kept.data, assets)
        wholefile.write_text(folder / PAGE, text)
        wholefile.write_text(folder / JUNIT, junit(kept.results, kept.comparison))
        paths |= {"page": folder / PAGE, "junit": folder / JUNIT}
    return {name: str(path) for name, path in paths.items()}


def _publication(workspace: "Workspace", commit: str, report_url: str) -> "Publication":
    """The comment and the check's words, from what the verbs left in the run folder."""
    from llmops.decision import Verdict
    from llmops.report import markdown
    from llmops.report.data import data_markdown
    from llmops.report.publish import Publication

    kept = _kept(workspace)
    context = markdown.Context(
        commit=commit, run_url=config.github().run_url, report_url=report_url
    )
    if kept.failure is not None:
        problem = markdown.Failure(**kept.failure)
        return Publication(
            comment=markdown.failure(problem, context),
            title=problem.title,
            conclusion="failure",
            path=problem.path,
            line=problem.line,
        )
    changed = "\n".join(data_markdown(path, each) for path, each in kept.data.items())
    text = markdown.comment(kept.plan, kept.comparison, context, data=changed)
    if kept.comparison is None:
        return Publication(comment=text, title="nothing to evaluate: pass", conclusion="success")
    inconclusive: Conclusion = "action_required" if kept.comparison.too_many_errors else "neutral"
    conclusions: dict[Verdict, Conclusion] = {
        Verdict.PASS: "success",
        Verdict.FAIL: "failure",
        Verdict.INCONCLUSIVE: inconclusive,
    }
    return Publication(
        comment=text,
        title=kept.comparison.title,
        conclusion=conclusions[kept.comparison.verdict],
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What the run folder holds."""

    plan: "Plan"
    results: "Results | None"
    comparison: "Comparison | None"
    failure: dict[str, Any] | None
    data: "dict[str, DataDiff | str]"
    """Pointer -> what changed in the data behind it."""


def _kept(workspace: "Workspace") -> _Kept:
    from llmops import jsonfile
    from llmops.data.diff import DataDiffs
    from llmops.decision import Comparison
    from llmops.evals.results import Results
    from llmops.plan import Plan

    folder = workspace.run_folder
    failure = None
    if (folder / config.FAILURE_FILE).exists():
        failure = json.loads((folder / config.FAILURE_FILE).read_text(encoding="utf-8"))
    plan = None
    if failure is None or (folder / PLAN).exists():
        plan = jsonfile.read(Plan, folder / PLAN, made_by="llmops plan")
    empty = Plan(
        base="",
        head="",
        environment="",
        changes=(),
        evaluations=(),
        unchanged_suites=(),
        data_needed=(),
        merge=(),
    )
    evaluated = failure is None and plan is not None and bool(plan.evaluations)
    return _Kept(
        plan=plan or empty,
        results=jsonfile.read(Results, folder / RESULTS, made_by="llmops eval")
        if evaluated
        else None,
        comparison=jsonfile.read(Comparison, folder / COMPARISON, made_by="llmops compare")
        if evaluated
        else None,
        failure=failure,
        data=jsonfile.read(DataDiffs, folder / DATA, made_by="llmops data diff").pointers
        if (folder / DATA).exists()
        else {},
    )


def _report_folder(workspace: "Workspace") -> Path:
    return workspace.run_folder / "report"


# --- the local cloud ------------------------------------------------------------------------------


def local_up(environment: str | None, *, as_json: bool) -> None:
    """Starts the local cloud, where the environment is local."""
    root = config.repository_root()
    if not config.is_local(root, environment):
        print("This environment is not local: there is nothing to start.", file=sys.stderr)
        return
    from llmops.localcloud import cloud

    addresses = cloud.up(root, progress=progress.say)
    if as_json:
        print(json.dumps(addresses, indent=1))


def local_down(*, as_json: bool) -> None:
    """Stops the local cloud."""
    from llmops.localcloud import cloud

    stopped = cloud.down(config.repository_root())
    if as_json:
        print(json.dumps({"stopped": stopped}))
    else:
        print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def local_status(*, as_json: bool) -> None:
    """Shows the services; ends with 3 unless all run."""
    from llmops.localcloud import cloud

    found = cloud.status(config.repository_root())
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
    else:
        for each in found:
            print(f"{each.name:8} {each.state:8} {each.url or ''}  {each.since or ''}")
            for line in each.last_lines:
                print(f"    {line}")
            if each.state == "died":
                print(f"    its whole log: {each.log}; `llmops local up` starts it again")
    end(ExitCode.PASS if all(each.state == "running" for each in found) else ExitCode.MACHINERY)


def _start_local_cloud(workspace: "Workspace") -> None:
    if config.is_local(workspace.root, workspace.chosen):
        from llmops.localcloud import cloud

        cloud.up(workspace.root, progress=progress.say)


def demo() -> None:
    """Runs the demo."""
    from llmops.localcloud import demo as shown

    end(shown.run(config.repository_root(), console()))


# --- common ---------------------------------------------------------------------------------------


def record_failure(described: dict[str, Any]) -> None:
    """Keeps an error for `llmops report publish`, so that the pull request can show it."""
    with contextlib.suppress(LlmopsError, OSError):
        folder = config.run_folder(config.repository_root())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / config.FAILURE_FILE).write_text(json.dumps(described, indent=1), encoding="utf-8")


def workspace_of(environment: str | None) -> "Workspace":
    """This checkout, in the chosen environment."""
    from llmops.workspace import Workspace

    return Workspace(config.repository_root(), environment)


def _plan(workspace: "Workspace", base: str, head: str | None) -> "Planned":
    from llmops import jsonfile
    from llmops.workspace import plan_between, revisions

    (workspace.run_folder / config.FAILURE_FILE).unlink(missing_ok=True)
    planned = plan_between(workspace, *revisions(workspace, base, head))
    jsonfile.dump(planned.plan, workspace.run_folder / PLAN)
    return planned


def console() -> "Console":
    """Where tables are printed."""
    from rich.console import Console

    if config.on_a_runner():
        # A runner may claim a terminal of 80 columns; what is read is a log.
        return Console(width=140, force_terminal=False)
    return Console() if sys.stdout.isatty() else Console(width=140, soft_wrap=True)


def print_json(value: object) -> None:
    """Prints a dataclass, or a tuple of them."""
    from pydantic import TypeAdapter

    print(TypeAdapter(type(value)).dump_json(value, indent=1).decode())


def end(code: ExitCode) -> None:
    """Ends the verb with this exit code."""
    if code is not ExitCode.PASS:
        raise click.exceptions.Exit(code)
