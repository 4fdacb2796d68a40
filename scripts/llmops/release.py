"""The release: the bundle of everything that shapes an answer, named by its digest."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llmops.digest import digest
from llmops.errors import UserError
from llmops.formats import VARIABLE, Application, Generation, Message, Prompt, SafetySetting
from llmops.resources import Desired, Resource


@dataclass(frozen=True, kw_only=True)
class Release:
    """One application as it answers in one environment: two that are equal answer alike."""

    application: str
    model: str
    messages: tuple[Message, ...]
    generation: Generation
    safety_settings: tuple[SafetySetting, ...]
    tuning: str | None = None
    """The tuning digest of a tuned model: base model + data md5 + hyperparameters."""

    @cached_property
    def digest(self) -> str:
        """Of all that shapes an answer. The application's name does not."""
        return digest(
            {
                "model": self.model,
                "messages": [message.model_dump() for message in self.messages],
                "generation": self.generation.model_dump(mode="json"),
                "safety_settings": sorted(
                    [setting.category, setting.threshold] for setting in self.safety_settings
                ),
                "tuning": self.tuning,
            }
        )

    @property
    def variables(self) -> frozenset[str]:
        """The variables that an instance must supply."""
        return frozenset(
            name for message in self.messages for name in VARIABLE.findall(message.content)
        )

    def render(self, variables: dict[str, Any]) -> tuple[Message, ...]:
        """The messages with every `{{variable}}` filled in.

        Raises UserError that names the variables which are missing.
        """
        missing = sorted(self.variables - variables.keys())
        if missing:
            given = ", ".join(sorted(variables)) or "none"
            message = f"missing variables: {', '.join(missing)} (given: {given})"
            raise UserError(message, fix="supply every {{variable}} that the prompt names")

        def fill(match: re.Match[str]) -> str:
            return str(variables[match[1]])

        return tuple(
            Message.model_construct(role=message.role, content=VARIABLE.sub(fill, message.content))
            for message in self.messages
        )


def release_of(desired: Desired, application: Resource[Application], environment: str) -> Release:
    """The release that the desired state says for an application in an environment.

    Raises UserError when the application has no base model for it.
    """
    value = application.value
    model = value.base_model.get(environment)
    if model is None:
        raise UserError(
            f"base_model has no entry for the environment {environment!r}",
            path=application.path,
            line=application.line_of("base_model"),
            fix=f"add `{environment}: MODEL` under base_model",
        )
    prompt = desired.prompts[value.prompt].value
    tuning = None
    if value.tuning:
        data = desired.pointers[value.tuning.data].value.output.md5
        tuning = digest([model, data, value.tuning.model_dump(mode="json", exclude={"data"})])
    return Release(
        application=value.application,
        model=model,
        messages=prompt.messages,
        generation=_merged(prompt, value.generation),
        safety_settings=value.safety_settings,
        tuning=tuning,
    )


def _merged(prompt: Prompt, generation: Generation) -> Generation:
    """The prompt's own parameters win: its author tuned them together with the words."""
    own = prompt.model_parameters
    changed = {
        "temperature": own.temperature,
        "top_p": own.top_p,
        "top_k": own.top_k,
        "max_output_tokens": own.max_tokens,
        "stop_sequences": own.stop,
        "seed": own.seed,
    }
    return generation.model_copy(
        update={key: value for key, value in changed.items() if value is not None}
    )


def answer_key(release: Release, variables: dict[str, Any], repeat: int = 0) -> str:
    """The digest of all that determines an answer: the release, what it is asked, which repeat.

    Variables that the prompt does not name, such as a reference answer, do not count.
    """
    used = {name: variables[name] for name in sorted(release.variables)}
    return digest({"release": release.digest, "variables": used, "repeat": repeat})
