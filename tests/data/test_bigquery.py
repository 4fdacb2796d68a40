"""BigQuery: over the wire with the official client, against an emulator, and what it must refuse.

The emulator has no dry run and no cap: in front of it stands a server that answers those two as
BigQuery's REST API does (jobs.insert with configuration.dryRun and maximumBytesBilled).
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlglot
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from llmops.config import Endpoints, Environment
from llmops.data import retrieve
from llmops.data.bigquery import GIB, BigQueryTables
from llmops.data.params import Retrieval
from llmops.errors import MachineryError, UserError
from sqlglot import exp

from tests.data.tables import Row, answered, asked, local, shipped_params, write_tables
from tests.repository import Repository, copy_of_project
from tests.services import PROJECT, free_port, wait_for

READ_GIB = 3


@dataclass
class Wire:
    """What stands in front of the emulator."""

    url: str = ""
    behind: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The configurations of the jobs that were asked for."""
    fail: tuple[int, str] | None = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self.fail:
            code, reason = self.fail
            problem = {"message": reason, "errors": [{"reason": reason, "message": reason}]}
            return code, json.dumps({"error": problem | {"code": code}}).encode()
        if method == "POST" and body and "/jobs" in path:
            job = json.loads(body)
            wanted = job.get("configuration", {})
            self.asked.append(wanted)
            if wanted.get("dryRun"):
                return 200, json.dumps(self._dry_run(job)).encode()
            cap = wanted.get("query", {}).pop("maximumBytesBilled", None)
            if cap is not None and int(cap) < READ_GIB * GIB:
                reason = "bytesBilledLimitExceeded"
                problem = {"message": f"Query exceeded limit: {reason}", "code": 400}
                return 400, json.dumps(
                    {"error": problem | {"errors": [{"reason": reason}]}}
                ).encode()
            body = json.dumps(job).encode()
        reply = httpx.request(
            method,
            self.behind + path,
            content=body,
            headers={"content-type": "application/json"},
            timeout=60,
        )
        return reply.status_code, reply.content

    @staticmethod
    def _dry_run(job: dict[str, Any]) -> dict[str, Any]:
        """As BigQuery answers: a finished job without an id, and what it would have read."""
        query = {"totalBytesProcessed": str(READ_GIB * GIB), "statementType": "SELECT"}
        return {
            "kind": "bigquery#job",
            "jobReference": {**job["jobReference"], "location": "US"},
            "configuration": job["configuration"],
            "status": {"state": "DONE"},
            "statistics": {"totalBytesProcessed": query["totalBytesProcessed"], "query": query},
        }


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """The emulator's address."""
    port = free_port()
    command = [Path(sys.executable).with_name("crucible"), "serve", "--dialect", "bigquery"]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/_crucible/health", 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def wire(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The emulator, with what it lacks."""
    wire = Wire(behind=emulator)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            status, content = wire.answer(self.command, self.path, self.rfile.read(size))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wire.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", wire.url)
    yield wire
    server.shutdown()


@pytest.fixture(scope="module")
def posts() -> tuple[list[Row], list[Row]]:
    """Posts of every kind: taken, and left out for each reason."""
    questions = [
        *(asked(n) for n in range(1, 20)),
        asked(20, tags="java"),
        asked(21, tags="python-3.x|rust"),
        asked(22, creation_date="2018-12-31 23:59:59+00:00"),
        asked(23, accepted_answer_id=2302),
        asked(24),
        asked(25, "Why is it 'so', \"then\" & \\n?"),
    ]
    answers = [
        *(answered(question) for question in questions[:22]),
        answered(questions[22], number=1, score=50),
        answered(questions[22], number=2, score=-1),
        answered(questions[24], score=3),
        *(answered(question, score=9, number=2) for question in questions[:3]),
        *(answered(question, score=11, number=3) for question in questions[2:5]),
        answered(questions[18], score=1, number=4),
    ]
    return questions, answers


