"""The files that people write: prompts, model configs, suites, data pointers, key by key."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from llmops.yamlfile import Number, Whole, Written

Text = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[Number, Field(ge=0, le=1)]

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BRACES = re.compile(r"\{\{|\{%|\{#")


# --- prompts/*.prompt.yml: the format that GitHub Models edits and renders -----------------------


class Message(Written):
    """One message of a prompt; `{{name}}` in it is filled from a case's variables."""

    role: Literal["system", "user", "assistant"]
    content: Text

    @field_validator("content")
    @classmethod
    def _only_variables(cls, content: str) -> str:
        if _BRACES.search(VARIABLE.sub("", content)):
            message = "only {{variable}} is understood between braces: no filters, no {% tags %}"
            raise ValueError(message)
        return content


class ModelParameters(Written):
    """A prompt's own parameters; they win over the model config's `generation`."""

    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = Field(None, alias="topP")
    top_k: Annotated[Whole, Field(ge=1)] | None = Field(None, alias="topK")
    max_tokens: Annotated[Whole, Field(ge=1)] | None = Field(None, alias="maxTokens")
    stop: tuple[Text, ...] | None = None
    seed: Whole | None = None


class Prompt(Written):
    """A prompt. `model`, `testData`, `evaluators` are for GitHub's editor and shape no answer."""

    name: Text
    description: str = ""
    model: str = ""
    model_parameters: ModelParameters = Field(ModelParameters(), alias="modelParameters")
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    test_data: list[dict[str, Any]] = Field([], alias="testData")
    evaluators: list[dict[str, Any]] = []

    @property
    def variables(self) -> frozenset[str]:
        """The names between `{{` and `}}`: what a case must supply."""
        return frozenset(
            name for message in self.messages for name in VARIABLE.findall(message.content)
        )

    @model_validator(mode="after")
    def _asks_something(self) -> "Prompt":
        if self.messages[-1].role != "user":
            message = (
                "messages: the last message must have the role 'user': it is what the model answers"
            )
            raise ValueError(message)
        return self


# --- models/*.yaml: one file for one application ------------------------------------------------


class HarmCategory(StrEnum):
    """Vertex AI's harm categories (google.cloud.aiplatform.v1.HarmCategory)."""

    HATE_SPEECH = "HARM_CATEGORY_HATE_SPEECH"
    DANGEROUS_CONTENT = "HARM_CATEGORY_DANGEROUS_CONTENT"
    HARASSMENT = "HARM_CATEGORY_HARASSMENT"
    SEXUALLY_EXPLICIT = "HARM_CATEGORY_SEXUALLY_EXPLICIT"


class Threshold(StrEnum):
    """From which probability of harm on an answer is blocked (v1.SafetySetting)."""

    BLOCK_LOW_AND_ABOVE = "BLOCK_LOW_AND_ABOVE"
    BLOCK_MEDIUM_AND_ABOVE = "BLOCK_MEDIUM_AND_ABOVE"
    BLOCK_ONLY_HIGH = "BLOCK_ONLY_HIGH"
    BLOCK_NONE = "BLOCK_NONE"
    OFF = "OFF"


class SafetySetting(Written):
    """What to do about one category of harm."""

    category: HarmCategory
    threshold: Threshold


class Generation(Written):
    """Parameters of generation, by the names of Vertex AI's GenerationConfig."""

    temperature: Annotated[Number, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = Field(None, alias="topP")
    top_k: Annotated[Whole, Field(ge=1)] | None = Field(None, alias="topK")
    max_output_tokens: Annotated[Whole, Field(ge=1, le=65_536)] = Field(
        256, alias="maxOutputTokens"
    )
    stop_sequences: tuple[Text, ...] = Field((), alias="stopSequences")
    seed: Whole | None = None


class Tuning(Written):
    """How the base model is tuned; absent where it is used as it is."""

    method: Literal["supervised"] = "supervised"
    data: Text
    epochs: Annotated[Whole, Field(ge=1)] = 3
    learning_rate_multiplier: Annotated[Number, Field(gt=0)] = 1.0
    adapter_size: Literal[1, 4, 8, 16] = 8


class Serving(Written):
    """The machine and the limits of the serving container."""

    machine_type: Text = "e2-standard-2"
    min_replicas: Annotated[Whole, Field(ge=1)] = 1
    max_replicas: Annotated[Whole, Field(ge=1)] = 1
    concurrency: Annotated[Whole, Field(ge=1)] = 64
    timeout_seconds: Annotated[Number, Field(gt=0)] = 30.0
    log_share: Share = 1.0
    deploy_timeout_seconds: Annotated[Number, Field(gt=0)] = 1800.0

    @model_validator(mode="after")
    def _range(self) -> "Serving":
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas is smaller than min_replicas")
        return self


class Canary(Written):
    """How a new release takes over: shares of traffic, and what sends it back."""

    steps: Annotated[tuple[Annotated[Whole, Field(gt=0, le=100)], ...], Field(min_length=1)] = (
        5,
        25,
        100,
    )
    window_seconds: Annotated[Number, Field(gt=0)] = 600.0
    max_error_rate_increase: Share = 0.01
    max_latency_p95_ratio: Annotated[Number, Field(ge=1)] = 1.25
    max_blocked_share_increase: Share = 0.02
    min_requests: Annotated[Whole, Field(ge=0)] = 200
    on_too_little_traffic: Literal["hold", "promote", "roll_back"] = "hold"
    smoke_cases: Annotated[Whole, Field(ge=1)] = 4
    grace_seconds: Annotated[Number, Field(ge=0)] = 3600.0
    when_busy: Literal["wait", "refuse"] = "wait"

    @field_validator("steps")
    @classmethod
    def _rise_to_all(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)) or steps[-1] != 100:
            raise ValueError("steps must rise and end with 100, such as [5, 25, 100]")
        return steps


