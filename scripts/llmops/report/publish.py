"""Putting the report where people look: one comment, one check, the job's summary."""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmops import process
from llmops.config import GitHub
from llmops.errors import MachineryError, UserError
from llmops.report.markdown import MARKER

if TYPE_CHECKING:
    from github.PullRequest import PullRequest
    from github.Repository import Repository

CHECK = "llmops"
"""The required check's name: what branch protection asks for."""

Conclusion = Literal["success", "failure", "neutral", "action_required"]

_LONGEST_SUMMARY = 65_535
_RETRIES = 3


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is published."""

    comment: str
    title: str
    conclusion: Conclusion
    path: str | None = None
    line: int | None = None
    """Where an invalid change is wrong: shown beside the line."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The pull request that the workflow run is about."""

    number: int
    head_sha: str
    base_sha: str


def event(github: GitHub) -> Event:
    """The pull request of this run. Raises UserError outside a pull request's workflow."""
    try:
        pull = json.loads(Path(github.event_path).read_text(encoding="utf-8"))["pull_request"]
        return Event(
            number=int(pull["number"]),
            head_sha=str(pull["head"]["sha"]),
            base_sha=str(pull["base"]["sha"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            "this is not a workflow run of a pull request: GITHUB_EVENT_PATH names no such event",
            fix="on a laptop, `llmops pr` writes the same report to .llmops/run/report",
        ) from None


def publish(publication: Publication, github: GitHub, about: Event, folder: Path) -> list[str]:
    """Publishes; returns what was done, a sentence each.

    A token without the right to write, as a fork's, leaves the report in the job summary. Raises
    MachineryError when GitHub cannot be reached.
    """
    done = [*_summary(publication, github)]
    from github import Auth, Github, GithubException
    from requests.exceptions import RequestException

    client = Github(
        auth=Auth.Token(github.token or "none"), base_url=github.api_url, retry=_RETRIES, timeout=30
    )
    repository = client.get_repo(github.repository, lazy=True)
    try:
        done += [
            _comment(publication, repository.get_pull(about.number), folder),
            _check(publication, repository, about, github),
        ]
    except GithubException as error:
        if error.status not in (401, 403):
            message = f"GitHub refuses the report: {error.status} {error.data}"
            raise MachineryError(message, fix="run the job again") from None
        done.append(
            "this run's token may not write (it comes from a fork?): "
            "the report is in the job summary only"
        )
    except (RequestException, OSError) as error:
        message = f"GitHub does not answer at {github.api_url}: {error}"
        raise MachineryError(message, fix="run the job again") from None
    finally:
        client.close()
    return done


def _summary(publication: Publication, github: GitHub) -> list[str]:
    if not github.summary_path:
        return []
    with Path(github.summary_path).open("a", encoding="utf-8") as file:
        file.write(publication.comment)
    return ["wrote the job summary"]


def _comment(publication: Publication, pull: "PullRequest", folder: Path) -> str:
    """One comment, updated in place; of several, the newest is kept and the others go."""
    from github import UnknownObjectException

    found = [each for each in pull.get_issue_comments() if MARKER in (each.body or "")]
    for each in found[:-1]:
        with contextlib.suppress(UnknownObjectException):
            each.delete()
    if found:
        # Somebody may delete it between the look and the edit: then it is written anew.
        with contextlib.suppress(UnknownObjectException):
            found[-1].edit(publication.comment)
            return f"updated the comment {found[-1].html_url}"
    if shutil.which("cml"):
        # CML posts the first comment under its own name; its marker finds it again as any other.
        file = folder / "comment.md"
        process.run(
            ["cml", "comment", "create", "--target", f"pr/{pull.number}", str(file)],
            cwd=folder,
            env=None,
        )
        return "created the comment with cml"
    return f"created the comment {pull.create_issue_comment(publication.comment).html_url}"


def _check(publication: Publication, repository: "Repository", about: Event, github: GitHub) -> str:
    output: dict[str, Any] = {
        "title": publication.title,
        "summary": publication.comment[:_LONGEST_SUMMARY],
    }
    if publication.path and publication.line:
        output["annotations"] = [
            {
                "path": publication.path,
                "start_line": publication.line,
                "end_line": publication.line,
                "annotation_level": "failure",
                "message": publication.title,
            }
        ]
    from github.GithubObject import NotSet

    run = repository.create_check_run(
        name=CHECK,
        head_sha=about.head_sha,
        status="completed",
        conclusion=publication.conclusion,
        output=output,
        details_url=github.run_url or NotSet,
    )
    return f"posted the check {CHECK}: {run.conclusion}"
