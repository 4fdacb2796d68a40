"""The verbs: each parses its options, calls one function, prints, and ends with an exit code."""

import errno
import json
import os
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


def _preparing() -> ModuleType:
    """What the verbs do that make, share and compare data, imported as late."""
    _verbs()
    from llmops import preparing

    return preparing


def _operating() -> ModuleType:
    """What the verbs do that change what is live, imported as late."""
    _verbs()
    from llmops import operating

    return operating


def _observing() -> ModuleType:
    """What the verbs do that hold live against main, imported as late."""
    _verbs()
    from llmops import observing

    return observing


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
      llmops status        what is live, and whether it is what main says
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
    _preparing().data_pull(base, head, environment, as_json=as_json)


@data.command("build")
@click.option(
    "--dry-run", is_flag=True, help="Show the query and what it would read, and build nothing."
)
@click.option(
    "--beam",
    is_flag=False,
    flag_value="",
    metavar="[OPTIONS]",
    help="Clean with Apache Beam: on Dataflow, in a local environment on this machine. "
    'Pipeline options follow the environment\'s own: --beam="--max_num_workers=20".',
)
@_environment
@_as_json
def data_build(dry_run: bool, beam: str | None, environment: str | None, as_json: bool) -> None:
    """Build data/ as params.yaml says, and write data.dvc to match.

    \b
    retrieve    in a local environment from the shipped tables, else from BigQuery, after a dry run
    clean       HTML to Markdown, one sentence, personal data masked; no duplicates, nothing near a
                test or validation row or a suite's case in training
    select      split by the MD5 of what a row is about: a row never moves; the data card
    check       the contract of params.yaml: where it is broken the build stops, with rows

    DVC runs the steps, as dvc.yaml says, and no step again whose input, code and parameters are as
    before. The same tables give the same bytes, so where nothing changed the pointer stays.
    """
    _preparing().data_build(environment, dry_run=dry_run, beam=beam, as_json=as_json)


@data.command("push")
@_environment
@_as_json
def data_push(environment: str | None, as_json: bool) -> None:
    """Bring the data that data.dvc points to into the bucket, through DVC, for others to have.

    Run it before the pull request: what is not there cannot be evaluated. Without --env it goes to
    each environment of $LLMOPS_ENVIRONMENTS, since each tunes from its own bucket.
    """
    _preparing().data_push(environment, as_json=as_json)


@data.command("propose")
@_environment
@_as_json
def data_propose(environment: str | None, as_json: bool) -> None:
    """Push the data, and have one pull request move data.dvc to it; what data.yml ends with.

    The pull request shows counts, where the rows came from, and the data card. It is updated in
    place, and closed where main points to this data. Needs the variables that GitHub sets in a
    workflow, and GITHUB_TOKEN.
    """
    _preparing().data_propose(environment, as_json=as_json)


@data.command("step")
@click.argument("step", type=click.Choice(["source", "retrieve", "clean", "select", "check"]))
def data_step(step: str) -> None:
    """Run one step of dvc.yaml: what DVC calls, and `llmops data build` calls DVC.

    \b
    source      which tables are read, and in which version
    retrieve    posts.parquet: the posts that are taken, sorted
    clean       cleaned.parquet: made usable, masked; a row that is left out with its reason
    select      made/: the rows that are kept, one file a split, their card, their record
    check       contract.json: what the data set measures, where it keeps its contract

    All of it lies in build/data.
    """
    _preparing().data_step(step)


@data.command("diff")
@_base_and_head
@_environment
@_as_json
def data_diff(base: str, head: str | None, environment: str | None, as_json: bool) -> None:
    """Show what a changed data pointer changes: rows, lengths, topics, leaks, personal data.

    What is not at hand is pulled; where base's data cannot be had, that is said.
    """
    _preparing().data_diff(base, head, environment, as_json=as_json)


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


# --- release, deploy, rollback, status, reconcile -----------------------------------------------


def _revision(function: F) -> F:
    return click.option(
        "--rev", "revision", metavar="REV", default="HEAD", show_default=True, help="What to take."
    )(function)


def _application(function: F) -> F:
    return click.option(
        "--application",
        metavar="NAME",
        envvar="LLMOPS_APPLICATION",
        show_envvar=True,
        help="Only this one. Default: all.",
    )(function)


@llmops.group()
def release() -> None:
    """Releases: the bundle of all that shapes an answer, named by its digest."""


