"""The model behind a release: one client, one call, with retries, by google-genai."""

import time
from typing import TYPE_CHECKING, Any

from llmops.config import Environment
from llmops.errors import MachineryError
from llmops.release import Release
from llmops.serving.answer import Answer

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import GenerateContentConfig, GenerateContentResponse

_ATTEMPTS = 4
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 8.0
_TIMEOUT_SECONDS = 120.0
_PASSING = [408, 429, 500, 502, 503, 504]


class Model:
    """Asks the models of one environment. Threads may share it."""

    def __init__(
        self,
        *,
        project: str,
        region: str,
        address: str | None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        """`address` is the local cloud's, or None for Vertex AI itself."""
        self._address = address or "Vertex AI"
        self._client = _client(project, region, address, timeout_seconds)

    def answer(self, release: Release, variables: dict[str, Any]) -> Answer:
        """What the release answers; a call that fails after all retries is an answer with `error`.

        Raises UserError when a variable of the prompt is missing.
        """
        from google.genai import errors
        from httpx import HTTPError

        question = _question(release, variables)
        started = time.perf_counter()
        try:
            response = self._client.models.generate_content(**question)
        except (errors.APIError, HTTPError, OSError) as error:
            return self._failed(error)
        return _read(response, latency_ms=(time.perf_counter() - started) * 1000)

    async def answer_soon(self, release: Release, variables: dict[str, Any]) -> Answer:
        """As `answer`, without a thread for each question that is under way."""
        from google.genai import errors
        from httpx import HTTPError

        question = _question(release, variables)
        started = time.perf_counter()
        try:
            response = await self._client.aio.models.generate_content(**question)
        except (errors.APIError, HTTPError, OSError) as error:
            return self._failed(error)
        return _read(response, latency_ms=(time.perf_counter() - started) * 1000)

    def _failed(self, error: Exception) -> Answer:
        code, message = getattr(error, "code", None), getattr(error, "message", None)
        reason = f"no answer from {self._address}: {error or type(error).__name__}"
        if code is not None:
            reason = f"{code} {message}"
        return Answer(text="", finish_reason="ERROR", error=reason)


def model_of(environment: Environment) -> Model:
    """The models of an environment. Raises MachineryError when nobody is signed in."""
    return Model(
        project=environment.project,
        region=environment.region,
        address=environment.endpoints.vertex,
    )


def client_of(environment: Environment) -> "Client":
    """The client of an environment. Raises MachineryError when nobody is signed in."""
    endpoints = environment.endpoints
    return _client(environment.project, environment.region, endpoints.vertex, _TIMEOUT_SECONDS)


def _client(project: str, region: str, address: str | None, timeout_seconds: float) -> "Client":
    from google import genai
    from google.auth.exceptions import DefaultCredentialsError
    from google.genai.types import HttpOptions, HttpRetryOptions
    from google.oauth2.credentials import Credentials

    try:
        return genai.Client(
            vertexai=True,
            project=project,
            location=region,
            # The local cloud takes any token; AnonymousCredentials the client itself refuses.
            credentials=Credentials(token="local") if address else None,  # type: ignore[no-untyped-call]  # noqa: S106
            http_options=HttpOptions(
                base_url=address,
                timeout=int(timeout_seconds * 1000),
                retry_options=HttpRetryOptions(
                    attempts=_ATTEMPTS,
                    initial_delay=_FIRST_DELAY_SECONDS,
                    max_delay=_LONGEST_DELAY_SECONDS,
                    http_status_codes=_PASSING,
                ),
            ),
        )
    except DefaultCredentialsError as error:
        fix = "gcloud auth application-default login, or use --env local"
        raise MachineryError(f"not signed in to Google Cloud: {error}", fix=fix) from None


def _question(release: Release, variables: dict[str, Any]) -> dict[str, Any]:
    """The arguments of generate_content."""
    system, contents = _conversation(release, variables)
    return {"model": release.model, "contents": contents, "config": _config(release, system)}


def _conversation(release: Release, variables: dict[str, Any]) -> tuple[str | None, list[Any]]:
    from google.genai.types import Content, Part

    messages = release.render(variables)
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    contents = [
        Content(
            role="model" if message.role == "assistant" else "user",
            parts=[Part(text=message.content)],
        )
        for message in messages
        if message.role != "system"
    ]
    return system or None, contents


def _config(release: Release, system: str | None) -> "GenerateContentConfig":
    from google.genai import types

    generation = release.generation
    return types.GenerateContentConfig(
        system_instruction=system,
        temperature=generation.temperature,
        top_p=generation.top_p,
        top_k=generation.top_k,
        max_output_tokens=generation.max_output_tokens,
        stop_sequences=list(generation.stop_sequences) or None,
        seed=generation.seed,
        safety_settings=[
            types.SafetySetting(
                category=types.HarmCategory(setting.category.value),
                threshold=types.HarmBlockThreshold(setting.threshold.value),
            )
            for setting in release.safety_settings
        ]
        or None,
    )


def _read(response: "GenerateContentResponse", *, latency_ms: float) -> Answer:
    usage = response.usage_metadata
    candidate = response.candidates[0] if response.candidates else None
    if candidate is None:
        # The prompt itself was blocked: Vertex AI answers without candidates and says why.
        feedback = response.prompt_feedback
        reason = feedback.block_reason if feedback else None
        finish = "PROHIBITED_CONTENT" if reason is None else reason.value
        return Answer(text="", finish_reason=finish, latency_ms=latency_ms)
    parts = candidate.content.parts if candidate.content else None
    return Answer(
        text="".join(part.text or "" for part in parts or () if not part.thought).strip(),
        finish_reason=candidate.finish_reason.value if candidate.finish_reason else "STOP",
        input_tokens=(usage.prompt_token_count or 0) if usage else 0,
        output_tokens=(usage.candidates_token_count or 0) if usage else 0,
        latency_ms=round(latency_ms, 3),
        model_version=response.model_version or "",
        safety_ratings=tuple(
            (rating.category.value, rating.probability.value)
            for rating in candidate.safety_ratings or ()
            if rating.category and rating.probability
        ),
    )
