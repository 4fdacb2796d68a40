"""The changes that a rollout makes: each one call, guarded by the etag of what was looked at."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from llmops.config import Environment
from llmops.errors import MachineryError
from llmops.formats import Serving
from llmops.vertex.clients import (
    CALL_SECONDS,
    Clients,
    ConflictError,
    GoneError,
    TransientError,
    understood,
)
from llmops.vertex.live import MANAGER, Labels, Live, numeric_id
from llmops.vertex.read import endpoint_name, model_name

_PREDICT, _HEALTH, _PORT = "/predict", "/health", 8080


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What is uploaded."""

    application: str
    digest: str
    artifact: str
    labels: dict[str, str]
    description: str
    serving: Serving


def create_endpoint(
    clients: Clients, application: str, serving: Serving, labels: dict[str, str]
) -> None:
    """Makes the endpoint under its own id; one that is there is fine."""
    environment = clients.environment
    name = endpoint_name(clients, application)
    table = f"bq://{environment.project}.llmops.{log_table(application, environment)}"
    body = {
        "display_name": f"{application}-{environment.name}",
        "labels": {
            Labels.MANAGED_BY: MANAGER,
            Labels.APPLICATION: application,
            Labels.ENVIRONMENT: environment.name,
            **labels,
        },
        "predict_request_response_logging_config": {
            "enabled": serving.log_share > 0,
            "sampling_rate": serving.log_share,
            "bigquery_destination": {"output_uri": table},
        },
    }
    request = {
        "parent": clients.location,
        "endpoint": body,
        "endpoint_id": name.rpartition("/")[2],
    }
    with contextlib.suppress(ConflictError), understood("creating the endpoint"):
        operation = clients.endpoints.create_endpoint(request=request, timeout=CALL_SECONDS)
        _finished(operation, "creating the endpoint", CALL_SECONDS)


def log_table(application: str, environment: Environment) -> str:
    """The table of the request-response log, in the dataset `llmops`."""
    return f"requests_{application}_{environment.name}".replace("-", "_")


def upload(clients: Clients, version: NewVersion) -> None:
    """A new version of the application's model."""
    environment, name = clients.environment, model_name(clients, version.application)
    request: dict[str, Any] = {
        "parent": clients.location,
        "model": {
            "display_name": f"{version.application}-{environment.name}",
            "artifact_uri": version.artifact,
            "labels": version.labels,
            "version_description": version.description,
            "container_spec": {
                "image_uri": environment.serving_image,
                "predict_route": _PREDICT,
                "health_route": _HEALTH,
                "ports": [{"container_port": _PORT}],
                "env": [
                    {"name": "LLMOPS_PROJECT", "value": environment.project},
                    {"name": "LLMOPS_REGION", "value": environment.region},
                    {"name": "LLMOPS_CONCURRENCY", "value": str(version.serving.concurrency)},
                    {
                        "name": "LLMOPS_TIMEOUT_SECONDS",
                        "value": str(version.serving.timeout_seconds),
                    },
                ],
            },
        },
    }
    with understood("uploading the version"):
        try:
            with understood("looking for the model"):
                clients.models.get_model(name=name, timeout=CALL_SECONDS)
            request["parent_model"] = name
        except GoneError:
            request["model_id"] = name.rpartition("/")[2]
        operation = clients.models.upload_model(request=request, timeout=CALL_SECONDS)
        _finished(operation, "uploading the version", version.serving.deploy_timeout_seconds)


def mark_verified(clients: Clients, version: str) -> None:
    """The label that lets the next environment have it."""
    from google.protobuf.field_mask_pb2 import FieldMask

    with understood("marking the version"):
        model = clients.models.get_model(name=version, timeout=CALL_SECONDS)
        labels = {**model.labels, Labels.VERIFIED: "yes"}
        changed = {"name": version, "labels": labels, "etag": model.etag}
        request = {"model": changed, "update_mask": FieldMask(paths=["labels"])}
        clients.models.update_model(request=request, timeout=CALL_SECONDS)


def delete_duplicates(clients: Clients, live: Live) -> None:
    """Of two versions of one release, made by a run that was killed while uploading, one stays."""
    used = {each.version for each in live.deployed}
    seen: set[str] = set()
    for version in live.versions:
        if version.release and version.release in seen and version.number not in used:
            with contextlib.suppress(GoneError), understood("deleting a duplicate version"):
                operation = clients.models.delete_model_version(
                    name=version.name, timeout=CALL_SECONDS
                )
                _finished(operation, "deleting a duplicate version", CALL_SECONDS)
        seen.add(version.release)


def deploy(
    clients: Clients, live: Live, version: str, digest: str, serving: Serving, split: dict[str, int]
) -> None:
    """Deploys the version at the share that `split` gives "0"; waits until it is healthy."""
    environment = clients.environment
    deployed = {
        "id": numeric_id("deployed", digest),
        "model": version,
        "display_name": digest[:12],
        "dedicated_resources": {
            "machine_spec": {"machine_type": serving.machine_type},
            "min_replica_count": serving.min_replicas,
            "max_replica_count": serving.max_replicas,
        },
        **({"service_account": environment.serving_account} if environment.serving_account else {}),
    }
    request = {"endpoint": live.endpoint, "deployed_model": deployed, "traffic_split": split}
    # One that is there already is fine: a run that was killed had got this far.
    with contextlib.suppress(ConflictError), understood("deploying the version"):
        operation = clients.endpoints.deploy_model(request=request, timeout=CALL_SECONDS)
        _finished(operation, "deploying the version", serving.deploy_timeout_seconds)


def undeploy(clients: Clients, endpoint: str, deployed: str, seconds: float) -> None:
    """Takes a deployed model without traffic away; one that is gone is fine."""
    request = {"endpoint": endpoint, "deployed_model_id": deployed}
    with contextlib.suppress(GoneError), understood("undeploying"):
        operation = clients.endpoints.undeploy_model(request=request, timeout=CALL_SECONDS)
        _finished(operation, "undeploying", seconds)


def change_endpoint(
    clients: Clients,
    live: Live,
    *,
    labels: dict[str, str | None],
    split: dict[str, int] | None = None,
) -> None:
    """Labels and traffic in one call; a label of None is taken away.

    Raises ConflictError when the endpoint was changed since `live` was read.
    """
    from google.protobuf.field_mask_pb2 import FieldMask

    if live.endpoint is None:
        raise GoneError("the endpoint is not there any more")
    merged = {**live.labels, **labels, Labels.TOUCHED: str(int(time.time()))}
    changed: dict[str, Any] = {
        "name": live.endpoint,
        "etag": live.etag,
        "labels": {key: value for key, value in merged.items() if value is not None},
    }
    paths = ["labels"]
    if split is not None:
        changed["traffic_split"] = split
        paths.append("traffic_split")
    with understood("changing the endpoint"):
        request = {"endpoint": changed, "update_mask": FieldMask(paths=paths)}
        clients.endpoints.update_endpoint(request=request, timeout=CALL_SECONDS)


def _finished(operation: Any, doing: str, seconds: float) -> None:  # noqa: ANN401 - a LRO
    """Waits for an operation. Raises MachineryError when it fails, or does not end in time."""
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from google.api_core import exceptions

    try:
        operation.result(timeout=seconds)
    except (FutureTimeoutError, exceptions.RetryError):
        message = f"{doing}: the operation did not end within {seconds:g} s"
        raise MachineryError(message, fix=f"see {operation.operation.name}") from None
    except (exceptions.ServiceUnavailable, exceptions.TooManyRequests) as error:
        raise TransientError(f"{doing}: {error}") from None
