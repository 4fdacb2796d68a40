"""One pull request that moves the data pointer: opened, updated in place, closed when obsolete."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops.config import GitHub
from llmops.errors import MachineryError, UserError
from llmops.formats import DataPointer
from llmops.report.deployment import connect
from llmops.report.markdown import as_code, as_words

if TYPE_CHECKING:
    from github.Repository import Repository

BRANCH = "llmops/data"
"""Overwritten by each build that differs from main."""
MARKER = "<!-- llmops:data -->"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The pull request's words."""

    title: str
    body: str


def proposal(
    before: DataPointer | None, after: DataPointer, card: str, run_url: str = ""
) -> Proposal:
    """What the pointer names before and after, where that came from, and the data card."""
    old = before.meta.rows if before else {}
    new = after.meta.rows
    splits = sorted({*old, *new}, key=lambda split: (-new.get(split, 0), split))
    changes = ", ".join(
        f"{new.get(split, 0) - old.get(split, 0):+,} {split}"
        for split in splits
        if new.get(split, 0) != old.get(split, 0)
    )
    lines = [
        "The source tables give other data than main points to.",
        "",
        "| split | main | here |",
        "|---|---:|---:|",
        *(f"| {split} | {old.get(split, 0):,} | {new.get(split, 0):,} |" for split in splits),
        "",
        f"Data {as_code(after.output.md5)}, in the bucket already.",
        *_origin(after),
        "",
        "What changed row by row, and what the models answer with it, the checks of this pull",
        f"request say. Its branch {as_code(BRANCH)} is overwritten by the next build.",
        "",
        "<details><summary>Data card</summary>",
        "",
        # Nobody whom a question names is called, and the marker stands once.
        re.sub(r"@(?=\w)", "@\u200d", card.strip()).replace("<!--", "<! --"),
        "",
        "</details>",
        *(["", f"<sub>[run]({run_url})</sub>"] if run_url else []),
        "",
        MARKER,
        "",
    ]
    return Proposal(title=f"Data: {changes or 'other rows'}", body="\n".join(lines))


def _origin(pointer: DataPointer) -> list[str]:
    origin = pointer.meta.origin
    if origin is None:
        return []
    tables = ", ".join(
        f"{as_code(name)} ({as_words(version)})" for name, version in origin.tables.items()
    )
    jobs = f", jobs {', '.join(as_code(job) for job in origin.jobs)}" if origin.jobs else ""
    at = f", as they stood at {as_words(origin.at)}" if origin.at else ""
    return [f"From {origin.engine}: {tables}{at}{jobs}."]


def clone_url(github: GitHub) -> str:
    """Where the project's branches are pushed to.

    Raises UserError outside a workflow run, MachineryError when GitHub refuses.
    """
    with _explained(github):
        return str(_project(github).clone_url)


def publish(wanted: Proposal | None, github: GitHub, base: str) -> list[str]:
    """Opens or updates the pull request from BRANCH; with None closes it. Returns what was done.

    Raises UserError outside a workflow run, MachineryError when GitHub refuses.
    """
    repository = _project(github)
    owner = github.repository.partition("/")[0]
    with _explained(github):
        opened = [
            pull
            for pull in repository.get_pulls(state="open", head=f"{owner}:{BRANCH}")
            if pull.head.ref == BRANCH
        ]
        if wanted is None:
            for pull in opened:
                pull.create_issue_comment("The source tables give the data of main again.")
                pull.edit(state="closed")
            return [f"closed {pull.html_url}" for pull in opened]
        if opened:
            opened[0].edit(title=wanted.title, body=wanted.body)
            return [f"updated {opened[0].html_url}"]
        made = repository.create_pull(base, BRANCH, title=wanted.title, body=wanted.body)
        return [f"opened {made.html_url}"]


def _project(github: GitHub) -> "Repository":
    repository = connect(github)
    if repository is None:
        raise UserError(
            "proposing needs GITHUB_REPOSITORY and GITHUB_TOKEN",
            fix="on a laptop: git commit data.dvc dvc.lock, push the branch, open a pull request",
        )
    return repository


@contextmanager
def _explained(github: GitHub) -> Iterator[None]:
    from github import GithubException
    from requests.exceptions import RequestException

    try:
        yield
    except GithubException as error:
        raise MachineryError(
            f"GitHub refuses the pull request: {error}",
            fix="Settings > Actions: allow GitHub Actions to create pull requests; run it again",
        ) from None
    except (RequestException, OSError) as error:
        message = f"GitHub does not answer at {github.api_url}: {error}"
        raise MachineryError(message, fix="run it again") from None
