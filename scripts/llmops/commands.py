"""What each verb does once its options are parsed; all that it prints goes through here.

Everything heavy is imported inside the functions, so that `llmops --help` answers at once.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmops import config, progress
from llmops.errors import ExitCode, LlmopsError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from llmops.compare import Comparison
    from llmops.plan import Plan
    from llmops.workspace import Planned, Workspace

PLAN, RESULTS, COMPARISON = "plan.json", "results.json", "comparison.json"
COMMENT, PAGE, JUNIT, FAILURE = "comment.md", "report.html", "junit.xml", "failure.json"


# --- plan and data --------------------------------------------------------------------------------


def plan(
    base: str, head: str | None, environment: str | None, *, as_json: bool, github_output: bool
) -> None:
    """Prints the plan and keeps it for the other verbs."""
    workspace = _workspace(environment)
    planned = _plan(workspace, base, head)
    if github_output:
        config.write_github_output(evaluate=bool(planned.plan.evaluations))
    if as_json:
        _print_json(planned.plan)
    else:
        from llmops.render import show_plan  # noqa: PLC0415

        show_plan(planned.plan, _console())


def data_pull(base: str, head: str | None, environment: str | None, *, as_json: bool) -> None:
    """Fetches what the plan needs."""
    from llmops.workspace import plan_between, pull_data, revisions  # noqa: PLC0415

    workspace = _workspace(environment)
    planned = plan_between(workspace, *revisions(workspace, base, head))
    fetched = pull_data(workspace, planned)
    needed = planned.plan.data_needed
    if as_json:
        print(json.dumps({"needed": needed, "fetched": fetched}))
    elif not needed:
        print("No touched suite needs data.")
    else:
        at_hand = [path for path in needed if path not in fetched]
        for path in fetched:
            print(f"{path}: fetched")
        for path in at_hand:
            print(f"{path}: already at hand")


def data_build(*, as_json: bool) -> None:
    """Builds data/ and its pointer from the source tables."""
    from llmops.localcloud import seed  # noqa: PLC0415

    root = config.repository_root()
    written = seed.build_data(root)
    if as_json:
        print(json.dumps({"md5": written.md5, "rows": written.rows, "changed": written.changed}))
    else:
        counts = ", ".join(f"{rows} {split}" for split, rows in written.rows.items())
        print(f"data/: {counts}; data.dvc {'changed' if written.changed else 'unchanged'}")


# --- eval and compare -----------------------------------------------------------------------------


def evaluate(base: str, head: str | None, environment: str | None, *, as_json: bool) -> None:
    """Answers and judges what the plan names."""
    workspace = _workspace(environment)
    planned = _plan(workspace, base, head)
    results = _evaluate(workspace, planned)
    if as_json:
        _print_json(results)
        return
    print(f"{results.model_calls} model calls, {results.elapsed_seconds:.1f} s.")
    for note in results.notes:
        print(f"note: {note}")
    print("Next: llmops compare")


def compare(*, as_json: bool) -> None:
    """Decides, prints, and ends with the decision's exit code."""
    from llmops.compare import exit_code  # noqa: PLC0415

    workspace = _workspace(None)
    comparison = _compare(workspace)
    if as_json:
        _print_json(comparison)
    else:
        from llmops.render import show_comparison  # noqa: PLC0415

        show_comparison(comparison, _console())
    _end(exit_code(comparison))


def _evaluate(workspace: "Workspace", planned: "Planned", *, quiet: bool = False) -> Any:  # noqa: ANN401
    from llmops import jsonfile  # noqa: PLC0415
    from llmops.evals.run import evaluate as run  # noqa: PLC0415
    from llmops.workspace import cases_at_hand, evaluation_shell  # noqa: PLC0415

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
    from llmops import compare as comparing  # noqa: PLC0415
    from llmops import jsonfile  # noqa: PLC0415
    from llmops.evals.results import Results  # noqa: PLC0415

    results = jsonfile.read(Results, workspace.run_folder / RESULTS, made_by="llmops eval")
    comparison = comparing.compare(results, config.settings(workspace.root).prices)
    jsonfile.dump(comparison, workspace.run_folder / COMPARISON)
    return comparison


