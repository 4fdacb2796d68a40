"""Request-response logging: what would go into a BigQuery table, as JSON lines in the bucket.

The rows are those that Vertex AI writes
(https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging):
endpoint, deployed_model_id, logging_time, request_id, request_payload, response_payload. A table
`bq://PROJECT.DATASET.TABLE` becomes objects `bigquery/PROJECT.DATASET.TABLE/…jsonl` in the bucket
PROJECT's environment has.
"""

import contextlib
import json
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx

from llmops.localcloud.vertex.store import Document

_FLUSH_SECONDS = 0.5


class RequestLog:
    """Rows, written in batches."""

    def __init__(self, storage: str, buckets: Mapping[str, str]) -> None:
        self._storage = storage
        self._buckets = buckets
        """Project -> the name of its bucket."""
        self._rows: dict[str, list[Document]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, destination: str, row: Document) -> None:
        """Takes a row for `bq://PROJECT.DATASET.TABLE`."""
        with self._lock:
            self._rows.setdefault(destination.removeprefix("bq://"), []).append(row)

    def close(self) -> None:
        """Writes what is left."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, {}
        for table, found in rows.items():
            bucket = self._buckets.get(table.partition(".")[0])
            if bucket is None or not self._storage:
                continue
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            name = f"bigquery/{table}/{stamp}-{uuid.uuid4().hex[:8]}.jsonl"
            content = "".join(f"{json.dumps(row)}\n" for row in found)
            url = f"{self._storage}/upload/storage/v1/b/{bucket}/o"
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(
                    url,
                    params={"uploadType": "media", "name": name},
                    content=content.encode(),
                    timeout=10,
                )
