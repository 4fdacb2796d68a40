"""The request-response log in BigQuery, read by the official client over the wire."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from llmops.bucket import Bucket
from llmops.config import Endpoints, Environment
from llmops.errors import MachineryError
from llmops.vertex.traffic import TrafficLog

SCHEMA = {
    "fields": [
        {"name": "deployed_model_id", "type": "STRING"},
        {"name": "logging_time", "type": "TIMESTAMP"},
        {"name": "response_payload", "type": "STRING", "mode": "REPEATED"},
    ]
}
SECOND = 1_764_000_000


def row(deployed: str, second: int, *outcomes: str) -> dict[str, Any]:
    said = {"predictions": [{"outcome": each, "latency_ms": 12.5} for each in outcomes]}
    moment = str(second * 1_000_000)
    payload = [{"v": json.dumps(said)}]
    return {"f": [{"v": deployed}, {"v": moment}, {"v": payload}]}


class BigQuery(BaseHTTPRequestHandler):
    """As far as one query needs it; what was asked is kept on the server."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self._answer(200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
            return
        self.server.asked.append(json.loads(body))  # type: ignore[attr-defined]
        if self.server.missing:  # type: ignore[attr-defined]
            self._answer(self.server.missing, {"error": {"message": "it is not there"}})  # type: ignore[attr-defined]
            return
        sent = json.loads(body)
        reference = sent.get("jobReference", {"projectId": "shop", "jobId": "j"})
        self._answer(200, {**sent, "jobReference": reference, "status": {"state": "DONE"}})

    def do_GET(self) -> None:
        rows = self.server.rows  # type: ignore[attr-defined]
        if "/queries/" in self.path:
            reference = {"projectId": "shop", "jobId": self.path.split("/")[-1].partition("?")[0]}
            found = {"jobComplete": True, "schema": SCHEMA, "totalRows": str(len(rows))}
            self._answer(200, {**found, "rows": rows, "jobReference": reference})
        else:
            reference = {"projectId": "shop", "jobId": "j"}
            query = {
                "query": {"destinationTable": {"projectId": "p", "datasetId": "d", "tableId": "t"}}
            }
            found = {"jobReference": reference, "status": {"state": "DONE"}}
            self._answer(200, {**found, "configuration": query})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def bigquery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), BigQuery)
    server.asked, server.rows, server.missing = [], [], None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key": key.decode(),
        "client_email": "llmops@shop.example",
        "token_uri": f"{url}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
    yield server
    server.shutdown()
    server.server_close()


def log() -> TrafficLog:
    environment = Environment(
        name="production",
        local=False,
        project="shop",
        region="us-central1",
        bucket="gs://shop",
        endpoints=Endpoints(),
    )
    bucket = Bucket(url="gs://shop", _google=None, _retry=None)  # type: ignore[arg-type]
    return TrafficLog(environment, "assistant", bucket)


def test_requests_are_read_with_what_they_came_to(bigquery: Any) -> None:
    bigquery.rows = [row("7", SECOND, "answered", "blocked"), row("8", SECOND + 1, "failed")]

    found = log().since(float(SECOND))

    assert [(each.deployed, each.failed, each.blocked) for each in found] == [
        ("7", False, False),
        ("7", False, True),
        ("8", True, False),
    ]
    assert {each.latency_ms for each in found} == {12.5}
    assert [each.seconds for each in found] == [SECOND, SECOND, SECOND + 1]
    query = bigquery.asked[0]["configuration"]["query"]
    assert "`shop.llmops.requests_assistant_production`" in query["query"]
    (since,) = query["queryParameters"]
    assert since["parameterType"] == {"type": "TIMESTAMP"}


def test_a_table_that_nothing_was_logged_to_is_empty(bigquery: Any) -> None:
    bigquery.missing = 404
    assert log().since(0.0) == []


def test_a_log_that_may_not_be_read_is_said(bigquery: Any) -> None:
    bigquery.missing = 403
    with pytest.raises(MachineryError, match="requests_assistant_production"):
        log().since(0.0)