# --- the whole way --------------------------------------------------------------------------------


def pull_request(
    base: str, environment: str | None, *, as_json: bool, open_page: bool | None
) -> None:
    """Plan, data, eval, compare, report; ends with the decision's exit code."""
    from llmops.workspace import pull_data  # noqa: PLC0415

    started = time.perf_counter()
    workspace = _workspace(environment)
    planned = _plan(workspace, base, None)
    _note_if_behind(workspace, base)
    if not as_json:
        from llmops.render import show_plan  # noqa: PLC0415

        show_plan(planned.plan, _console())
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
    _evaluate(workspace, planned)
    comparison = _compare(workspace)
    paths = _report(workspace)
    from llmops.compare import exit_code  # noqa: PLC0415

    if as_json:
        print(json.dumps({"verdict": comparison.verdict, "title": comparison.title, **paths}))
    else:
        from llmops.render import show_comparison  # noqa: PLC0415

        print()
        show_comparison(comparison, _console())
        print(f"Report: {paths['page']}  ({time.perf_counter() - started:.1f} s)")
        if open_page or (open_page is None and sys.stdout.isatty() and not config.on_a_runner()):
            click.launch(paths["page"])
    _end(exit_code(comparison))


def _needs_cloud(workspace: "Workspace", planned: "Planned") -> bool:
    """Whether anything must be asked, fetched or looked up that is not on this machine."""
    asked = any(e.model_calls is None or e.cached_calls < e.model_calls for e in planned.plan.evaluations)
    missing = any(not workspace.objects.holds(planned.head.pointers[p].value) for p in planned.plan.data_needed)
    return asked or missing


def _note_if_behind(workspace: "Workspace", base: str) -> None:
    from llmops import git  # noqa: PLC0415

    behind = git.count_between(workspace.root, "HEAD", git.resolve(workspace.root, base).oid)
    if behind:
        progress.say(
            f"note: {base} is {behind} commits ahead of where this branch left it; "
            f"`git rebase {base}` to be judged against it"
        )


# --- report ---------------------------------------------------------------------------------------


def report(*, as_json: bool) -> None:
    """Writes comment, page and JUnit file."""
    paths = _report(_workspace(None))
    print(json.dumps(paths) if as_json else "\n".join(paths.values()))


# --- the local cloud ------------------------------------------------------------------------------


def _start_local_cloud(workspace: "Workspace") -> None:
    if config.is_local(workspace.root, workspace.chosen):
        from llmops.localcloud import cloud  # noqa: PLC0415

        cloud.up(workspace.root, progress=progress.say)


# --- common ---------------------------------------------------------------------------------------


def record_failure(described: dict[str, Any]) -> None:
    """Keeps an error for `llmops report publish`, so that the pull request can show it."""
    with contextlib.suppress(LlmopsError, OSError):
        folder = config.run_folder(config.repository_root())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE).write_text(json.dumps(described, indent=1), encoding="utf-8")


def _workspace(environment: str | None) -> "Workspace":
    from llmops.workspace import Workspace  # noqa: PLC0415

    return Workspace(config.repository_root(), environment)


def _plan(workspace: "Workspace", base: str, head: str | None) -> "Planned":
    from llmops import jsonfile  # noqa: PLC0415
    from llmops.workspace import plan_between, revisions  # noqa: PLC0415

    (workspace.run_folder / FAILURE).unlink(missing_ok=True)
    planned = plan_between(workspace, *revisions(workspace, base, head))
    jsonfile.dump(planned.plan, workspace.run_folder / PLAN)
    return planned


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console(soft_wrap=not sys.stdout.isatty())


def _print_json(value: object) -> None:
    from pydantic import TypeAdapter  # noqa: PLC0415

    print(TypeAdapter(type(value)).dump_json(value, indent=1).decode())


def _end(code: ExitCode) -> None:
    if code is not ExitCode.PASS:
        raise click.exceptions.Exit(code)
