"""What a release costs: the control plane, the server, the way up and the way back."""

import asyncio
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import psutil
from llmops import bundle
from llmops.bucket import open_bucket
from llmops.bundle import Bundle
from llmops.formats import Generation, Message
from llmops.localcloud import storage
from llmops.localcloud.vertex.store import Store
from llmops.release import Release
from llmops.vertex.live import numeric_id

from tests.services import PROJECT, free_port, wait_for

Row = tuple[str, str, str]
LOCATION = "projects/p/locations/us-central1"
MODEL_SECONDS = 1.0
PEOPLE = 64


def control_plane_row() -> Row:
    """Lists at 10,000 models and 1,000 endpoints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "vertex.sqlite")
        with store.transaction():
            for n in range(10_000):
                store.put(
                    {
                        "name": f"{LOCATION}/models/{n}/versions/1",
                        "versionId": "1",
                        "versionAliases": ["default"],
                        "displayName": f"m{n}",
                        "labels": {"application": f"a{n % 500}", "managed-by": "llmops"},
                        "containerSpec": {"imageUri": "x", "predictRoute": "/predict"},
                    }
                )
            for n in range(1_000):
                labels = {"application": f"a{n % 500}"}
                store.put(
                    {"name": f"{LOCATION}/endpoints/{n}", "displayName": f"e{n}", "labels": labels}
                )
        port = free_port()
        command = [sys.executable, "-m", "llmops.localcloud.vertex", "--port", str(port)]
        with _process([*command, "--state", name], f"http://127.0.0.1:{port}/healthz") as process:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1/{LOCATION}")
            filtered = _milliseconds(client, "/models", "labels.application=a7")
            one = _milliseconds(client, "/models/7", "")
            memory = psutil.Process(process.pid).memory_info().rss / 1e6
    return (
        "local Vertex AI, 10,000 models, 1,000 endpoints: list with a filter",
        f"{filtered:.0f} ms, {memory:.0f} MB in all",
        f"{filtered / one:.0f} times getting one model ({one:.1f} ms)",
    )


def _milliseconds(client: httpx.Client, path: str, wanted: str) -> float:
    seconds = []
    for _ in range(15):
        started = time.perf_counter()
        client.get(path, params={"filter": wanted} if wanted else {}).raise_for_status()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def server_row() -> Row:
    """The serving container at 64 requests under way, over a model that takes a second."""
    with tempfile.TemporaryDirectory() as name, _stub_model() as model, _bucket(name) as address:
        release = Release(
            application="a",
            model="small",
            messages=(Message(role="user", content="{{question}}"),),
            generation=Generation(),
            safety_settings=(),
        )
        bucket = open_bucket("gs://bench", "p", address)
        uri = bundle.keep(bucket, Bundle(release=release, commit="", sources={}, evaluation=None))
        port = free_port()
        environment = {
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": "/health",
            "AIP_PREDICT_ROUTE": "/predict",
            "AIP_STORAGE_URI": uri,
            "LLMOPS_CONCURRENCY": str(PEOPLE * 2),
            "LLMOPS_PROJECT": "p",
            "LLMOPS_REGION": "r",
            "GOOGLE_VERTEX_BASE_URL": model,
            "STORAGE_EMULATOR_HOST": address,
        }
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "llmops.serving"]
        with _process(command, f"{url}/health", environment):
            plain = _overhead(f"{model}/plain")
            overhead = _overhead(f"{url}/predict")
    return (
        f"serving container, {PEOPLE} requests under way: 99th percentile over asking the model",
        f"{overhead * 1000:.0f} ms",
        f"{overhead / plain:.1f} times that of a server that does nothing else ({plain * 1000:.0f} ms)",
    )


def _overhead(url: str) -> float:
    """Seconds over asking the model: the 99th percentile."""
    # The collector of this process, full of other things, is not the server's.
    gc.disable()
    served = np.array(asyncio.run(_load(url)))
    gc.enable()
    return float(np.percentile(served[:, 0] - served[:, 1], 99))


async def _load(url: str) -> list[tuple[float, float]]:
    """Seconds of a request and, within, of asking the model.

    Requests come independently of each other and of the answers (a Poisson process of such a rate
    that PEOPLE are under way), so that a slow answer delays no later question. Those of the first
    seconds, in which connections are made, are left out.
    """
    served: list[tuple[float, float]] = []
    gaps = np.random.default_rng(1).exponential(MODEL_SECONDS / PEOPLE, PEOPLE * 15)
    connector = aiohttp.TCPConnector(limit=PEOPLE * 4)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def person(after_seconds: float) -> None:
            await asyncio.sleep(after_seconds)
            started = time.perf_counter()
            body = {"instances": [{"question": "x"}]}
            async with session.post(url, json=body, raise_for_status=True) as reply:
                (prediction,) = (await reply.json())["predictions"]
            seconds = time.perf_counter() - started
            if after_seconds > 3 * MODEL_SECONDS:
                served.append((seconds, prediction["latency_ms"] / 1000))

        await asyncio.gather(*map(person, np.cumsum(gaps)))
    return served


def serve_stub(port: int) -> None:
    """A model that answers after a second, and a server that does nothing but wait as long."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def generate(_: Request) -> Response:
        await asyncio.sleep(MODEL_SECONDS)
        part = {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}
        return JSONResponse({"candidates": [part]})

    async def plain(_: Request) -> Response:
        started = time.perf_counter()
        await asyncio.sleep(MODEL_SECONDS)
        slept = (time.perf_counter() - started) * 1000
        return JSONResponse({"predictions": [{"latency_ms": slept}]})

    async def health(_: Request) -> Response:
        return JSONResponse({})

    routes = [
        Route("/health", health),
        Route("/plain", plain, methods=["POST"]),
        Route("/{path:path}", generate, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="warning")


@contextmanager
def _stub_model() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench", "stub", str(port)]
    with _process(command, f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _bucket(folder: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [*storage.command(Path(folder) / "buckets", port)]
    with _process(command, f"{url}/_internal/healthcheck"):
        storage.make_bucket(url, "gs://bench")
        yield url


@contextmanager
def _process(
    command: list[str], health: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "scripts"), **(env or {})}
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(health, 60)
        yield process
    finally:
        process.terminate()
        process.wait()


def rollout_rows(clone: Path, env: dict[str, str]) -> list[Row]:
    """From merge to promoted, and back, on the example with the local cloud up."""
    model = clone / "models/assistant.yaml"
    text = model.read_text(encoding="utf-8")
    for old, new in (
        ("steps: [5, 25, 100]", "steps: [50, 100]"),
        ("window_seconds: 600", "window_seconds: 1"),
        ("on_too_little_traffic: hold", "on_too_little_traffic: promote"),
    ):
        text = text.replace(old, new)
    model.write_text(text, encoding="utf-8")
    prompt = clone / "prompts/answer.prompt.yml"
    first = _deploy(clone, env)
    shutil.copy(PROJECT / "scripts/llmops/localcloud/demo/better.prompt.yml", prompt)
    stop = threading.Event()
    people = threading.Thread(target=_ask, args=(Path(env["LLMOPS_HOME"]), stop))
    people.start()
    try:
        promoted = _deploy(clone, env)
    finally:
        stop.set()
        people.join()
    ran = _llmops(clone, env, "rollback", "--json")
    back = json.loads(ran)[0]["seconds"]
    return [
        (
            "from merge to promoted, canary window at its minimum, no tuning",
            f"{promoted:.0f} s",
            f"{promoted / first:.1f} times the first release, without a canary ({first:.0f} s)",
        ),
        ("roll back", f"{back:.1f} s", f"{back / promoted:.3f} of the way up"),
    ]


def _deploy(clone: Path, env: dict[str, str]) -> float:
    git = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    subprocess.run([*git, "commit", "--quiet", "--all", "-m", "release"], cwd=clone, check=True)
    started = time.perf_counter()
    _llmops(clone, env, "deploy")
    return time.perf_counter() - started


def _llmops(clone: Path, env: dict[str, str], *args: str) -> str:
    command = [sys.executable, "-m", "llmops.cli", *args]
    done = subprocess.run(
        command, cwd=clone, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _ask(home: Path, stop: threading.Event) -> None:
    vertex = json.loads((home / "local/endpoints.json").read_text())["vertex"]
    location = f"{vertex}/v1/projects/local/locations/us-central1"
    url = f"{location}/endpoints/{numeric_id('endpoint', 'assistant', 'local')}:predict"
    while not stop.wait(0.3):
        httpx.post(url, json={"instances": [{"question": "What does len() do?"}]}, timeout=60)
