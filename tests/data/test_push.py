"""A bucket that refuses the data after the build: nothing is left that names what is not there."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from llmops import datasets
from llmops.data.objects import ObjectCache
from llmops.data.pointer import pointer

from tests.data.tables import answered, asked, build_from
from tests.repository import Repository

pytestmark = pytest.mark.slow


@dataclass
class Refusing:
    """Stands in front of a bucket and lets through so many uploads."""

    behind: str
    uploads: int = 10**6
    refused: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, method: str, path: str) -> bool:
        with self.lock:
            if method not in ("POST", "PUT") or "/upload/" not in path:
                return True
            self.uploads -= 1
            self.refused += self.uploads < 0
            return self.uploads >= 0


@pytest.fixture
def bucket(storage_url: str) -> Iterator[Refusing]:
    bucket = Refusing(behind=storage_url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, reply = 403, json.dumps({"error": {"code": 403, "message": "no"}}).encode()
            headers: dict[str, str] = {}
            if bucket.allows(self.command, self.path):
                sent = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                answer = httpx.request(
                    self.command, bucket.behind + self.path, content=content, headers=sent
                )
                status, reply = answer.status_code, answer.content
                headers = {
                    name: value.replace(bucket.behind, bucket.url)
                    for name, value in answer.headers.items()
                    if name in ("content-type", "location", "x-goog-hash")
                }
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    yield bucket
    server.shutdown()


@pytest.fixture
def built(repository: Repository, tmp_path: Path, bucket: Refusing) -> Repository:
    """A repository whose data is built and not yet shared."""
    questions = [asked(number) for number in range(7_000, 7_100)]
    made = build_from(tmp_path, questions, [answered(each) for each in questions])
    home = repository.root / ".llmops"
    datasets.keep(made, ObjectCache(folder=home / "dvc"))
    repository.write("data.dvc", pointer(made))
    (home / "local").mkdir(parents=True, exist_ok=True)
    endpoints = home / "local" / "endpoints.json"
    endpoints.write_text(json.dumps({"storage": bucket.url}), encoding="utf-8")
    return repository


def held(bucket: Refusing) -> set[str]:
    path = f"{bucket.behind}/storage/v1/b/llmops-local/o"
    found = httpx.get(path, params={"prefix": "dvc/"}).json().get("items", [])
    return {each["name"].removeprefix("dvc/files/md5/").replace("/", "") for each in found}


def test_a_push_that_is_refused_names_nothing(built: Repository, bucket: Refusing) -> None:
    text = (built.root / "data.dvc").read_text(encoding="utf-8")
    md5 = text.split("md5: ")[1].split("\n")[0]
    bucket.uploads = 2
    refused = built.llmops("data", "push", "--env", "local")
    assert refused.code == 3
    assert bucket.refused
    assert "fix: check the network and your rights on the bucket" in refused.err
    assert md5 not in held(bucket), "no directory in the bucket that lacks a file"
    assert (built.root / "data.dvc").read_text(encoding="utf-8") == text

    bucket.uploads = 10**6
    pushed = built.llmops("data", "push", "--env", "local", "--json")
    assert pushed.code == 0, pushed.err
    assert json.loads(pushed.out) == {"md5": md5, "remotes": ["gs://llmops-local/dvc"]}
    assert md5 in held(bucket)


def test_a_bucket_that_does_not_answer_is_said_soon(built: Repository, bucket: Refusing) -> None:
    endpoints = built.root / ".llmops" / "local" / "endpoints.json"
    endpoints.write_text(json.dumps({"storage": "http://127.0.0.1:9"}), encoding="utf-8")
    refused = built.llmops("data", "push", "--env", "local")
    assert refused.code == 3
    assert "cannot list gs://llmops-local/dvc" in refused.err


def test_what_is_not_at_hand_cannot_be_pushed(repository: Repository) -> None:
    repository.write("data.dvc", f"outs:\n- md5: {'b' * 32}.dir\n  path: data\n")
    (repository.root / ".llmops" / "local").mkdir(parents=True)
    endpoints = repository.root / ".llmops" / "local" / "endpoints.json"
    endpoints.write_text(json.dumps({"storage": "http://127.0.0.1:9"}), encoding="utf-8")
    refused = repository.llmops("data", "push", "--env", "local")
    assert refused.code == 2
    assert "data.dvc:2: the data bbbb" in refused.err
    assert "llmops data build" in refused.err


def test_nothing_is_proposed_outside_a_workflow(built: Repository) -> None:
    refused = built.llmops("data", "propose", "--env", "local")
    assert refused.code == 2
    assert "proposing needs GITHUB_REPOSITORY and GITHUB_TOKEN" in refused.err
