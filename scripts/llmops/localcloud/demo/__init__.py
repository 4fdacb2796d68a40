"""The demo: two pull requests, one better and one worse, through the real workflow on a laptop."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from llmops import config, git, progress
from llmops.errors import ExitCode, MachineryError, UserError
from llmops.localcloud import cloud

PROJECT = "example/llmops"
_PROMPT = "prompts/answer.prompt.yml"
_IDENTITY = ("-c", "user.name=Demo", "-c", "user.email=demo@example.com")
_LAST_LINES = 25


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
    addresses = cloud.up(root, progress.say)
    folder = config.home(root) / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    clone = _scratch_clone(root, folder, addresses["github"])
    outcomes = [
        _propose(root, clone, folder, addresses["github"], proposal) for proposal in PROPOSALS
    ]
    _show(outcomes, console)
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
    git.run(clone, "push", "--quiet", "--force", "origin", "main")
    return clone


def _propose(root: Path, clone: Path, folder: Path, github: str, proposal: Proposal) -> Outcome:
    started = time.monotonic()
    progress.say(f"\nPull request: {proposal.title}")
    head = _push(clone, proposal)
    pull = _open(github, proposal)
    number = int(pull["number"])
    event = folder / f"event-{number}.json"
    event.write_text(json.dumps({"action": "opened", "pull_request": pull}), encoding="utf-8")
    # What GitHub checks out: the merge of the branch into main.
    git.run(clone, "switch", "--quiet", "--detach", "main")
    message = f"Merge {proposal.branch}"
    git.run(clone, *_IDENTITY, "merge", "--quiet", "--no-ff", "-m", message, proposal.branch)
    _act(root, clone, folder, github, number, event)
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


def _act(root: Path, clone: Path, folder: Path, github: str, number: int, event: Path) -> None:
    """Runs the workflow file, passing on what its steps say. Its exit code is the jobs'."""
    artifacts = config.home(root) / "local" / "github" / "artifacts" / str(number)
    shutil.rmtree(artifacts, ignore_errors=True)
    log = folder / f"act-{number}.log"
    command = act_command(
        clone,
        event,
        {
            "GITHUB_API_URL": github,
            "GITHUB_SERVER_URL": github,
            "GITHUB_REPOSITORY": PROJECT,
            "LLMOPS_ARTIFACTS": str(artifacts),
            "LLMOPS_ARTIFACTS_URL": f"{github}/artifacts/{number}",
            "LLMOPS_HOME": str(config.home(root)),
            "LLMOPS_TOOLS": str(config.tools(root).node_modules.parent),
        },
    )
    environment = {**config.tools(root).inherited, "XDG_CACHE_HOME": str(folder / "cache")}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in process.stdout or ():
            output.write(line)
            _echo(line.rstrip())
        process.wait()


def act_command(clone: Path, event: Path, env: dict[str, str]) -> list[str]:
    """How act runs pr.yml in host mode, with the local cloud's actions in place of GitHub's."""
    actions = Path(__file__).parents[1] / "actions"
    command = [
        str(Path(sys.executable).with_name("act")),
        *("pull_request", "--workflows", ".github/workflows/pr.yml", "--eventpath", str(event)),
        *("--platform", "ubuntu-latest=-self-hosted", "--action-offline-mode", "--concurrent-jobs"),
        *("1", "--secret", "GITHUB_TOKEN=token-of-the-demo"),
    ]
    for path in sorted((clone / ".github").rglob("*.yml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            _, found, used = line.partition("uses: ")
            name, _, version = used.split(" ")[0].partition("@")
            if found and version:
                command += ["--local-repository", f"{name}@{version}={actions / name}"]
    for name, value in env.items():
        command += ["--env", f"{name}={value}"]
    return command


def _echo(line: str) -> None:
    """What people want to follow: the steps, and what the verbs themselves say."""
    _, bar, said = line.partition("   | ")
    if bar:
        progress.say(f"    {said}")
    elif "⭐ Run Main" in line:
        progress.say("  " + line.split("⭐ Run Main", 1)[1].strip())


def _check(github: str, head: str) -> dict[str, Any]:
    url = f"{github}/repos/{PROJECT}/commits/{head}/check-runs"
    found = httpx.get(url, timeout=10).raise_for_status().json()["check_runs"]
    if not found:
        raise MachineryError(
            "the workflow posted no check", fix="see the end of .llmops/demo/act-*.log"
        )
    return dict(found[-1])


def _show(outcomes: list[Outcome], console: Console) -> None:
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
    console.print("Try next:")
    console.print("   edit prompts/answer.prompt.yml, then: .venv/bin/llmops pr", highlight=False)
    console.print("   .venv/bin/llmops plan        what a merge would do", highlight=False)
    console.print("   .venv/bin/llmops local down  stops the local cloud", highlight=False)
