"""The real pr.yml, run by act, on a pull request at the local GitHub: what a reviewer then sees."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from llmops.localcloud.demo.act import act_command

from tests.conftest import PROJECT
from tests.repository import Repository

pytestmark = [pytest.mark.slow, pytest.mark.alone]

NAME = "acme/shop"


@dataclass(frozen=True)
class Forge:
    """A project at a local GitHub, with the workflows of this repository."""

    repository: Repository
    url: str
    vertex: str
    home: Path
    env: dict[str, str]

    def judge(self) -> tuple[int, str]:
        """Opens or updates the pull request of `change` and runs the workflow; code and output."""
        git = self.repository.git
        git("switch", "--quiet", "change")
        git("push", "--quiet", "--force", "origin", "change")
        signed = {"Authorization": "Bearer x"}
        pulls = f"{self.url}/repos/{NAME}/pulls"
        found = httpx.get(pulls).json()
        body = {"title": "t", "head": "change", "base": "main"}
        pull = found[0] if found else httpx.post(pulls, json=body, headers=signed).json()
        event = self.home / "event.json"
        event.write_text(json.dumps({"action": "opened", "pull_request": pull}))
        git("switch", "--quiet", "--detach", "main")
        git("merge", "--quiet", "--no-ff", "-m", "merge", "change")
        done = subprocess.run(
            act_command(self.repository.root, "pr.yml", "pull_request", event, self.env),
            cwd=self.repository.root,
            env={**os.environ, "XDG_CACHE_HOME": str(self.home / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def comments(self) -> list[str]:
        found = httpx.get(f"{self.url}/repos/{NAME}/issues/1/comments").json()
        return [comment["body"] for comment in found]

    def check(self) -> tuple[str, str]:
        head = httpx.get(f"{self.url}/repos/{NAME}/pulls/1").json()["head"]["sha"]
        runs = httpx.get(f"{self.url}/repos/{NAME}/commits/{head}/check-runs").json()["check_runs"]
        return runs[-1]["conclusion"], runs[-1]["output"]["title"]


@pytest.fixture
def forge(repository: Repository) -> Iterator[Forge]:
    home = repository.root / ".llmops"
    env = {"LLMOPS_HOME": str(home), "LLMOPS_TOOLS": str(PROJECT)}
    started = repository.llmops("local", "up", "--json", env=env)
    assert started.code == 0, started.err
    addresses = json.loads(started.out)
    made = httpx.post(f"{addresses['github']}/_local/repos", json={"full_name": NAME}).json()
    repository.git("switch", "--quiet", "main")
    shutil.copytree(PROJECT / ".github", repository.root / ".github")
    shutil.copytree(PROJECT / "requirements", repository.root / "requirements")
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(PROJECT / name, repository.root / name)
    # Whatever the small model says, it says more than four words, unless it is cut short.
    cases = "".join(f"  - vars: {{question: What is {n} plus {n}?}}\n" for n in range(20))
    repository.write(
        "evals/quality.yaml",
        "defaultTest:\n  assert:\n"
        "    - {type: javascript, value: \"output.split(' ').length > 4\", metric: words}\n"
        f"tests:\n{cases}gates:\n  - {{metric: words, max_drop: 0.3}}\n",
    )
    repository.replace("models/assistant.yaml", "local: small", "local: smollm2-135m-instruct")
    repository.replace("models/assistant.yaml", "maxOutputTokens: 40", "maxOutputTokens: 12")
    repository.commit("the workflows")
    repository.git("remote", "add", "origin", made["clone_url"])
    repository.git("push", "--quiet", "origin", "main")
    repository.git("branch", "--force", "change", "main")
    repository.git("switch", "--quiet", "change")
    artifacts = home / "local" / "github" / "artifacts" / "1"
    env |= {
        "PYTHONPATH": str(PROJECT / "scripts"),
        "GITHUB_API_URL": addresses["github"],
        "GITHUB_REPOSITORY": NAME,
        "LLMOPS_ARTIFACTS": str(artifacts),
        "LLMOPS_ARTIFACTS_URL": f"{addresses['github']}/artifacts/1",
    }
    yield Forge(repository, addresses["github"], addresses["vertex"], home, env)
    repository.llmops("local", "down", env=env)


def test_a_worse_release_is_blocked_then_mended_in_the_same_comment(forge: Forge) -> None:
    forge.repository.replace("models/assistant.yaml", "maxOutputTokens: 12", "maxOutputTokens: 2")
    forge.repository.commit("cut answers short")

    code, said = forge.judge()

    assert code != 0
    assert forge.check()[0] == "failure", said[-3000:]
    assert re.fullmatch(r"quality .* → 0\.000 \(.*\): fail", forge.check()[1])
    (comment,) = forge.comments()
    assert comment.startswith("## ❌ fail")
    assert "cases regressed" in comment
    report = httpx.get(f"{forge.url}/artifacts/1/report/index.html")
    assert forge.check()[1] in report.text
    asked = httpx.get(f"{forge.vertex}/_local/stats").json()["calls"]
    assert asked == 40

    forge.repository.git("switch", "--quiet", "change")
    forge.repository.replace("models/assistant.yaml", "maxOutputTokens: 2", "maxOutputTokens: 13")
    forge.repository.commit("let answers be a little longer")
    code, said = forge.judge()

    assert code == 0, said[-3000:]
    assert forge.check()[0] == "success"
    (comment,) = forge.comments()
    assert comment.startswith("## ✅ pass")
    calls = httpx.get(f"{forge.vertex}/_local/stats").json()["calls"]
    assert calls == asked + 20, "the base release is not asked again"


def test_an_invalid_change_is_explained_on_the_pull_request(forge: Forge) -> None:
    forge.repository.replace("prompts/answer.prompt.yml", "content: Answer", "contnet: Answer")
    forge.repository.commit("a misspelled key")

    code, said = forge.judge()

    assert code != 0
    conclusion, title = forge.check()
    assert conclusion == "failure", said[-3000:]
    assert title.startswith("invalid: prompts/answer.prompt.yml:4:")
    (comment,) = forge.comments()
    assert "did you mean 'content'?" in comment
