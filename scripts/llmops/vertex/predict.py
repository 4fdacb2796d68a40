"""Asking a release through its endpoint."""

from dataclasses import dataclass
from typing import Any

from llmops.vertex.clients import Clients, understood

_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One instance's answer."""

    deployed: str
    """The id of the deployed model that gave it."""
    outcome: str
    """answered, blocked or failed."""
    text: str
    release: str
    """The digest of the release that gave it."""
    error: str | None


def predict(clients: Clients, endpoint: str, variables: dict[str, Any]) -> Prediction:
    """What the endpoint answers to one instance. Raises TransientError or MachineryError."""
    from google.protobuf.json_format import ParseDict
    from google.protobuf.struct_pb2 import Value

    instance = ParseDict({key: _plain(value) for key, value in variables.items()}, Value())
    with understood("asking the endpoint"):
        reply = clients.predictions.predict(
            endpoint=endpoint, instances=[instance], timeout=_TIMEOUT_SECONDS
        )
    found = dict(reply.predictions[0])
    return Prediction(
        deployed=reply.deployed_model_id,
        outcome=str(found.get("outcome", "")),
        text=str(found.get("text", "")),
        release=str(found.get("release", "")),
        error=found.get("error"),
    )


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) else str(value)
