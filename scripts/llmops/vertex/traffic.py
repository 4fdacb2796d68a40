"""What the endpoint answered: the request-response log, from BigQuery or, locally, the bucket.

The schema of the rows is Vertex AI's:
https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from llmops.bucket import Bucket
from llmops.config import Environment
from llmops.errors import MachineryError
from llmops.sequential import Served
from llmops.vertex.write import log_table


class TrafficLog:
    """The log of one application in one environment."""

    def __init__(self, environment: Environment, application: str, bucket: Bucket) -> None:
        self._environment = environment
        self._table = f"{environment.project}.llmops.{log_table(application, environment)}"
        self._bucket = bucket
        self._read: dict[str, list[Served]] = {}

    def since(self, seconds: float) -> list[Served]:
        """The requests since a time, in seconds since the epoch.

        Raises MachineryError when the log cannot be read.
        """
        rows = self._lines(seconds) if self._environment.local else list(self._query(seconds))
        return [each for each in rows if each.seconds >= seconds]

    def _lines(self, seconds: float) -> list[Served]:
        prefix = f"bigquery/{self._table}/"
        start = prefix + datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
        for name in self._bucket.names(prefix):
            if name >= start and name not in self._read:
                content = self._bucket.read(name) or b""
                self._read[name] = list(_served(map(json.loads, content.splitlines())))
        return [each for found in self._read.values() for each in found]

    def _query(self, seconds: float) -> Iterator[Served]:
        from google.api_core.exceptions import GoogleAPIError, NotFound
        from google.cloud import bigquery

        client = bigquery.Client(project=self._environment.project)
        text = (
            "SELECT deployed_model_id, logging_time, response_payload "  # noqa: S608 - our own name
            f"FROM `{self._table}` WHERE logging_time >= @since"
        )
        since = bigquery.ScalarQueryParameter(
            "since", "TIMESTAMP", datetime.fromtimestamp(seconds, UTC)
        )
        try:
            job = client.query(text, bigquery.QueryJobConfig(query_parameters=[since]))
            rows = [dict(row.items()) for row in job.result()]
        except NotFound:
            return  # the table is made with the first request
        except GoogleAPIError as error:
            raise MachineryError(f"the request log {self._table}: {error}") from None
        yield from _served(rows)


def _served(rows: Iterable[dict[str, Any]]) -> Iterator[Served]:
    for row in rows:
        when = row["logging_time"]
        moment = datetime.fromisoformat(when) if isinstance(when, str) else when
        for payload in row["response_payload"]:
            for prediction in json.loads(payload).get("predictions", []):
                yield Served(
                    deployed=str(row["deployed_model_id"]),
                    seconds=moment.timestamp(),
                    failed=prediction.get("outcome") == "failed",
                    blocked=prediction.get("outcome") == "blocked",
                    latency_ms=float(prediction.get("latency_ms") or 0),
                )
