"""promptfoo's provider: answers a case as production would, or from the cache what it answered.

promptfoo loads this file by its path and calls `call_api` in a process that it keeps. Two uses:

- `promptfoo eval -c evals/quality.yaml`, by hand: `config.application` names a model config, and
  the working tree's release is asked through the very code that serves.
- `llmops eval`: the answers are at hand already; `config.answers` is the folder they lie in.
"""

from functools import cache
from pathlib import Path
from typing import Any


def call_api(_prompt: str, options: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """What promptfoo asks of a Python provider: `output` or `error`, tokens, latency."""
    config = options.get("config") or {}
    if "answers" in config:
        metadata = context["test"]["metadata"]["llmops"]
        return _at_hand(config["answers"], metadata["answer"])
    from llmops.errors import LlmopsError

    try:
        return _asked(config["application"], context["vars"])
    except LlmopsError as error:
        return {"error": str(error)}


def _at_hand(folder: str, key: str) -> dict[str, Any]:
    from llmops.evals.cache import ContentCache
    from llmops.serving.answer import Answer

    answer = ContentCache(Answer, Path(folder)).get(key)
    return {"error": f"the answer {key} is not in {folder}"} if answer is None else _reply(answer)


def _asked(application: str, variables: dict[str, Any]) -> dict[str, Any]:
    model, release = _release(application)
    used = {name: value for name, value in variables.items() if name in release.variables}
    return _reply(model.answer(release, used))


@cache
def _release(application: str) -> Any:  # noqa: ANN401 - types that only this path imports
    from llmops import config, git
    from llmops.errors import UserError
    from llmops.release import release_of
    from llmops.resources import Reader
    from llmops.serving.model import model_of

    root = git.toplevel(Path(__file__).parent)
    environment = config.environment(root)
    desired = Reader(root).read(git.working_tree(root))
    if application not in desired.applications:
        known = ", ".join(desired.applications)
        raise UserError(f"there is no model config {application}", fix=f"known: {known}")
    release = release_of(desired, desired.applications[application], environment.name)
    return model_of(environment), release


def _reply(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - an Answer, imported lazily
    if answer.error is not None:
        return {"error": answer.error}
    return {
        "output": answer.text,
        "finishReason": answer.finish_reason,
        "latencyMs": answer.latency_ms,
        "tokenUsage": {
            "prompt": answer.input_tokens,
            "completion": answer.output_tokens,
            "total": answer.input_tokens + answer.output_tokens,
        },
    }
