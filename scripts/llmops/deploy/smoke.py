"""The smoke suite: a few cases that the canary itself must answer, whatever its share."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmops.errors import LlmopsError
from llmops.vertex.clients import Clients
from llmops.vertex.live import Deployed, Live
from llmops.vertex.predict import predict

_PATIENCE = 8
"""How many times as often as expected a case is asked before giving up."""
_FEWEST = 40


class SmokeError(LlmopsError):
    """The canary does not answer as the release that it should be."""


def smoke(
    clients: Clients,
    canary: Deployed,
    live: Live,
    digest: str,
    cases: Sequence[Mapping[str, Any]],
) -> str:
    """Asks each case until the canary has answered one of it: Vertex AI chooses by the split.

    What stable answers meanwhile is traffic to compare with. Raises SmokeError when the canary
    fails a case, or answers as another release.
    """
    asked = 0
    most = max(_FEWEST, _PATIENCE * 100 // max(canary.share, 1))
    for case in cases:
        for _ in range(most):
            asked += 1
            answer = predict(clients, live.endpoint or "", dict(case))
            if answer.deployed != canary.id:
                continue
            if answer.release != digest:
                message = f"the canary answers as release {answer.release[:12]}"
                raise SmokeError(f"{message}, not as {digest[:12]}")
            if answer.outcome == "failed":
                raise SmokeError(f"the canary fails a smoke case: {answer.error}")
            if answer.outcome == "answered" and not answer.text:
                raise SmokeError(f"the canary answers nothing to {dict(case)}")
            break
        else:
            message = f"the canary has {canary.share}% and answered none of {most} requests"
            raise SmokeError(message)
    return f"{len(cases)} cases answered; {asked} requests until the canary had had each"