@pytest.fixture(scope="module")
def loaded(emulator: str, posts: tuple[list[Row], list[Row]]) -> None:
    """The same posts in the emulator, under the names of the public data set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", emulator)
        client = bigquery.Client(project="p", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        client.create_dataset("bigquery-public-data.stackoverflow")
        types = {"int64": "INT64", "string": "STRING", "timestamp('UTC')": "TIMESTAMP"}
        for (name, columns), rows in zip(retrieve.COLUMNS.items(), posts, strict=True):
            table = f"`bigquery-public-data`.stackoverflow.{name}"
            declared = ", ".join(f"{column} {types[kind]}" for column, kind in columns.items())
            client.query(f"CREATE TABLE {table} ({declared})").result()
            values = [
                exp.Tuple(expressions=[exp.convert(row[column]) for column in columns]).sql(
                    "bigquery"
                )
                for row in rows
            ]
            client.query(f"INSERT INTO {table} VALUES {', '.join(values)}").result()


def wanted(**changes: object) -> Retrieval:
    return shipped_params().retrieve.model_copy(update=changes)


def tables(wire: Wire, **changes: object) -> BigQueryTables:
    environment = Environment(
        name="staging",
        local=False,
        project="p",
        region="us-central1",
        bucket="gs://b",
        endpoints=Endpoints(bigquery=wire.url),
    )
    return BigQueryTables(environment=environment, wanted=wanted(**changes))


def rows_of(batches: Iterator[Any]) -> list[Row]:
    found = [row for batch in batches for row in batch.to_pylist()]
    return sorted(found, key=str)


@pytest.mark.parametrize("name", ["taken", "left_out"])
def test_both_engines_give_the_same_rows(
    wire: Wire,
    loaded: None,
    posts: tuple[list[Row], list[Row]],
    tmp_path: Path,
    name: str,
) -> None:
    expression = getattr(retrieve, name)
    source = tables(wire)
    from_bigquery = rows_of(source.retrieve(expression(wanted())))
    with local(write_tables(tmp_path, *posts)) as duck:
        from_duckdb = rows_of(duck.retrieve(expression(wanted(), duck.tables)))
    assert from_bigquery == from_duckdb
    assert len(from_duckdb) == {"taken": 21, "left_out": 3}[name]
    assert len(source.jobs) == 1


def test_the_dry_run_comes_first_and_the_cap_goes_along(wire: Wire, loaded: None) -> None:
    list(tables(wire).retrieve(retrieve.taken(wanted())))
    first, second = wire.asked
    assert first["dryRun"] is True
    assert not second.get("dryRun")
    assert second["query"]["query"] == first["query"]["query"]


def test_beyond_the_cap_nothing_is_run(wire: Wire) -> None:
    with pytest.raises(UserError, match=r"3\.0 GiB, about 0\.02 US dollars; the cap is 2 GiB"):
        list(tables(wire, max_gib=2).retrieve(retrieve.taken(wanted())))
    assert [job.get("dryRun") for job in wire.asked] == [True]


@pytest.mark.parametrize(("code", "reason"), [(403, "accessDenied"), (400, "invalidQuery")])
def test_a_refusal_is_said_in_bigquery_s_words(wire: Wire, code: int, reason: str) -> None:
    wire.fail = (code, reason)
    with pytest.raises(MachineryError, match=reason):
        tables(wire).estimate(retrieve.taken(wanted()))


def test_the_dry_run_of_the_verb_shows_query_and_price(wire: Wire, repository: Repository) -> None:
    params = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    repository.write("params.yaml", params)
    env = {"BIGQUERY_EMULATOR_HOST": wire.url}
    shown = repository.llmops("data", "build", "--dry-run", env=env)
    assert shown.code == 0, shown.err
    assert "`bigquery-public-data`.`stackoverflow`.`posts_questions`" in shown.out
    assert "-- reads 3.0 GiB, about 0.02 US dollars" in shown.out
    machine = repository.llmops("data", "build", "--dry-run", "--json", env=env)
    assert json.loads(machine.out)["bytes"] == READ_GIB * GIB


@pytest.mark.slow
def test_a_build_from_bigquery_says_in_the_pointer_where_it_came_from(
    wire: Wire, loaded: None, tmp_path: Path
) -> None:
    project = copy_of_project(tmp_path / "project", PROJECT)
    before = (project.root / "data.dvc").read_text(encoding="utf-8")
    env = {"BIGQUERY_EMULATOR_HOST": wire.url}
    project.replace("params.yaml", "max_gib: 100", "max_gib: 1")
    refused = project.llmops("data", "build", env=env)
    assert refused.code == 2
    assert "error: params.yaml: the query would read 3.0 GiB" in refused.err
    assert (project.root / "data.dvc").read_text(encoding="utf-8") == before
    assert not (project.root / "data").exists()

    project.replace("params.yaml", "max_gib: 1", "max_gib: 100")
    few = "{train: 5, validation: 0, test: 0}"
    project.replace("params.yaml", "{train: 1000, validation: 100, test: 100}", few)
    project.replace("params.yaml", "code: [0.01, 0.9]", "code: [0, 1]")
    built = project.llmops("data", "build", env=env)
    assert built.code == 0, built.err
    meta = yaml.safe_load((project.root / "data.dvc").read_text(encoding="utf-8"))["meta"]
    assert meta["origin"]["engine"] == "bigquery"
    assert len(meta["origin"]["jobs"]) == 2
    assert meta["origin"]["tables"].keys() == retrieve.COLUMNS.keys()
    assert meta["origin"]["at"]
    assert sum(meta["rows"].values()) == 21

    asked = len(wire.asked)
    again = project.llmops("data", "build", env=env)
    assert "Stage 'retrieve' didn't change, skipping" in again.err
    assert len(wire.asked) == asked, "the same tables are not queried again"


@pytest.mark.parametrize("name", ["taken", "left_out"])
def test_the_sql_is_what_bigquery_understands_and_reads_no_more_than_it_must(name: str) -> None:
    text = retrieve.bigquery_sql(getattr(retrieve, name)(wanted()))
    parsed = sqlglot.parse_one(text, dialect="bigquery")
    names = {f"{table.catalog}.{table.db}.{table.name}" for table in parsed.find_all(exp.Table)}
    public = "bigquery-public-data.stackoverflow"
    assert names == {f"{public}.posts_questions", f"{public}.posts_answers"}
    assert ("body" in text) == (name == "taken")
    # BigQuery bills whole columns: of these, none is read.
    read = {column.name for column in parsed.find_all(exp.Column)}
    assert not read & {"view_count", "owner_user_id", "last_activity_date", "comment_count"}
