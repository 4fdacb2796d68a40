"""The container that Vertex AI runs: instances in, predictions of one release out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops.release import Release
from llmops.serving.answer import Answer

Ask = Callable[[Release, dict[str, Any]], Awaitable[Answer]]

_WAITING_FOR_EACH = 8
"""So many instances may wait for each that is asked; beyond that the answer is 429."""


class Server:
    """One release behind Vertex AI's predict contract."""

    def __init__(self, release: Release, ask: Ask, *, concurrency: int) -> None:
        self._release = release
        self._ask = ask
        self._limit = asyncio.Semaphore(concurrency)
        self._most_waiting = concurrency * _WAITING_FOR_EACH
        self._waiting = 0

    async def health(self, _: Request) -> Response:
        """Answers once the release is loaded; says which."""
        return JSONResponse({"status": "ok", "release": self._release.digest})

    async def predict(self, request: Request) -> Response:
        """`{"instances": [{"question": …}]}` -> `{"predictions": [{"outcome": …}]}`.

        400 names unknown and missing variables; 429 when too many wait. A blocked answer and a
        model that fails are outcomes of their instance: the others keep their answers.
        """
        try:
            body = await request.json()
        except ValueError:
            return _refused(400, "the body is not JSON")
        instances = body.get("instances") if isinstance(body, dict) else None
        if not isinstance(instances, list) or not instances:
            return _refused(400, "the body needs `instances`, a list with at least one object")
        wrong = [
            f"instances[{place}]: {problem}"
            for place, instance in enumerate(instances)
            if (problem := self._problem(instance))
        ]
        if wrong:
            return _refused(400, "; ".join(wrong))
        if self._waiting + len(instances) > self._most_waiting:
            return _refused(429, f"{self._waiting} instances are waiting already: try again later")
        self._waiting += len(instances)
        try:
            predictions = await asyncio.gather(*map(self._predict, instances))
        finally:
            self._waiting -= len(instances)
        return JSONResponse({"predictions": predictions})

    def _problem(self, instance: object) -> str | None:
        if not isinstance(instance, dict):
            return "not an object with the prompt's variables"
        wanted = self._release.variables
        missing = sorted(wanted - instance.keys())
        unknown = sorted(instance.keys() - wanted)
        said = [f"missing variables: {', '.join(missing)}"] if missing else []
        said += [f"unknown variables: {', '.join(map(str, unknown))}"] if unknown else []
        said += [
            f"{name} is not text, a number or a truth value"
            for name in sorted(wanted & instance.keys())
            if not isinstance(instance[name], str | int | float | bool)
        ]
        return "; ".join(said) or None

    async def _predict(self, instance: dict[str, Any]) -> dict[str, Any]:
        async with self._limit:
            answer = await self._ask(self._release, instance)
        outcome = "failed" if answer.error else "blocked" if answer.blocked else "answered"
        return {
            "outcome": outcome,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            "safety_ratings": [
                {"category": category, "probability": probability}
                for category, probability in answer.safety_ratings
            ],
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "latency_ms": answer.latency_ms,
            "model_version": answer.model_version,
            "release": self._release.digest,
            "error": answer.error,
        }


def make_app(
    release: Release, ask: Ask, *, concurrency: int, predict_route: str, health_route: str
) -> Starlette:
    """The application, behind the routes that Vertex AI chose."""
    server = Server(release, ask, concurrency=concurrency)
    return Starlette(
        routes=[
            Route(health_route, server.health),
            Route(predict_route, server.predict, methods=["POST"]),
        ]
    )


def _refused(code: int, message: str) -> Response:
    status = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}[code]
    error = {"code": code, "message": message, "status": status}
    return JSONResponse({"error": error}, code)