@release.command("build")
@_revision
@_environment
@_as_json
def release_build(revision: str, environment: str | None, as_json: bool) -> None:
    """Write each application's bundle to gs://BUCKET/releases/DIGEST/, unless it is there.

    The same revision gives the same bytes. `llmops deploy` does this by itself.
    """
    _operating().release_build(environment, revision, as_json=as_json)


@llmops.command()
@_revision
@_environment
@_application
@click.option("--dry-run", is_flag=True, help="Print the steps that the real run takes, and stop.")
@click.option(
    "--retry",
    is_flag=True,
    envvar="LLMOPS_RETRY",
    show_envvar=True,
    help="Try a release again that was rolled back.",
)
@_as_json
def deploy(
    revision: str,
    environment: str | None,
    application: str | None,
    dry_run: bool,
    retry: bool,
    as_json: bool,
) -> None:
    """Bring what a revision says to Vertex AI: upload, canary, watch, promote, or roll back.

    Looks at what is live and takes only the steps that are missing, so that it may be killed and
    run again at any time. Ends with 1 when the release was rolled back, or is held at its share
    for want of traffic. Shares, window and bounds: `canary` in models/*.yaml.

    \b
    Examples:
      llmops deploy --env staging --dry-run
      llmops deploy --env production --application assistant
    """
    _operating().deploy(
        environment, revision, application, dry_run=dry_run, retry=retry, as_json=as_json
    )


@llmops.command()
@_environment
@_application
@click.option(
    "--to",
    metavar="RELEASE",
    envvar="LLMOPS_RELEASE",
    show_envvar=True,
    help="Its digest's beginning. Default: the former one.",
)
@_as_json
def rollback(
    environment: str | None, application: str | None, to: str | None, as_json: bool
) -> None:
    """Give all traffic back to the former release, in one call; a running deploy gives way.

    Nothing is tuned or uploaded. Afterwards main and live differ on purpose: `llmops status` says
    so until the change is reverted on main.
    """
    _operating().rollback(environment, application, to, as_json=as_json)


@llmops.command()
@_environment
@_as_json
def status(environment: str | None, as_json: bool) -> None:
    """Show what is live beside what main says: in sync, drifted, missing, foreign, and why.

    Without --env: the environments in $LLMOPS_ENVIRONMENTS, or else the local ones.
    """
    _observing().status(environment, as_json=as_json)


@llmops.command()
@_environment
@click.option(
    "--apply", is_flag=True, envvar="LLMOPS_APPLY", show_envvar=True, help="Repair what drifted."
)
@click.option("--publish", is_flag=True, help="Keep one issue at GitHub while they differ.")
@_as_json
def reconcile(environment: str | None, apply: bool, publish: bool, as_json: bool) -> None:
    """Find where live and main differ; with --apply make live what main says.

    Exit code 1 where they differ still. A release that was rolled back is left alone: that is on
    purpose.
    """
    _observing().reconcile(environment, apply=apply, publish=publish, as_json=as_json)


@llmops.command()
@click.argument("release", required=False)
@_environment
@_as_json
def lineage(release: str | None, environment: str | None, as_json: bool) -> None:
    """Lead from RELEASE back to its rows: commit, data, query, BigQuery job, counts, files.

    RELEASE is the beginning of a release's digest, as `llmops status` shows it; without it, what is
    live. The data is brought into DVC's cache, and where each of its files lies is printed.
    """
    _observing().lineage(release, environment, as_json=as_json)


@llmops.command()
@_environment
@_as_json
def doctor(environment: str | None, as_json: bool) -> None:
    """Check that a project is set up: bucket, Vertex AI, model, rights, image; name each fix.

    Exit code 3 where something is missing. See docs/google-cloud.md.
    """
    _observing().doctor(environment, as_json=as_json)


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
            "\ninterrupted: what was done so far is kept, run it again to go on",
            file=sys.stderr,
        )
        sys.exit(ExitCode.INTERRUPTED)
    except LlmopsError as error:
        _tell(error, as_json=as_json)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last door: everything else is a defect of ours
        if _no_room(error):
            _tell(MachineryError(f"the disk is full: {error}", fix="make room"), as_json=as_json)
            sys.exit(ExitCode.MACHINERY)
        _unforeseen(error, as_json=as_json)


def _no_room(error: Exception) -> bool:
    """Of the disk, or of what this process or person may use of it; DuckDB has only the words."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    return any(os.strerror(number) in str(error) for number in numbers)


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
