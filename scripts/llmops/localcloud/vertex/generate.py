"""Vertex AI's generateContent, as messages that llama.cpp understands, and its reply back."""

import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from llmops.formats import HarmCategory, Threshold
from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.weights import NAME


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Part(_Closed):
    """Text: the small model knows nothing else."""

    text: str


class Content(_Closed):
    """One turn."""

    role: str = "user"
    parts: list[Part] = Field(min_length=1)


class SafetySetting(_Closed):
    """Accepted and checked; the small model has no safety filter."""

    category: HarmCategory
    threshold: Threshold
    method: str | None = None


class GenerationConfig(_Closed):
    """The parameters that llama.cpp has as well."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    stop_sequences: list[str] = []
    seed: int | None = None
    candidate_count: int = Field(1, ge=1, le=1)
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class GenerateContentRequest(_Closed):
    """google.cloud.aiplatform.v1.GenerateContentRequest, as far as the small model can follow."""

    model: str = ""
    contents: list[Content] = Field(min_length=1)
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()
    safety_settings: list[SafetySetting] = []
    labels: dict[str, str] = {}


class CountTokensRequest(_Closed):
    """google.cloud.aiplatform.v1.CountTokensRequest."""

    model: str = ""
    contents: list[Content] = Field(min_length=1)
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()


def parse(model: type[Any], body: object) -> Any:  # noqa: ANN401 - the type that was asked for
    """The request. Raises ApiError, naming the field, for what Google would refuse as well."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        message = f"Invalid JSON payload received. {where}: {first['msg']}"
        raise ApiError("INVALID_ARGUMENT", message) from None


def messages(request: GenerateContentRequest | CountTokensRequest) -> list[dict[str, str]]:
    """The turns in OpenAI's shape, which llama.cpp's chat template takes."""
    turns = [("system", request.system_instruction)] if request.system_instruction else []
    turns += [
        ("assistant" if content.role == "model" else "user", content)
        for content in request.contents
    ]
    return [
        {"role": role, "content": "".join(part.text for part in content.parts)}
        for role, content in turns
    ]


def completion_request(request: GenerateContentRequest, *, stream: bool) -> dict[str, Any]:
    """The same in llama.cpp's words."""
    config = request.generation_config
    wanted = {
        "messages": messages(request),
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
        "cache_prompt": True,
        "max_tokens": config.max_output_tokens or 256,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": None if config.top_k is None else int(config.top_k),
        "stop": config.stop_sequences or None,
        "seed": config.seed,
        "presence_penalty": config.presence_penalty,
        "frequency_penalty": config.frequency_penalty,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def response(
    text: str, finish: str | None, usage: dict[str, Any] | None, response_id: str
) -> dict[str, Any]:
    """A GenerateContentResponse, or one piece of a streamed one."""
    candidate: dict[str, Any] = {
        "index": 0,
        "content": {"role": "model", "parts": [{"text": text}]},
    }
    if finish:
        candidate["finishReason"] = "MAX_TOKENS" if finish == "length" else "STOP"
    made: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": NAME,
        "responseId": response_id,
    }
    if usage:
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        made["usageMetadata"] = {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"],
            "totalTokenCount": usage["prompt_tokens"] + usage["completion_tokens"],
            **({"cachedContentTokenCount": cached} if cached else {}),
        }
    return made


def new_id() -> str:
    """A response's id."""
    return uuid.uuid4().hex
