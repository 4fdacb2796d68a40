"""A repository, a bucket, a scripted model and a local Vertex AI that deploys it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from llmops.vertex.live import numeric_id

from tests.repository import Ran, Repository
from tests.services import PROJECT, ScriptedModel, free_port, wait_for

CANARY = """\
canary:
  steps: [50, 100]
  window_seconds: 8
  min_requests: 20
  smoke_cases: 2
  max_latency_p95_ratio: 20
  grace_seconds: 0
"""


@dataclass
class Cloud:
    """What a release manager has before them."""

    repository: Repository
    model: ScriptedModel
    vertex: str
    env: dict[str, str]
    process: subprocess.Popen[bytes]
    command: list[str]
    folder: Path

    def llmops(self, *args: str, **env: str) -> Ran:
        return self.repository.llmops(*args, env={**self.env, **env})

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "llmops.cli", *args],
            cwd=self.repository.root,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def deploy(self, *args: str) -> dict[str, Any]:
        """Deploys and returns the report of the one application."""
        ran = self.llmops("deploy", "--json", *args)
        assert ran.code in (0, 1), ran.out + ran.err
        found: dict[str, Any] = json.loads(ran.out)[0]
        return found

    def status(self) -> dict[str, Any]:
        ran = self.llmops("status", "--json")
        assert ran.code == 0, ran.err
        found: dict[str, Any] = json.loads(ran.out)[0]
        return found

    def change(self, words: str) -> None:
        """A new release on main."""
        prompt = self.repository.root / "prompts/answer.prompt.yml"
        text = prompt.read_text(encoding="utf-8")
        line = next(each for each in text.splitlines() if "content: Answer" in each)
        prompt.write_text(text.replace(line, f"    content: Answer {words}."), encoding="utf-8")
        self.repository.commit(words)

    @property
    def location(self) -> str:
        return f"{self.vertex}/v1/projects/local/locations/us-central1"

    @property
    def endpoint(self) -> str:
        return f"{self.location}/endpoints/{numeric_id('endpoint', 'assistant', 'local')}"

    def live(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.endpoint).json()
        return found

    def versions(self) -> list[dict[str, Any]]:
        found = httpx.get(f"{self.location}/models/assistant-local:listVersions").json()
        versions: list[dict[str, Any]] = found.get("models", [])
        return versions

    def fault(self, rpc: str, **what: Any) -> None:
        body = {"rpc": rpc, **what}
        httpx.post(f"{self.vertex}/_local/faults", json=body).raise_for_status()

    def ask(self, question: str = "What is it?") -> httpx.Response:
        body = {"instances": [{"question": question}]}
        return httpx.post(f"{self.endpoint}:predict", json=body, timeout=60)

    def restart(self) -> None:
        """The service is killed and started again."""
        self.process.kill()
        self.process.wait()
        self.process = _started(self.command, self.vertex, self.folder)


@dataclass
class Load:
    """People who keep asking, and what they were answered."""

    answers: list[httpx.Response] = field(default_factory=list)

    def all_answered(self) -> bool:
        return bool(self.answers) and all(
            each.status_code == 200 and each.json()["predictions"][0]["outcome"] == "answered"
            for each in self.answers
        )


@contextmanager
def load(cloud: Cloud, people: int = 3) -> Iterator[Load]:
    """Asks without a pause until the end of the block."""
    seen, stop = Load(), threading.Event()

    def person() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                body = {"instances": [{"question": "Why?"}]}
                seen.answers.append(client.post(f"{cloud.endpoint}:predict", json=body))
                time.sleep(0.02)

    threads = [threading.Thread(target=person) for _ in range(people)]
    for each in threads:
        each.start()
    try:
        yield seen
    finally:
        stop.set()
        for each in threads:
            each.join()


def until(what: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


@pytest.fixture
def cloud(
    repository: Repository, model: ScriptedModel, storage_url: str, tmp_path: Path
) -> Iterator[Cloud]:
    home = repository.root / ".llmops"
    (home / "local").mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = tmp_path / "vertex"
    command = [sys.executable, "-P", "-m", "llmops.localcloud.vertex", "--port", str(port)]
    command += ["--state", str(folder), "--storage", storage_url, "--model", model.url]
    command += ["--buckets", json.dumps({"local": "llmops-local"})]
    endpoints = {"storage": storage_url, "vertex": url}
    (home / "local" / "endpoints.json").write_text(json.dumps(endpoints), encoding="utf-8")
    with (repository.root / "models/assistant.yaml").open("a", encoding="utf-8") as file:
        file.write(CANARY)
    # Tests share the bucket: releases of their own keep them apart.
    repository.replace("models/assistant.yaml", "local: small", f"local: small-{tmp_path.name}")
    repository.commit("canary rules")
    made = Cloud(
        repository=repository,
        model=model,
        vertex=url,
        env={"LLMOPS_HOME": str(home), "LLMOPS_TOOLS": str(PROJECT)},
        process=_started(command, url, folder),
        command=command,
        folder=folder,
    )
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait()


def _started(command: list[str], url: str, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    with (folder / "service.log").open("ab") as log:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT / "scripts")}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    wait_for(f"{url}/healthz", 60)
    return process
