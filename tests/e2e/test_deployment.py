"""deploy.yml, reconcile.yml and rollback.yml, run by act: what a release manager then sees."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from llmops.localcloud.demo.act import PROJECT as NAME
from llmops.localcloud.demo.act import Runner
from llmops.vertex.live import numeric_id

from tests.conftest import PROJECT
from tests.repository import Repository

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SETTINGS = """\
default: local
environments:
  local: {local: true, project: local, region: us-central1, bucket: gs://llmops-local}
  staging: {project: shop-staging, region: us-central1, bucket: gs://shop-staging}
  production:
    {project: shop, region: us-central1, bucket: gs://shop-llmops, promotes_from: staging}
"""
MODEL = """\
application: assistant
prompt: prompts/answer.prompt.yml
suites: [evals/quality.yaml]
base_model: {local: smollm2-135m-instruct, staging: gemini-x, production: gemini-x}
generation: {temperature: 0, maxOutputTokens: 8}
canary:
  {steps: [50, 100], window_seconds: 1, on_too_little_traffic: promote, smoke_cases: 1}
"""


@dataclass
class Shop:
    """A project at a local GitHub, deployed to the local Vertex AI."""

    repository: Repository
    runner: Runner
    github: str
    vertex: str

    def deploy(self) -> int:
        payload = {"ref": "refs/heads/main", "after": self.repository.git("rev-parse", "HEAD")}
        return self.runner.run("deploy.yml", "push", payload, "deploy")

    def dispatch(self, workflow: str, **inputs: str) -> int:
        return self.runner.run(workflow, "workflow_dispatch", {"inputs": inputs}, "dispatch")

    def get(self, path: str, **query: str) -> Any:
        return httpx.get(f"{self.github}/repos/{NAME}/{path}", params=query).json()

    def live(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.endpoint).json()
        return found

    @property
    def endpoint(self) -> str:
        location = f"{self.vertex}/v1/projects/shop/locations/us-central1"
        return f"{location}/endpoints/{numeric_id('endpoint', 'assistant', 'production')}"

    def answered_by(self) -> str:
        body = {"instances": [{"question": "What does len() do?"}]}
        reply = httpx.post(f"{self.endpoint}:predict", json=body, timeout=60).json()
        return str(reply["predictions"][0]["release"])


@pytest.fixture
def shop(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    home = repository.root / ".llmops"
    env = {"LLMOPS_HOME": str(home), "LLMOPS_TOOLS": str(PROJECT)}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    repository.git("switch", "--quiet", "main")
    repository.write("llmops.yaml", SETTINGS)
    repository.write("models/assistant.yaml", MODEL)
    shutil.copytree(PROJECT / ".github", repository.root / ".github")
    shutil.copytree(PROJECT / "requirements", repository.root / "requirements")
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(PROJECT / name, repository.root / name)
    # act copies the clone: the verbs that run are those of this checkout.
    shutil.copytree(
        PROJECT / "scripts",
        repository.root / "scripts",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    repository.commit("the workflows")
    started = repository.llmops("local", "up", "--json", env=env)
    assert started.code == 0, started.err
    addresses = json.loads(started.out)
    made = httpx.post(f"{addresses['github']}/_local/repos", json={"full_name": NAME}).json()
    repository.git("push", "--quiet", made["clone_url"], "main")
    repository.git("remote", "add", "origin", made["clone_url"])
    runner = Runner(
        root=repository.root,
        clone=repository.root,
        folder=home,
        github=addresses["github"],
    )
    yield Shop(repository, runner, addresses["github"], addresses["vertex"])
    repository.llmops("local", "down", env=env)


def test_a_merge_is_deployed_drift_is_mended_and_there_is_one_way_back(shop: Shop) -> None:
    assert shop.deploy() == 0
    first = shop.answered_by()
    environments = [each["environment"] for each in shop.get("deployments")]
    assert environments == ["production", "staging"]
    newest = shop.get("deployments")[0]
    statuses = [each["state"] for each in shop.get(f"deployments/{newest['id']}/statuses")]
    assert statuses[0] == "success"
    assert set(statuses[1:]) == {"in_progress"}

    git = shop.repository.git
    git("switch", "--quiet", "change")
    git("reset", "--quiet", "--hard", "main")
    shop.repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")
    shop.repository.commit("say less")
    git("push", "--quiet", "origin", "change")
    signed = {"Authorization": "Bearer x"}
    body = {"title": "Say less", "head": "change", "base": "main"}
    pulls = f"{shop.github}/repos/{NAME}/pulls"
    number = httpx.post(pulls, json=body, headers=signed).json()["number"]
    httpx.put(f"{pulls}/{number}/merge", json={}, headers=signed).raise_for_status()
    git("switch", "--quiet", "main")
    git("pull", "--quiet", "origin", "main")

    assert shop.deploy() == 0
    second = shop.answered_by()
    assert second != first
    notes = [each["body"] for each in shop.get(f"issues/{number}/comments")]
    assert [note.splitlines()[0] for note in notes] == [
        "### 🚀 staging: promoted",
        "### 🚀 production: promoted",
    ]
    assert "llmops rollback --env production" in notes[1]

    halves = dict.fromkeys(shop.live()["trafficSplit"], 50)
    mask = {"updateMask": "trafficSplit"}
    httpx.patch(shop.endpoint, params=mask, json={"trafficSplit": halves}).raise_for_status()
    assert shop.runner.run("reconcile.yml", "schedule", {}, "drift") == 1
    (issue,) = shop.get("issues")
    assert "traffic split 50/50, main says 100" in issue["body"]
    assert shop.dispatch("reconcile.yml", apply="true") == 0
    assert shop.get("issues") == []
    assert shop.get(f"issues/{issue['number']}")["state"] == "closed"
    assert shop.answered_by() == second

    assert shop.dispatch("rollback.yml", environment="production", release="", application="") == 0
    assert shop.answered_by() == first
