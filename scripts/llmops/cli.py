"""The verbs: each parses its options, calls one function, prints, and ends with an exit code."""

import errno
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import click

from llmops.errors import ExitCode, LlmopsError, MachineryError, UserError

F = TypeVar("F", bound=Callable[..., Any])


def _verbs() -> ModuleType:
    """What the verbs do, imported once a verb is known: `--help` needs none of it."""
    from llmops import commands, config, progress

    if config.on_a_runner():
        progress.write_lines()
    return commands


_EPILOG = """\b
Exit codes
  0  pass, or nothing to do
  1  a blocking gate failed
  2  the change is invalid: the message names file, line and fix
  3  the machinery failed: a service, a process, the network
"""


def _environment(function: F) -> F:
    return click.option(
        "--env",
        "environment",
        metavar="NAME",
        help="Environment of llmops.yaml. Else $LLMOPS_ENV, else its `default`.",
    )(function)


def _as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(
        function
    )


def _base_and_head(function: F) -> F:
    function = click.option(
        "--head",
        metavar="REV",
        help="The side with the change. Default: the working tree, uncommitted changes included.",
    )(function)
    return click.option(
        "--base",
        metavar="REV",
        default="main",
        show_default=True,
        help="The side to compare with. Without --head: where this branch left it.",
    )(function)


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmops")
def llmops() -> None:
    """GitOps for language models.

    A pull request that changes a prompt, a data pointer or a tuning config is planned, evaluated
    against what it replaces, and reported. The same verbs run on a laptop and in the workflows.

    \b
    Start here:
      llmops local up      a cloud on this machine: bucket, model, GitHub
      llmops pr            plan, evaluate and report this branch against main
      llmops plan          what changed, and what a merge would do
    """


# --- local -----------------------------------------------------------------------------------


@llmops.group()
def local() -> None:
    """The local cloud: a bucket, a small model and a GitHub, on this machine."""


@local.command("up")
@_environment
@_as_json
def local_up(environment: str | None, as_json: bool) -> None:
    """Start the local cloud, or what of it is not running.

    The services go on in the background when the terminal closes; `llmops local down` stops them.
    Their state lies under .llmops/local (or $LLMOPS_HOME/local) and outlives them. In an
    environment that is not local there is nothing to start, and that is said.

    \b
    Example: llmops local up && llmops local status
    """
    _verbs().local_up(environment, as_json=as_json)


@local.command("down")
@_as_json
def local_down(as_json: bool) -> None:
    """Stop the local cloud. What it stored is kept."""
    _verbs().local_down(as_json=as_json)


@local.command("status")
@_as_json
def local_status(as_json: bool) -> None:
    """Show each service: running, stopped or died, its address, and why it died.

    Exit code 0 when all run, 3 otherwise.
    """
    _verbs().local_status(as_json=as_json)


# --- plan, data, eval, compare ------------------------------------------------------------------


@llmops.command()
@_base_and_head
@_environment
@_as_json
@click.option(
    "--github-output", is_flag=True, help="Also write `evaluate=true|false` for a workflow."
)
def plan(
    base: str, head: str | None, environment: str | None, as_json: bool, github_output: bool
) -> None:
    """Show what changed in meaning, what must be evaluated, and what a merge does.

    Both sides are read from git: nothing is checked out. Comments, the order of keys, and a file's
    new name change nothing.

    \b
    Examples:
      llmops plan                          this working tree against main
      llmops plan --base v1 --head v2      any two revisions
      llmops plan --json | jq .evaluations
    """
    _verbs().plan(base, head, environment, as_json=as_json, github_output=github_output)


@llmops.group()
def data() -> None:
    """The data behind data pointers (*.dvc)."""


@data.command("pull")
@_base_and_head
@_environment
@_as_json
def data_pull(base: str, head: str | None, environment: str | None, as_json: bool) -> None:
    """Bring the data that the plan needs from the bucket, through DVC; nothing else.

    It comes into DVC's cache under .llmops/dvc. To have it in data/ as well: llmops data build.
    """
    _verbs().data_pull(base, head, environment, as_json=as_json)


@data.command("build")
@_as_json
def data_build(as_json: bool) -> None:
    """Build data/ from the shipped source tables, and write data.dvc to match.

    The same tables give the same bytes, so where nothing changed the pointer stays as it is.
    """
    _verbs().data_build(as_json=as_json)


