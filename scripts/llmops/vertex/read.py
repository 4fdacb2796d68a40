"""Vertex AI's answers -> the live state."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops.vertex.clients import CALL_SECONDS, Clients, GoneError, understood
from llmops.vertex.live import (
    MANAGER,
    Deployed,
    Labels,
    Live,
    ReleaseLabel,
    Version,
    numeric_id,
)

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import Endpoint, Model


def endpoint_name(clients: Clients, application: str) -> str:
    """The endpoint's resource name: the same for the same application and environment."""
    identifier = numeric_id("endpoint", application, clients.environment.name)
    return f"{clients.location}/endpoints/{identifier}"


def model_name(clients: Clients, application: str) -> str:
    """The registry's name of the application."""
    return f"{clients.location}/models/{application}-{clients.environment.name}"


def live_state(clients: Clients, application: str) -> Live:
    """The application as it is. Raises TransientError or MachineryError."""
    versions = tuple(_versions(clients, application))
    with understood("reading the endpoint"):
        try:
            with understood("reading the endpoint"):
                found = clients.endpoints.get_endpoint(
                    name=endpoint_name(clients, application), timeout=CALL_SECONDS
                )
        except GoneError:
            return Live(endpoint=None, versions=versions)
    return _live(found, versions)


def other_endpoints(clients: Clients, applications: set[str]) -> list[str]:
    """Endpoints that llmops made here for applications which main does not have any more."""
    wanted = (
        f"labels.{Labels.MANAGED_BY}={MANAGER} AND "
        f"labels.{Labels.ENVIRONMENT}={clients.environment.name}"
    )
    request = {"parent": clients.location, "filter": wanted}
    with understood("listing endpoints"):
        found = list(clients.endpoints.list_endpoints(request=request, timeout=CALL_SECONDS))
    return [
        each.labels.get(Labels.APPLICATION, each.display_name)
        for each in found
        if each.labels.get(Labels.APPLICATION) not in applications
    ]


def _versions(clients: Clients, application: str) -> Iterator[Version]:
    name = model_name(clients, application)
    try:
        with understood("reading the model registry"):
            found = list(clients.models.list_model_versions(name=name, timeout=CALL_SECONDS))
    except GoneError:
        return
    for each in sorted(found, key=lambda model: int(model.version_id)):
        yield _version(name, each)


def _version(name: str, model: "Model") -> Version:
    return Version(
        number=model.version_id,
        name=f"{name}@{model.version_id}",
        release=ReleaseLabel(model.labels.get(Labels.RELEASE, "")),
        artifact=model.artifact_uri,
        commit=model.labels.get(Labels.COMMIT, ""),
        verified=model.labels.get(Labels.VERIFIED) == "yes",
    )


def _live(endpoint: "Endpoint", versions: tuple[Version, ...]) -> Live:
    releases = {each.name.rpartition("/")[2]: each for each in versions}
    deployed = []
    for each in endpoint.deployed_models:
        key = f"{each.model.rpartition('/')[2].partition('@')[0]}@{each.model_version_id}"
        version = releases.get(key)
        deployed.append(
            Deployed(
                id=each.id,
                version=version.number if version else "",
                release=version.release if version else ReleaseLabel(""),
                share=endpoint.traffic_split.get(each.id, 0),
                created=each.create_time.timestamp() if each.create_time else 0.0,
            )
        )
    return Live(
        endpoint=endpoint.name,
        etag=endpoint.etag,
        labels=dict(endpoint.labels),
        deployed=tuple(deployed),
        versions=versions,
        updated=endpoint.update_time.timestamp() if endpoint.update_time else 0.0,
    )
