"""Deployed containers as processes, by Vertex AI's custom-container contract.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements: the AIP_*
variables, a health route that must answer 200 before any request comes, SIGTERM before the end.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.store import Document, Store

_HEALTHY_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.5
_DRAIN_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 10.0
_LAST_LINES = 8
_PREDICT, _HEALTH = "/predict", "/health"


@dataclass
class Replica:
    """One running container."""

    key: str
    process: subprocess.Popen[bytes]
    address: str
    predict_route: str
    health_route: str
    healthy: bool = False
    in_flight: int = 0
    restarts: int = 0
    started: float = field(default_factory=time.monotonic)


class Replicas:
    """Starts, watches, restarts and drains the containers of deployed models."""

    def __init__(self, folder: Path, store: Store, base: Mapping[str, str]) -> None:
        self._folder = folder
        self._store = store
        self._base = base
        self._running: dict[str, Replica] = {}
        self._wanted: dict[str, Document] = {}
        self._lock = threading.RLock()
        self._stopping = False
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self, key: str, version: Document) -> None:
        """Starts the container of a model version and returns once it is healthy.

        Raises ApiError, with the end of its log, when it does not become healthy.
        """
        with self._lock:
            self._wanted[key] = version
            replica = self._running.get(key) or self._spawn(key, version)
        try:
            self._wait(replica)
        except ApiError:
            self.stop(key)
            raise

    def stop(self, key: str) -> None:
        """No new request, the old ones answered, SIGTERM, and at last SIGKILL."""
        with self._lock:
            self._wanted.pop(key, None)
            replica = self._running.pop(key, None)
            self._store.delete(_memo(key))
        if replica is None:
            return
        until = time.monotonic() + _DRAIN_SECONDS
        while replica.in_flight and time.monotonic() < until:
            time.sleep(0.02)
        replica.process.send_signal(signal.SIGTERM)
        try:
            replica.process.wait(_DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            replica.process.kill()

    def stop_all(self) -> None:
        """Ends every container: this service is about to end."""
        self._stopping = True
        threads = [threading.Thread(target=self.stop, args=(key,)) for key in list(self._running)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def of(self, key: str) -> Replica | None:
        """The container that can answer now."""
        replica = self._running.get(key)
        return replica if replica is not None and replica.healthy else None

    def end_orphans(self) -> None:
        """After a kill: the containers of the former process are ended."""
        for memo in self._store.everywhere("replicas"):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(int(memo["pid"]))
                if abs(process.create_time() - memo["created"]) < 1:
                    process.kill()
            self._store.delete(memo["name"])

    def _spawn(self, key: str, version: Document) -> Replica:
        container = version.get("containerSpec", {})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        predict = container.get("predictRoute") or _PREDICT
        health = container.get("healthRoute") or _HEALTH
        given = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        environment = {
            **self._base,
            **given,
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": health,
            "AIP_PREDICT_ROUTE": predict,
            "AIP_STORAGE_URI": version.get("artifactUri", ""),
            "AIP_MODE": "PREDICTION",
            "AIP_VERSION_NAME": version.get("versionId", ""),
        }
        log = self._log(key)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*_command(container)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        created = psutil.Process(process.pid).create_time()
        self._store.put({"name": _memo(key), "pid": process.pid, "created": created})
        replica = Replica(key, process, f"http://127.0.0.1:{port}", predict, health)
        self._running[key] = replica
        return replica

    def _wait(self, replica: Replica) -> None:
        until = time.monotonic() + _HEALTHY_WITHIN_SECONDS
        with httpx.Client(timeout=2) as client:
            while time.monotonic() < until:
                if replica.process.poll() is not None:
                    raise self._unhealthy(replica, f"it ended with {replica.process.returncode}")
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(replica.address + replica.health_route).status_code == 200:
                        replica.healthy = True
                        return
                time.sleep(_POLL_SECONDS)
        raise self._unhealthy(replica, f"no 200 from it in {_HEALTHY_WITHIN_SECONDS:g} s")

    def _unhealthy(self, replica: Replica, why: str) -> ApiError:
        lines = self._log(replica.key).read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(lines[-_LAST_LINES:])
        message = (
            f"Model server never became ready on {replica.health_route}: {why}. "
            f"Its log ends with:\n{tail}"
        )
        return ApiError("FAILED_PRECONDITION", message)

    def _watch(self) -> None:
        """Restarts what died, with a pause that grows."""
        while not self._stopping:
            time.sleep(_WATCH_SECONDS)
            for key, replica in list(self._running.items()):
                if replica.process.poll() is None or key not in self._wanted:
                    continue
                replica.healthy = False
                pause = min(0.2 * 2**replica.restarts, _LONGEST_PAUSE_SECONDS)
                if time.monotonic() - replica.started < pause:
                    continue
                with self._lock:
                    if key not in self._wanted or self._stopping:
                        continue
                    fresh = self._spawn(key, self._wanted[key])
                    fresh.restarts = replica.restarts + 1
                with contextlib.suppress(ApiError):
                    self._wait(fresh)

    def _log(self, key: str) -> Path:
        return self._folder / f"container-{key.rpartition('/')[2]}.log"


def _command(container: Document) -> list[str]:
    """What the image would run. There is no container engine: a Python module stands for it."""
    command = [*container.get("command", []), *container.get("args", [])]
    if command[:2] == ["python", "-m"]:
        return [sys.executable, "-P", "-m", *command[2:]]
    if command:
        return command
    return [sys.executable, "-P", "-m", "llmops.serving"]


def _memo(key: str) -> str:
    return f"local/replicas/{key.rpartition('/')[2]}"


def base_environment(model: str, storage: str) -> dict[str, str]:
    """What every container has: where the local cloud is, and nothing secret of this machine."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "COVERAGE_PROCESS_START")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "GOOGLE_VERTEX_BASE_URL": model,
        "STORAGE_EMULATOR_HOST": storage,
        "PYTHONUNBUFFERED": "1",
    }