@llmops.command("eval")
@_base_and_head
@_environment
@_as_json
def evaluate(base: str, head: str | None, environment: str | None, as_json: bool) -> None:
    """Let both releases answer the same cases, and judge the answers with promptfoo.

    What was asked or judged before, here or by a colleague, is taken from the cache: on this
    machine, then in the bucket. Ctrl-C loses no answer that was given. A call that fails is
    retried, then recorded as an error of its case; it never counts as a pass.
    """
    _verbs().evaluate(base, head, environment, as_json=as_json)


@llmops.command()
@_as_json
def compare(as_json: bool) -> None:
    """Decide: for each metric the paired difference with its interval, for each gate the verdict.

    Reads what the last `llmops eval` found. Exit code 1 when a blocking gate failed.
    """
    _verbs().compare(as_json=as_json)


# --- report -------------------------------------------------------------------------------------


@llmops.group(invoke_without_command=True)
@_as_json
@click.pass_context
def report(context: click.Context, as_json: bool) -> None:
    """Write the report to .llmops/run/report: comment.md, index.html and junit.xml.

    Reads what the last `llmops plan`, `eval` and `compare` left in .llmops/run.
    """
    if context.invoked_subcommand is None:
        _verbs().report(as_json=as_json)


@report.command("publish")
@_environment
@_as_json
@click.option(
    "--nothing-to-evaluate",
    is_flag=True,
    help="Only where the pull request changes no resource: post the passing check.",
)
@click.option("--report-url", metavar="URL", help="Where the HTML report can be opened.")
def report_publish(
    environment: str | None, as_json: bool, nothing_to_evaluate: bool, report_url: str | None
) -> None:
    """Put the report on the pull request: one comment, updated in place, and the check.

    Needs the variables that GitHub sets in a workflow, and GITHUB_TOKEN. Uses `cml` where it is
    installed, else the GitHub API. Without the right to write (a fork), the report stays in the
    job summary, and that is said.
    """
    _verbs().report_publish(
        environment,
        as_json=as_json,
        nothing_to_evaluate=nothing_to_evaluate,
        report_url=report_url,
    )


@llmops.command()
@click.option("--base", metavar="REV", default="main", show_default=True)
@_environment
@_as_json
@click.option("--open/--no-open", "open_page", default=None, help="Open the report in a browser.")
def pr(base: str, environment: str | None, as_json: bool, open_page: bool | None) -> None:
    """Plan, evaluate and report this working tree against main: what the pull request will say.

    Uncommitted changes count. Starts the local cloud where it is needed.
    """
    _verbs().pull_request(base, environment, as_json=as_json, open_page=open_page)


@llmops.command()
def demo() -> None:
    """Two pull requests, one better and one worse, through the real workflow on this machine."""
    _verbs().demo()


# --- the edge -----------------------------------------------------------------------------------


def main() -> NoReturn:
    """Runs the command line; ends the process with one of ExitCode."""
    as_json = "--json" in sys.argv[1:]
    try:
        # Without standalone mode click returns the code of an Exit instead of ending the process.
        sys.exit(llmops(standalone_mode=False) or ExitCode.PASS)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.INVALID)
    except (KeyboardInterrupt, click.Abort):
        print(
            "\ninterrupted: answers that were given are kept, run it again to go on",
            file=sys.stderr,
        )
        sys.exit(ExitCode.INTERRUPTED)
    except LlmopsError as error:
        _tell(error, as_json=as_json)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            _unforeseen(error, as_json=as_json)
        full = MachineryError(f"the disk is full: {error.filename or error}", fix="make room")
        _tell(full, as_json=as_json)
        sys.exit(ExitCode.MACHINERY)
    except Exception as error:  # noqa: BLE001 - the last door: everything else is a defect of ours
        _unforeseen(error, as_json=as_json)


def _unforeseen(error: Exception, *, as_json: bool) -> NoReturn:
    log = _log_path()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    message = f"an unforeseen error: {type(error).__name__}: {error}"
    _tell(MachineryError(message, fix=f"please report it with {log}"), as_json=as_json)
    sys.exit(ExitCode.MACHINERY)


def _log_path() -> Path:
    from llmops import config

    try:
        return config.home(config.repository_root()) / "logs" / "error.log"
    except LlmopsError:
        return Path("llmops-error.log")


def _tell(error: LlmopsError, *, as_json: bool) -> None:
    print(f"error: {error}", file=sys.stderr)
    place = (error.path, error.line) if isinstance(error, UserError) else (None, None)
    described = {
        "message": error.message,
        "path": place[0],
        "line": place[1],
        "fix": error.fix,
        "exit_code": int(error.exit_code),
    }
    if as_json:
        print(json.dumps({"error": described}, indent=1))
    _verbs().record_failure(described)


if __name__ == "__main__":
    main()
