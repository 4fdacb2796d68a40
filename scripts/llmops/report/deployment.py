"""A deploy where people follow it: job summary, GitHub deployment, note on the pull request."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops.config import GitHub
from llmops.deploy.run import Ending, Follower, Happened, Report
from llmops.report.markdown import as_code, as_words

if TYPE_CHECKING:
    from github.Deployment import Deployment
    from github.Repository import Repository

_LONGEST_DESCRIPTION = 140
_ICONS = {
    Ending.PROMOTED: "🚀",
    Ending.UNCHANGED: "✅",
    Ending.ROLLED_BACK: "↩️",
    Ending.HELD: "⏸️",
}
NOTE_MARKER = "<!-- llmops:release-note -->"


def summary(reports: Sequence[Report]) -> str:
    """Each step with its state and time, as Markdown."""
    parts = []
    for report in reports:
        head = (
            f"## {_ICONS[report.ending]} {as_words(report.application)} in "
            f"{as_words(report.environment)}: {report.ending}"
        )
        parts += [head, "", f"Release {as_code(report.release[:12])}"]
        if report.reason:
            parts += ["", as_words(report.reason)]
        if report.steps:
            parts += ["", "| step | state | time | |", "|---|---|---:|---|"]
            parts += [_row(each) for each in report.steps]
        parts.append("")
    return "\n".join(parts)


def _row(each: Happened) -> str:
    step, note = as_words(each.step), as_words(each.note)
    return f"| {step} | {each.state} | {each.seconds:.1f} s | {note} |"


def release_note(report: Report, run_url: str) -> str:
    """For the merged pull request: what went live, the verified figures, the way back."""
    share = {Ending.PROMOTED: "100%", Ending.UNCHANGED: "100%"}.get(report.ending, "0%")
    figures = [each for each in report.steps if each.step.startswith("watch") and each.note]
    answers = f"Release {as_code(report.release[:12])} of {as_words(report.application)}"
    lines = [
        f"### {_ICONS[report.ending]} {report.environment}: {report.ending}",
        "",
        f"{answers} answers {share} of the traffic.",
    ]
    if report.reason:
        lines += ["", as_words(report.reason)]
    lines += ["", *(f"- {as_words(each.step)}: {as_words(each.note)}" for each in figures)]
    back = f"llmops rollback --env {report.environment} --application {report.application}"
    lines += ["", f"Way back: {as_code(back)}, or the workflow *Roll back*."]
    if run_url:
        lines += ["", f"<sub>[run]({run_url})</sub>"]
    return "\n".join([*lines, "", NOTE_MARKER, ""])


class Terminal(Follower):
    """Steps as lines on standard error."""

    def __init__(self, say: Callable[[str], None], prefix: str) -> None:
        self._say = say
        self._prefix = prefix

    def started(self, step: str) -> None:
        """A step begins."""
        self._say(f"{self._prefix}{step} …")

    def said(self, text: str) -> None:
        """Something about the step under way."""
        self._say(f"{self._prefix}  {text}")

    def ended(self, happened: Happened) -> None:
        """A step is over."""
        note = f": {happened.note}" if happened.note else ""
        self._say(f"{self._prefix}  {happened.state} in {happened.seconds:.1f} s{note}")


class GitHubDeployment(Follower):
    """A deployment at GitHub, whose status follows the steps.

    What GitHub refuses or does not answer is passed over: the deploy is what matters.
    """

    def __init__(self, repository: "Repository", commit: str, environment: str, log: str) -> None:
        self._log = log
        self._deployment: Deployment | None = None
        self._environment = environment
        with _forgiven():
            self._deployment = repository.create_deployment(
                ref=commit,
                environment=environment,
                auto_merge=False,
                required_contexts=[],
                description="llmops deploy",
                production_environment=environment == "production",
            )

    def started(self, step: str) -> None:
        """A step begins."""
        self._status("in_progress", step)

    def finish(self, report: Report) -> None:
        """Success where the release answers, failure where it was rolled back."""
        good = report.ending in (Ending.PROMOTED, Ending.UNCHANGED)
        words = f"{report.ending}: release {report.release[:12]}"
        self._status("success" if good else "failure", words, report.endpoint)

    def fail(self, reason: str) -> None:
        """It ended without a report."""
        self._status("error", reason)

    def _status(self, state: str, words: str, url: str = "") -> None:
        if self._deployment is None:
            return
        with _forgiven():
            self._deployment.create_status(
                state=state,
                description=words[:_LONGEST_DESCRIPTION],
                environment=self._environment,
                target_url=self._log,
                environment_url=url,
            )


class Both(Follower):
    """Several followers as one."""

    def __init__(self, *followers: Follower) -> None:
        self._followers = followers

    def started(self, step: str) -> None:
        """A step begins."""
        for each in self._followers:
            each.started(step)

    def said(self, text: str) -> None:
        """Something about the step under way."""
        for each in self._followers:
            each.said(text)

    def ended(self, happened: Happened) -> None:
        """A step is over."""
        for each in self._followers:
            each.ended(happened)


def connect(github: GitHub) -> "Repository | None":
    """The project at GitHub; None where this is no workflow run."""
    if not (github.repository and github.token):
        return None
    from github import Auth, Github

    client = Github(auth=Auth.Token(github.token), base_url=github.api_url, retry=2, timeout=20)
    return client.get_repo(github.repository, lazy=True)


def note_on_pull_request(repository: "Repository", commit: str, text: str) -> None:
    """The release note on the pull request that brought the commit, one for each environment."""
    first = text.splitlines()[0].partition(" ")[2].partition(":")[0]
    with _forgiven():
        for pull in repository.get_commit(commit).get_pulls():
            for comment in pull.get_issue_comments():
                if NOTE_MARKER in comment.body and first in comment.body.splitlines()[0]:
                    comment.edit(text)
                    break
            else:
                pull.create_issue_comment(text)


def write_summary(github: GitHub, text: str) -> None:
    """Into the job's summary, where there is one."""
    if github.summary_path:
        with Path(github.summary_path).open("a", encoding="utf-8") as file:
            file.write(text)


def _forgiven() -> contextlib.AbstractContextManager[None]:
    from github import GithubException
    from requests.exceptions import RequestException

    return contextlib.suppress(GithubException, RequestException, OSError)
