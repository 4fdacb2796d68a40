"""`llmops local up|down|status`: real services, started once, explained when they die."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google import genai
from google.genai import errors
from google.oauth2.credentials import Credentials

from tests.conftest import PROJECT
from tests.repository import Repository, copy_of_project

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def up(repository: Repository) -> Iterator[dict[str, str]]:
    env = {"LLMOPS_TOOLS": str(PROJECT)}
    ran = repository.llmops("local", "up", "--json", env=env)
    assert ran.code == 0, ran.err
    try:
        yield json.loads(ran.out)
    finally:
        repository.llmops("local", "down", env=env)


def status(repository: Repository) -> dict[str, dict[str, object]]:
    ran = repository.llmops("local", "status", "--json")
    return {each["name"]: each for each in json.loads(ran.out)}


def test_up_twice_starts_one_set_and_down_stops_it(
    repository: Repository, up: dict[str, str]
) -> None:
    before = {name: each["pid"] for name, each in status(repository).items()}
    assert repository.llmops("local", "up").code == 0
    assert {name: each["pid"] for name, each in status(repository).items()} == before
    assert repository.llmops("local", "status").code == 0

    assert repository.llmops("local", "down").code == 0
    assert {each["state"] for each in status(repository).values()} == {"stopped"}
    assert repository.llmops("local", "status").code == 3


def test_a_service_that_dies_is_reported_with_its_log_and_comes_back(
    repository: Repository, up: dict[str, str]
) -> None:
    httpx.post(f"{up['github']}/_local/repos", json={"full_name": "acme/shop"})
    pid = status(repository)["github"]["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)

    died = status(repository)["github"]
    assert died["state"] == "died"
    assert Path(str(died["log"])).exists()

    assert repository.llmops("local", "up").code == 0
    assert "acme/shop" in httpx.get(up["github"]).text, "its state and its port outlive it"


def test_the_model_speaks_vertex_ai(up: dict[str, str]) -> None:
    client = genai.Client(
        vertexai=True,
        project="local",
        location="here",
        credentials=Credentials(token="local"),
        http_options={"base_url": up["vertex"]},
    )
    config = {"max_output_tokens": 12, "temperature": 0}
    question = "What does os.getcwd() do?"

    answer = client.models.generate_content(model=MODEL, contents=question, config=config)
    pieces = client.models.generate_content_stream(model=MODEL, contents=question, config=config)

    assert "".join(piece.text or "" for piece in pieces) == answer.text
    assert answer.usage_metadata.candidates_token_count == 12
    assert answer.candidates[0].finish_reason.value == "MAX_TOKENS"
    counted = client.models.count_tokens(model=MODEL, contents=question)
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count
    with pytest.raises(errors.ClientError) as unknown:
        client.models.generate_content(model="no-such-model", contents=question)
    assert unknown.value.code == 404
    stands = client.models.generate_content(model="gemini-x", contents=question, config=config)
    assert (stands.text, stands.model_version) == (answer.text, MODEL), "it says who spoke"
    with pytest.raises(errors.ClientError) as long:
        client.models.generate_content(model=MODEL, contents="word " * 5_000)
    assert long.value.code == 400
    fields = httpx.post(
        f"{up['vertex']}/v1/projects/p/locations/l/publishers/google/models/{MODEL}:generateContent",
        json={"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"temprature": 1}},
    )
    assert fields.status_code == 400
    assert "temprature" in fields.json()["error"]["message"]


def test_an_answer_is_the_same_whatever_runs_beside_it(up: dict[str, str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    address = (
        f"{up['vertex']}/v1/projects/p/locations/l/publishers/google/models/{MODEL}:generateContent"
    )
    names = ["len", "abs", "os.walk", "re.sub", "json.dump", "zip", "str.join", "sorted"]

    def ask(name: str) -> str:
        body = {
            "contents": [{"role": "user", "parts": [{"text": f"What does {name}() do?"}]}],
            "generationConfig": {"temperature": 0, "maxOutputTokens": 16},
        }
        reply = httpx.post(address, json=body, timeout=120).json()
        return str(reply["candidates"][0]["content"]["parts"][0]["text"])

    alone = [ask(name) for name in names]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, names))
    assert together == alone


def test_a_fresh_bucket_has_the_data_of_both_sides_of_a_branch(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "project", PROJECT)
    env = {"LLMOPS_TOOLS": str(PROJECT), "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}"}
    project.git("switch", "--quiet", "--create", "change")
    project.replace("params.yaml", "words: [4, 40]", "words: [4, 30]")
    built = project.llmops("data", "build", env=env)
    assert built.code == 0, built.err
    project.commit("shorter answers")
    # As on another machine, which has nothing but what git has.
    shutil.rmtree(project.root / ".llmops")
    try:
        ran = project.llmops("local", "up", env=env)
        assert ran.code == 0, ran.err
        said = project.llmops("data", "diff", "--json", env=env)
        assert said.code == 0, said.err
        different = json.loads(said.out)["data.dvc"]
        assert not different["without_base"]
        before, after = different["rows"]["train"]
        assert before > after > 4000
    finally:
        project.llmops("local", "down", env=env)
