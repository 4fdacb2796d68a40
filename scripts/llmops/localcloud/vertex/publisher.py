"""The publisher models: a small real model, with a queue that says no when it is full."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.generate import (
    CountTokensRequest,
    GenerateContentRequest,
    completion_request,
    messages,
    new_id,
    parse,
    response,
)
from llmops.localcloud.vertex.store import Document
from llmops.localcloud.vertex.weights import CONTEXT_TOKENS, NAME, SmallModel

_LONGEST_QUEUE = 256
_STANDS_FOR = "gemini-"


class Publisher:
    """The publisher models of the local Vertex AI."""

    def __init__(self) -> None:
        self._waiting = 0
        self._loading = threading.Lock()
        self._loaded: SmallModel | None = None
        self.calls = 0

    @property
    def busy_seconds(self) -> float:
        """Wall time in which at least one answer was being made."""
        return self._loaded.busy_seconds if self._loaded else 0.0

    def load(self) -> SmallModel:
        """The model, loaded at the first question: whoever only deploys never waits for it."""
        with self._loading:
            if self._loaded is None:
                self._loaded = SmallModel()
            return self._loaded

    async def count_tokens(self, request: Document) -> Response:
        """LlmUtilityService.CountTokens and PredictionService.CountTokens."""
        known = {key: value for key, value in request.items() if key != "endpoint"}
        asked = parse(CountTokensRequest, known)
        model = await run_in_threadpool(self.load)
        count = await run_in_threadpool(model.count_tokens, messages(asked))
        return JSONResponse({"totalTokens": count})

    async def generate(self, request: Document, *, stream: bool) -> Response:
        """GenerateContent and streamGenerateContent."""
        asked = parse(GenerateContentRequest, request)
        if self._waiting >= _LONGEST_QUEUE:
            raise ApiError("RESOURCE_EXHAUSTED", "too many requests are waiting")
        self.calls += 1
        await run_in_threadpool(self.load)
        if stream:
            return StreamingResponse(self._stream(asked), media_type="text/event-stream")
        return JSONResponse(await self._generate(asked))

    async def _generate(self, asked: GenerateContentRequest) -> dict[str, Any]:
        self._waiting += 1
        try:
            wanted = completion_request(asked, stream=False)
            reply = await run_in_threadpool(self.load().complete, wanted)
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
                self.load().complete(completion_request(asked, stream=True), on_chunk)
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
        return ApiError("INVALID_ARGUMENT", message)
    return ApiError("INTERNAL", said)


def check_publisher_model(name: str) -> None:
    """Raises ApiError for a model that is not here.

    Gemini's names are answered for, so that the environments of production run on a laptop; the
    answer's `modelVersion` says who spoke.
    """
    model = name.rpartition("/")[2]
    if model != NAME and not model.startswith(_STANDS_FOR):
        hint = f"the local cloud has the model {NAME}, which also stands for gemini-*"
        raise ApiError("NOT_FOUND", f"Publisher Model `{name}` not found: {hint}")
