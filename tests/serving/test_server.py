"""The container, as Vertex AI runs it: its variables, its routes, its answers."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from llmops import bundle
from llmops.bucket import open_bucket
from llmops.bundle import Bundle
from llmops.formats import Generation, Message
from llmops.release import Release

from tests.services import PROJECT, ScriptedModel, free_port, wait_for

pytestmark = pytest.mark.slow

BUCKET = "gs://llmops-local"


def release(words: str = "Be brief.", **generation: Any) -> Release:
    return Release(
        application="assistant",
        model="small",
        messages=(
            Message(role="system", content=words),
            Message(role="user", content="{{question}} in {{language}}"),
        ),
        generation=Generation(**generation),
        safety_settings=(),
    )


@dataclass
class Container:
    url: str
    process: subprocess.Popen[str]
    release: Release

    def predict(self, *instances: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/predict", json={"instances": list(instances)}, timeout=60)


def run_container(
    uri: str, storage: str, model: str, **env: str
) -> tuple[str, subprocess.Popen[str]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "llmops.serving"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT / "scripts"),
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": "/health",
            "AIP_PREDICT_ROUTE": "/predict",
            "AIP_STORAGE_URI": uri,
            "LLMOPS_PROJECT": "local",
            "LLMOPS_REGION": "here",
            "GOOGLE_VERTEX_BASE_URL": model,
            "STORAGE_EMULATOR_HOST": storage,
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return f"http://127.0.0.1:{port}", process


@pytest.fixture
def container(storage_url: str, model: ScriptedModel) -> Iterator[Container]:
    made = release(maxOutputTokens=9)
    bucket = open_bucket(BUCKET, "local", storage_url)
    uri = bundle.keep(bucket, Bundle(release=made, commit="c", sources={}, evaluation=None))
    url, process = run_container(uri, storage_url, model.url, LLMOPS_CONCURRENCY="64")
    try:
        wait_for(f"{url}/health")
        yield Container(url, process, made)
    finally:
        process.kill()
        process.wait()


def test_an_answer_says_what_it_cost_and_which_release_gave_it(container: Container) -> None:
    reply = container.predict({"question": "Why?", "language": "Latin"})

    assert reply.status_code == 200
    (prediction,) = reply.json()["predictions"]
    assert prediction["outcome"] == "answered"
    assert prediction["text"] == "Be brief. I return: Why? in Latin"
    assert prediction["release"] == container.release.digest
    assert prediction["finish_reason"] == "STOP"
    assert prediction["input_tokens"] > 0
    assert prediction["latency_ms"] > 0
    assert set(prediction) == set(bundle.OUTPUTS["properties"])


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        ({"question": "x"}, "instances[0]: missing variables: language"),
        ({"question": "x", "language": "y", "tone": "z"}, "unknown variables: tone"),
        ({"question": ["x"], "language": "y"}, "question is not text"),
        ("x", "not an object"),
    ],
)
def test_wrong_instances_are_named(container: Container, instance: Any, said: str) -> None:
    reply = container.predict(instance)
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"instances": []}', b"{}"])
def test_a_body_without_instances_is_refused(container: Container, body: bytes) -> None:
    assert httpx.post(f"{container.url}/predict", content=body).status_code == 400


def test_one_instance_that_fails_leaves_the_others_their_answers(
    container: Container, model: ScriptedModel
) -> None:
    model.fail = lambda _system, question: 400 if "bad" in question else None
    reply = container.predict(
        {"question": "good", "language": "x"}, {"question": "bad", "language": "x"}
    )
    outcomes = [each["outcome"] for each in reply.json()["predictions"]]
    assert (reply.status_code, outcomes) == (200, ["answered", "failed"])
    assert reply.json()["predictions"][1]["error"].startswith("400")


def test_a_blocked_answer_is_a_result(container: Container, model: ScriptedModel) -> None:
    model.finish_reason = "SAFETY"
    (prediction,) = container.predict({"question": "x", "language": "y"}).json()["predictions"]
    assert (prediction["outcome"], prediction["finish_reason"]) == ("blocked", "SAFETY")


def test_asked_to_stop_it_answers_what_is_under_way(
    container: Container, model: ScriptedModel
) -> None:
    model.delay_seconds = 1.0
    replies: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: replies.append(container.predict({"question": "x", "language": "y"}))
    )
    asking.start()
    time.sleep(0.4)
    container.process.send_signal(signal.SIGTERM)
    asking.join()
    assert replies[0].status_code == 200
    assert container.process.wait(20) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("what", ["missing", "tampered"])
def test_without_its_bundle_it_does_not_start(
    what: str, storage_url: str, model: ScriptedModel
) -> None:
    made = release(what)
    bucket = open_bucket(BUCKET, "local", storage_url)
    if what == "tampered":
        other = bundle.dump(
            Bundle(release=release("other"), commit="", sources={}, evaluation=None)
        )
        bucket.write(f"{bundle.folder(made.digest)}/{bundle.FILE}", other)
    _, process = run_container(bundle.uri(BUCKET, made.digest), storage_url, model.url)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert {"missing": "there is no bundle", "tampered": "was tampered with"}[what] in said


def test_the_same_release_gives_the_same_bytes() -> None:
    def dumped() -> bytes:
        return bundle.dump(
            Bundle(release=release(), commit="c", sources={"b": "2", "a": "1"}, evaluation=None)
        )

    assert dumped() == dumped()
    kept = bundle.load(dumped(), release().digest, "here")
    assert kept.release == release()
    assert json.loads(dumped())["inputs"]["required"] == ["language", "question"]


def test_many_at_once_are_all_answered(container: Container, model: ScriptedModel) -> None:
    model.delay_seconds = 0.02

    async def everybody() -> list[int]:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            body = {"instances": [{"question": "x", "language": "y"}]}
            replies = await asyncio.gather(
                *(client.post(f"{container.url}/predict", json=body) for _ in range(400))
            )
        return [each.status_code for each in replies]

    assert asyncio.run(everybody()) == [200] * 400


def test_the_dockerfile_brings_what_the_server_needs() -> None:
    """There is no container engine here: its instructions are read instead."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", stage) for stage in stages)
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER (?!root|0)", last, re.MULTILINE)
    assert 'ENTRYPOINT ["python", "-m", "llmops.serving"]' in last
    assert "requirements/serving.txt" in text
    locked = (PROJECT / "requirements" / "serving.txt").read_text(encoding="utf-8")
    for package in ("google-genai", "google-cloud-storage", "starlette", "uvicorn", "pydantic"):
        assert re.search(rf"^{package}==", locked, re.MULTILINE), package
    probe = (
        "import sys; import llmops.serving.__main__ as m; "
        "from llmops import bundle; from llmops.serving import server, model; "
        "import uvicorn, google.genai, google.cloud.storage; "
        "print('\\n'.join(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    for module in ("dvc", "promptfoo", "scipy", "xllamacpp"):
        assert module not in done.stdout.split(), f"the container would need {module}"


def test_a_prompt_without_variables_takes_an_empty_instance(
    storage_url: str, model: ScriptedModel
) -> None:
    made = Release(
        application="a",
        model="small",
        messages=(Message(role="user", content="Say hello."),),
        generation=Generation(),
        safety_settings=(),
    )
    bucket = open_bucket(BUCKET, "local", storage_url)
    uri = bundle.keep(bucket, Bundle(release=made, commit="", sources={}, evaluation=None))
    url, process = run_container(uri, storage_url, model.url)
    try:
        wait_for(f"{url}/health")
        reply = httpx.post(f"{url}/predict", json={"instances": [{}]})
        assert reply.json()["predictions"][0]["outcome"] == "answered"
    finally:
        process.kill()
        process.wait()
