"""Fixtures that several rooms' tests share."""

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from llmops.localcloud import storage

from tests.repository import Repository, make_repository
from tests.services import PROJECT, ScriptedModel, free_port, serve, wait_for

# The first example pays for importing scipy: what is slow is for `make bench` to say.
settings.register_profile("llmops", deadline=None)
settings.load_profile("llmops")
# A runner that starts the tests in the background has them ignore Ctrl-C, and so would the verbs.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/golden/ anew; then review the difference as text",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Holds a text that people read against tests/golden/NAME."""

    def check(name: str, text: str) -> None:
        path = PROJECT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), (
            f"{name} differs; if it should: pytest --update-golden, and review the change"
        )

    return check


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An application with a prompt and a suite, on a branch `change`."""
    return make_repository(tmp_path / "repository")


@pytest.fixture(scope="session")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket server with the bucket that the builders' llmops.yaml names."""
    folder = tmp_path_factory.mktemp("storage")
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            storage.command(folder / "buckets", port), stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/_internal/healthcheck")
        storage.make_bucket(url, "gs://llmops-local")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A model that answers with what it is told to do, and returns the question."""
    with serve(
        ScriptedModel(lambda system, question: f"{system} I return: {question}")
    ) as scripted:
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
