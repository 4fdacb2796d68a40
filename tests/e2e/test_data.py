"""data.yml, run by act: what differs from main becomes one pull request."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from llmops.localcloud.demo.act import PROJECT as NAME
from llmops.localcloud.demo.act import Runner
from llmops.report.proposal import BRANCH

from tests.repository import Repository, copy_of_project
from tests.services import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SIGNED_IN = {
    "LLMOPS_ENVIRONMENTS": "staging production",
    "LLMOPS_LOCAL": "1",
    "LLMOPS_TOOLS": str(PROJECT),
}


@dataclass
class Forge:
    """A project at a local GitHub, and a machine that runs its workflows."""

    repository: Repository
    runner: Runner
    github: str

    def build(self) -> int:
        return self.runner.run("data.yml", "workflow_dispatch", {"inputs": {}}, "data")

    def pulls(self, state: str = "open") -> list[dict[str, Any]]:
        path = f"{self.github}/repos/{NAME}/pulls"
        found: list[dict[str, Any]] = httpx.get(path, params={"state": state}).json()
        return found

    def commit(self, message: str) -> None:
        self.repository.commit(message)
        self.repository.git("push", "--quiet", "origin", "main")


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    repository = copy_of_project(tmp_path / "project", PROJECT)
    home = repository.root / ".llmops"
    env = {"LLMOPS_HOME": str(home), "LLMOPS_TOOLS": str(PROJECT)}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    started = repository.llmops("local", "up", "--json", env=env)
    assert started.code == 0, started.err
    github = json.loads(started.out)["github"]
    made = httpx.post(f"{github}/_local/repos", json={"full_name": NAME}).json()
    repository.git("remote", "add", "origin", made["clone_url"])
    repository.git("push", "--quiet", "origin", "main")
    runner = Runner(root=repository.root, clone=repository.root, folder=home, github=github)
    yield Forge(repository, runner, github)
    repository.llmops("local", "down", env=env)


def test_data_that_differs_from_main_is_one_pull_request(forge: Forge) -> None:
    git = forge.repository.git
    shared = forge.repository.llmops("data", "push", env=SIGNED_IN)
    assert shared.code == 0, shared.err
    forge.repository.replace("params.yaml", "words: [4, 40]", "words: [6, 40]")
    forge.commit("Want longer answers")
    assert forge.build() == 0
    (pull,) = forge.pulls()
    assert pull["title"].startswith("Data: -")
    assert "train" in pull["title"]
    assert "From duckdb: `posts_questions`" in pull["body"]
    assert "# Data card" in pull["body"]
    git("fetch", "--quiet", "origin", BRANCH)
    changed = git("diff", "--name-only", "main", "FETCH_HEAD").splitlines()
    assert changed == ["data.dvc", "dvc.lock"]
    assert git("status", "--porcelain") == "", "the checkout that asked is left alone"

    # The content is in both buckets, for whoever has only the pointer.
    git("switch", "--quiet", "--detach", "FETCH_HEAD")
    for environment in ("staging", "production"):
        shutil.rmtree(forge.repository.root / ".llmops" / "dvc")
        options = ("--base", "main", "--head", "HEAD", "--env", environment)
        shown = forge.repository.llmops("data", "diff", *options, env=SIGNED_IN)
        assert shown.code == 0, shown.err
        assert "rows removed" in shown.out
    git("switch", "--quiet", "main")

    forge.repository.replace("params.yaml", "words: [6, 40]", "words: [7, 40]")
    forge.commit("Want still longer answers")
    assert forge.build() == 0
    (same,) = forge.pulls()
    assert same["number"] == pull["number"]
    assert same["title"] != pull["title"]

    forge.repository.replace("params.yaml", "words: [7, 40]", "words: [4, 40]")
    forge.commit("Want what there was")
    assert forge.build() == 0
    assert forge.pulls() == []
    (closed,) = forge.pulls("all")
    assert not closed["merged"]
