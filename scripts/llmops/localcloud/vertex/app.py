"""The HTTP side: Google's paths, Google's errors, a queue that says no when it is full."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llmops.localcloud.vertex.generate import (
    ApiError,
    CountTokensRequest,
    GenerateContentRequest,
    completion_request,
    messages,
    new_id,
    parse,
    response,
)
from llmops.localcloud.vertex.weights import CONTEXT_TOKENS, NAME, SmallModel

_LONGEST_QUEUE = 256
_PATH = (
    "/{version:str}/projects/{project}/locations/{location}"
    "/publishers/{publisher}/models/{model_and_verb:str}"
)


class Publisher:
    """The publisher models of the local Vertex AI."""

    def __init__(self, model: SmallModel) -> None:
        self._model = model
        self._waiting = 0
        self._faults: list[int] = []
        self.calls = 0

    async def endpoint(self, request: Request) -> Response:
        """generateContent, streamGenerateContent, countTokens."""
        try:
            return await self._dispatch(request)
        except ApiError as error:
            return JSONResponse(error.body, error.code)

    async def faults(self, request: Request) -> Response:
        """`{"status": 503, "count": 3}`: the next requests fail so. For tests."""
        wanted = await request.json()
        self._faults = [int(wanted["status"])] * int(wanted["count"])
        return JSONResponse({})

    async def stats(self, _: Request) -> Response:
        """What was asked since the start."""
        return JSONResponse({"calls": self.calls, "busy_seconds": self._model.busy_seconds})

    async def _dispatch(self, request: Request) -> Response:
        name, _, verb = request.path_params["model_and_verb"].partition(":")
        if request.path_params["version"] not in {"v1", "v1beta1"}:
            raise ApiError(404, "NOT_FOUND", f"no such path: {request.url.path}")
        if name != NAME:
            hint = f"the local cloud has the model {NAME}; set base_model.local in models/*.yaml"
            raise ApiError(404, "NOT_FOUND", f"Publisher Model `{name}` not found: {hint}")
        if self._faults:
            status = self._faults.pop()
            raise ApiError(status, "UNAVAILABLE", "a fault that was asked for")
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise ApiError(400, "INVALID_ARGUMENT", "the body is not JSON") from None
        if verb == "countTokens":
            asked = parse(CountTokensRequest, body)
            count = await run_in_threadpool(self._model.count_tokens, messages(asked))
            return JSONResponse({"totalTokens": count})
        if verb not in {"generateContent", "streamGenerateContent"}:
            raise ApiError(404, "NOT_FOUND", f"no such method: {verb}")
        asked = parse(GenerateContentRequest, body)
        if self._waiting >= _LONGEST_QUEUE:
            raise ApiError(429, "RESOURCE_EXHAUSTED", "too many requests are waiting")
        self.calls += 1
        if verb == "streamGenerateContent":
            return StreamingResponse(self._stream(asked), media_type="text/event-stream")
        return JSONResponse(await self._generate(asked))

    async def _generate(self, asked: GenerateContentRequest) -> dict[str, Any]:
        self._waiting += 1
        try:
            wanted = completion_request(asked, stream=False)
            reply = await run_in_threadpool(self._model.complete, wanted)
        except RuntimeError as error:
            raise _refused(str(error)) from None
        finally:
            self._waiting -= 1
        if "choices" not in reply:
            raise _refused(str(reply.get("error") or reply))
        choice = reply["choices"][0]
        text = choice["message"]["content"]
        return response(text, choice["finish_reason"], reply["usage"], new_id())

    async def _stream(self, asked: GenerateContentRequest) -> AsyncIterator[str]:
        chunks: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def on_chunk(chunk: Any) -> bool:  # noqa: ANN401 - llama.cpp's own
            for each in chunk if isinstance(chunk, list) else [chunk]:
                parsed = json.loads(each) if isinstance(each, str | bytes) else each
                loop.call_soon_threadsafe(chunks.put_nowait, parsed)
            return False

        def work() -> None:
            try:
                self._model.complete(completion_request(asked, stream=True), on_chunk)
            finally:
                loop.call_soon_threadsafe(chunks.put_nowait, None)

        working = asyncio.create_task(run_in_threadpool(work))
        response_id = new_id()
        finish: str | None = None
        while (chunk := await chunks.get()) is not None:
            usage = chunk.get("usage")
            choice = (chunk.get("choices") or [{}])[0]
            finish = choice.get("finish_reason") or finish
            text = (choice.get("delta") or {}).get("content") or ""
            if text or usage:
                piece = response(text, finish if usage else None, usage, response_id)
                yield f"data: {json.dumps(piece)}\r\n\r\n"
        await working


def _refused(said: str) -> ApiError:
    if "context" in said or "exceed" in said:
        message = (
            f"The input token count exceeds the maximum number of tokens allowed {CONTEXT_TOKENS}."
        )
        return ApiError(400, "INVALID_ARGUMENT", message)
    return ApiError(500, "INTERNAL", said)


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _unknown(request: Request, _: Exception) -> Response:
    message = f"the local Vertex AI does not serve {request.method} {request.url.path}"
    return JSONResponse(ApiError(404, "NOT_FOUND", message).body, 404)


def make_app(model: SmallModel) -> Starlette:
    """The application."""
    publisher = Publisher(model)
    return Starlette(
        routes=[
            Route("/healthz", _healthy),
            Route("/_local/stats", publisher.stats),
            Route("/_local/faults", publisher.faults, methods=["POST"]),
            Route(_PATH, publisher.endpoint, methods=["POST"]),
        ],
        exception_handlers={404: _unknown},
    )
