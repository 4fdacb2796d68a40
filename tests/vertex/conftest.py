"""The local Vertex AI, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import PROJECT, free_port, wait_for


@dataclass
class Service:
    """The process; it can be killed and started again."""

    url: str
    command: list[str]
    process: subprocess.Popen[bytes]

    @property
    def location(self) -> str:
        return f"{self.url}/v1/projects/p/locations/us-central1"

    def kill_and_start(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = start(self.command, self.url)


def start(command: list[str], url: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "scripts")}
    process = subprocess.Popen(command, env=environment)
    wait_for(f"{url}/healthz", 60)
    return process


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-P", "-m", "llmops.localcloud.vertex"]
    command += ["--port", str(port), "--state", str(tmp_path / "vertex")]
    made = Service(url=url, command=command, process=start(command, url))
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait()
