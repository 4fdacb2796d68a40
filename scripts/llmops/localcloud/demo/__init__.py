"""The demo: two pull requests, one better and one worse, through the real workflow on a laptop."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from llmops import config, git, progress
from llmops.errors import ExitCode, MachineryError, UserError
from llmops.localcloud import cloud
from llmops.localcloud.demo import merged
from llmops.localcloud.demo.act import PROJECT, Runner

_PROMPT = "prompts/answer.prompt.yml"
_IDENTITY = ("-c", "user.name=Demo", "-c", "user.email=demo@example.com")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A pull request that the demo opens."""

    branch: str
    title: str
    body: str
    prompt: str
    """The file, beside this one, that becomes the prompt."""


PROPOSALS = (
    Proposal(
        branch="docstring-words",
        title="Answer in the words of docstrings",
        body="Six examples show the model how the documentation says such things.",
        prompt="better.prompt.yml",
    ),
    Proposal(
        branch="friendly-tutor",
        title="Answer like a friendly tutor",
        body="Longer answers, with background and an example: people like that, surely?",
        prompt="worse.prompt.yml",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a pull request."""

    number: int
    title: str
    conclusion: str
    decision: str
    page: str
    report: str
    seconds: float


def run(root: Path, console: Console) -> ExitCode:
    """Opens the pull requests, runs the workflow on each, shows the decisions.

    Works in a scratch clone under .llmops/demo; the checkout itself is not touched. Raises
    MachineryError when the workflow leaves no decision.
    """
    if not config.is_local(root, None):
        raise UserError("the demo runs in a local environment", fix="unset LLMOPS_ENV")
    config.rehearse()
    addresses = cloud.up(root, progress.say)
    folder = config.home(root) / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    clone = _scratch_clone(root, folder, addresses["github"])
    runner = Runner(root=root, clone=clone, folder=folder, github=addresses["github"])
    progress.say("\nThe first release: deploy.yml brings what main says to an empty cloud")
    merged.clear(root, addresses["vertex"])
    merged.deploy(runner, addresses["vertex"], "first")
    outcomes = [_propose(runner, proposal) for proposal in PROPOSALS]
    story = merged.tell(runner, addresses["vertex"], outcomes[0].number)
    _show(outcomes, story, console)
    return ExitCode.PASS


def _scratch_clone(root: Path, folder: Path, github: str) -> Path:
    """A clone of HEAD whose origin is the local GitHub's project."""
    reply = httpx.post(f"{github}/_local/repos", json={"full_name": PROJECT}, timeout=10)
    origin = reply.raise_for_status().json()["clone_url"]
    clone = folder / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    git.run(folder, "clone", "--quiet", "--no-hardlinks", str(root), str(clone))
    git.run(clone, "remote", "set-url", "origin", origin)
    git.run(clone, "switch", "--quiet", "--force-create", "main")
    merged.laptop_rules(clone)
    message = "Let the canary fit in a demo"
    git.run(clone, *_IDENTITY, "commit", "--quiet", "--all", "-m", message)
    git.run(clone, "push", "--quiet", "--force", "origin", "main")
    return clone


def _propose(runner: Runner, proposal: Proposal) -> Outcome:
    started = time.monotonic()
    clone, github = runner.clone, runner.github
    progress.say(f"\nPull request: {proposal.title}")
    head = _push(clone, proposal)
    pull = _open(github, proposal)
    number = int(pull["number"])
    # What GitHub checks out: the merge of the branch into main.
    git.run(clone, "switch", "--quiet", "--detach", "main")
    message = f"Merge {proposal.branch}"
    git.run(clone, *_IDENTITY, "merge", "--quiet", "--no-ff", "-m", message, proposal.branch)
    event = {"action": "opened", "pull_request": pull}
    runner.run("pr.yml", "pull_request", event, str(number))
    check = _check(github, head)
    return Outcome(
        number=number,
        title=proposal.title,
        conclusion=check["conclusion"],
        decision=check["output"]["title"],
        page=f"{github}/{PROJECT}/pull/{number}",
        report=f"{github}/artifacts/{number}/report/index.html",
        seconds=time.monotonic() - started,
    )


def _push(clone: Path, proposal: Proposal) -> str:
    git.run(clone, "switch", "--quiet", "--force-create", proposal.branch, "main")
    shutil.copy(Path(__file__).with_name(proposal.prompt), clone / _PROMPT)
    git.run(clone, *_IDENTITY, "commit", "--quiet", "--all", "-m", proposal.title)
    git.run(clone, "push", "--quiet", "--force", "origin", proposal.branch)
    return git.head_commit(clone)


def _open(github: str, proposal: Proposal) -> dict[str, Any]:
    """The pull request: the open one of that branch, else a new one."""
    pulls = f"{github}/repos/{PROJECT}/pulls"
    with httpx.Client(timeout=10, headers={"Authorization": "Bearer local"}) as client:
        for pull in client.get(pulls).raise_for_status().json():
            if pull["head"]["ref"] == proposal.branch:
                return dict(pull)
        body = {
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.branch,
            "base": "main",
        }
        return dict(client.post(pulls, json=body).raise_for_status().json())


def _check(github: str, head: str) -> dict[str, Any]:
    url = f"{github}/repos/{PROJECT}/commits/{head}/check-runs"
    found = httpx.get(url, timeout=10).raise_for_status().json()["check_runs"]
    if not found:
        raise MachineryError(
            "the workflow posted no check", fix="see the end of .llmops/demo/act-*.log"
        )
    return dict(found[-1])


def _show(outcomes: list[Outcome], story: merged.Story, console: Console) -> None:
    styles = {"success": "green", "failure": "red"}
    words = {"success": "passes", "failure": "is blocked", "neutral": "is inconclusive"}
    console.print("\n[bold]Two pull requests were judged[/bold]\n")
    for each in outcomes:
        style = styles.get(each.conclusion, "yellow")
        word = words.get(each.conclusion, each.conclusion)
        console.print(
            f"[{style}]#{each.number} {each.title} {word}[/]  ({each.seconds:.0f} s)",
            highlight=False,
        )
        console.print(f"   {each.decision}", highlight=False, markup=False)
        console.print(f"   pull request  {each.page}", highlight=False, soft_wrap=True)
        console.print(f"   full report   {each.report}\n", highlight=False, soft_wrap=True)
    console.print("[bold]The better one was merged, deployed, and rolled back[/bold]\n")
    told = (
        ("asked in production", merged.QUESTION),
        ("answered", story.answer),
        ("release notes", story.pull),
        ("deployments", story.deployments),
        ("drift, found and mended", story.issue),
    )
    for what, found in told:
        console.print(f"   {what:24} {found}", highlight=False, markup=False, soft_wrap=True)
    console.print("\nTry next:")
    console.print("   edit prompts/answer.prompt.yml, then: .venv/bin/llmops pr", highlight=False)
    console.print("   .venv/bin/llmops plan        what a merge would do", highlight=False)
    console.print("   .venv/bin/llmops deploy --dry-run   and its steps", highlight=False)
    console.print("   .venv/bin/llmops local down  stops the local cloud", highlight=False)