class Application(Written):
    """A model config: which prompt on which model, how it is evaluated, tuned, served, released."""

    application: Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
    description: str = ""
    prompt: Text
    suites: tuple[Text, ...] = ()
    base_model: dict[str, Text]
    generation: Generation = Generation()
    safety_settings: tuple[SafetySetting, ...] = ()
    tuning: Tuning | None = None
    serving: Serving = Serving()
    canary: Canary = Canary()


# --- evals/*.yaml: promptfoo configs, with gates beside them ------------------------------------


class Assertion(Written):
    """One promptfoo assertion. Its metric's name defaults to its type."""

    type: Text
    value: Any = None
    metric: Text | None = None
    threshold: Number | None = None
    weight: Number | None = None
    transform: str | None = None
    config: dict[str, Any] | None = None
    provider: Any = None
    rubric_prompt: Any = Field(None, alias="rubricPrompt")

    @property
    def measures(self) -> str:
        """The metric that this assertion's score counts towards."""
        return self.metric or self.type


class Case(Written):
    """One row of a suite, in promptfoo's test-case format."""

    description: str = ""
    vars: dict[str, Any] = {}
    assertions: tuple[Assertion, ...] = Field((), alias="assert")
    metadata: dict[str, Any] = {}


class DefaultTest(Written):
    """What every case of the suite has as well."""

    vars: dict[str, Any] = {}
    assertions: tuple[Assertion, ...] = Field((), alias="assert")
    metadata: dict[str, Any] = {}
    options: dict[str, Any] = {}


class EvaluateOptions(Written):
    """promptfoo's run options that change what is asked."""

    repeat: Annotated[Whole, Field(ge=1, le=100)] = 1
    max_concurrency: Annotated[Whole, Field(ge=1)] = Field(4, alias="maxConcurrency")


class Gate(Written):
    """What a pull request may not make worse, and by how much."""

    metric: Text
    max_drop: Annotated[Number, Field(ge=0)] = 0.0
    minimum: Number | None = None
    confidence: Annotated[Number, Field(ge=0.5, lt=1)] = 0.95
    action: Literal["block", "warn"] = "block"
    inconclusive: Literal["block", "warn"] = "warn"


class Suite(Written):
    """An eval suite: a promptfoo config that llmops reads as well."""

    description: str = ""
    prompts: list[Any] = []
    providers: list[Any] = []
    evaluate_options: EvaluateOptions = Field(EvaluateOptions(), alias="evaluateOptions")
    default_test: DefaultTest = Field(DefaultTest(), alias="defaultTest")
    tests: str | tuple[Case | str, ...]
    gates: tuple[Gate, ...] = ()
    max_error_share: Share = 0.05
    tags: dict[str, str] = {}

    @field_validator("gates")
    @classmethod
    def _one_gate_a_metric(cls, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        names = [gate.metric for gate in gates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one gate on the metric {twice[0]!r}")
        return gates


# --- *.dvc: data pointers, as DVC writes them -----------------------------------------------------


class PointerOutput(Written):
    """What the pointer points to: a directory in the DVC cache, named by its md5."""

    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
    size: Whole | None = None
    nfiles: Whole | None = None
    hash: Literal["md5"] = "md5"
    path: Text


class Origin(Written):
    """Where a data set's rows were retrieved."""

    engine: Literal["bigquery", "duckdb"]
    tables: dict[str, str]
    """Table -> its version: when BigQuery's was last modified, the MD5 of a shipped one."""
    jobs: tuple[str, ...] = ()
    """BigQuery's queries: `PROJECT:LOCATION.ID`."""
    at: str | None = None
    """When the first of them began (ISO 8601): BigQuery reads tables as they stood then."""


class PointerMeta(Written):
    """What `llmops data build` writes beside the pointer, so that a reviewer sees counts."""

    rows: dict[str, Whole] = {}
    origin: Origin | None = None


class DataPointer(Written):
    """A .dvc file."""

    outs: Annotated[tuple[PointerOutput, ...], Field(min_length=1, max_length=1)]
    meta: PointerMeta = PointerMeta()
    desc: str = ""
    wdir: str = "."

    @property
    def output(self) -> PointerOutput:
        """The one output."""
        return self.outs[0]
