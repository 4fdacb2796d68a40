"""Real servers on 127.0.0.1 that stand where a cloud would: a scripted model, a bucket."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).parents[1]

Reply = Callable[[str, str], str]
"""System instruction and question -> answer."""


@dataclass
class ScriptedModel:
    """Speaks generateContent; answers by a rule, so that a test knows what is right."""

    reply: Reply
    questions: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    fail: Callable[[str, str], int | None] = lambda _system, _question: None
    """System instruction and question -> HTTP status to fail with, or None."""
    delay_seconds: float = 0.0
    finish_reason: str = "STOP"
    url: str = ""

    def generate(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        system = "".join(
            part["text"] for part in body.get("systemInstruction", {}).get("parts", [])
        )
        question = body["contents"][-1]["parts"][0]["text"]
        time.sleep(self.delay_seconds)
        status = self.fail(system, question)
        self.questions.append(question)
        if status:
            return status, {
                "error": {"code": status, "message": "scripted", "status": "UNAVAILABLE"}
            }
        text = self.reply(system, question)
        return 200, {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": self.finish_reason,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": len(system + question) // 4,
                "candidatesTokenCount": len(text) // 4,
            },
            "modelVersion": "scripted",
        }


@contextmanager
def serve(model: ScriptedModel) -> Iterator[ScriptedModel]:
    """The model behind a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.paths.append(self.path)
            status, reply = model.generate(body)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def local_github(folder: Path) -> Iterator[str]:
    """The GitHub stand-in in a process of its own; its address."""
    port = free_port()
    command = [sys.executable, "-m", "llmops.localcloud.github", "--port", str(port)]
    command += ["--state", str(folder), "--styles", str(PROJECT / "node_modules")]
    process = subprocess.Popen(command, cwd=PROJECT / "scripts")
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, seconds: float = 30.0) -> None:
    """Until the address answers with success."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).is_success:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer within {seconds} s")
