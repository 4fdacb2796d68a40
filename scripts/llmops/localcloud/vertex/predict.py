"""Online prediction: each request to one container, by the traffic split, and into the log."""

import json
import random
import uuid
from typing import Any

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from llmops.localcloud.vertex.endpoints import Endpoints
from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.requestlog import RequestLog
from llmops.localcloud.vertex.store import Document, timestamp

_TIMEOUT_SECONDS = 120.0


class Prediction:
    """PredictionService's predict and rawPredict."""

    def __init__(self, endpoints: Endpoints, log: RequestLog) -> None:
        self._endpoints = endpoints
        self._log = log
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=128)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=limits)

    async def predict(self, name: str, request: Document) -> Response:
        """The container's predictions, and which deployed model they are from."""
        body = {key: request[key] for key in ("instances", "parameters") if key in request}
        endpoint, deployed, reply = await self._ask(name, json.dumps(body).encode())
        if reply.status_code != httpx.codes.OK:
            return _passed_on(reply)
        try:
            answer = reply.json()
            predictions = answer["predictions"]
        except (ValueError, KeyError, TypeError):
            raise ApiError("INTERNAL", "the container answered without `predictions`") from None
        model = self._endpoints.registry.get(f"{deployed['model']}@{deployed['modelVersionId']}")
        shown: dict[str, Any] = {
            "predictions": predictions,
            "deployedModelId": deployed["id"],
            "model": deployed["model"],
            "modelDisplayName": model.get("displayName", ""),
            "modelVersionId": deployed["modelVersionId"],
        }
        if "metadata" in answer:
            shown["metadata"] = answer["metadata"]
        self._keep(endpoint, deployed, body, answer)
        return JSONResponse(shown)

    async def raw_predict(self, name: str, content: bytes) -> Response:
        """The container's answer as it is; headers say which deployed model it is from."""
        endpoint, deployed, reply = await self._ask(name, content)
        answered = _passed_on(reply)
        answered.headers["X-Vertex-AI-Endpoint-Id"] = name.rpartition("/")[2]
        answered.headers["X-Vertex-AI-Deployed-Model-Id"] = deployed["id"]
        if reply.status_code == httpx.codes.OK:
            self._keep(endpoint, deployed, _json(content), _json(reply.content))
        return answered

    async def _ask(self, name: str, content: bytes) -> tuple[Document, Document, httpx.Response]:
        endpoint, deployed = await run_in_threadpool(self._endpoints.choose, name)
        replica = self._endpoints.replicas.of(f"{name}/{deployed['id']}")
        if replica is None:
            message = f"no container of the deployed model {deployed['id']} is healthy"
            raise ApiError("UNAVAILABLE", message)
        replica.in_flight += 1
        try:
            reply = await self._client.post(
                replica.address + replica.predict_route,
                content=content,
                headers={"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            raise ApiError("UNAVAILABLE", f"the container did not answer: {error!r}") from None
        finally:
            replica.in_flight -= 1
        return endpoint, deployed, reply

    def _keep(self, endpoint: Document, deployed: Document, asked: object, said: object) -> None:
        config = endpoint.get("predictRequestResponseLoggingConfig", {})
        if not config.get("enabled") or random.random() >= config.get("samplingRate", 0):  # noqa: S311
            return
        row = {
            "endpoint": endpoint["name"].rpartition("/")[2],
            "deployed_model_id": deployed["id"],
            "logging_time": timestamp(),
            "request_id": str(uuid.uuid4().int % 10**18),
            "request_payload": [json.dumps(asked)],
            "response_payload": [json.dumps(said)],
        }
        self._log.add(config.get("bigqueryDestination", {}).get("outputUri", ""), row)


def _passed_on(reply: httpx.Response) -> Response:
    kind = reply.headers.get("content-type", "application/json")
    return Response(reply.content, reply.status_code, media_type=kind)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
