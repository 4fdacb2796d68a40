"""Endpoints: which model versions answer behind an address, and at which share of the traffic."""

import random
from dataclasses import dataclass

from llmops.localcloud.vertex import query
from llmops.localcloud.vertex.errors import ApiError, not_found
from llmops.localcloud.vertex.registry import Registry, check_labels
from llmops.localcloud.vertex.replicas import Replicas
from llmops.localcloud.vertex.standard import Standard, check_etag
from llmops.localcloud.vertex.store import Document, Store, new_id, timestamp
from llmops.localcloud.vertex.wire import Call

_NEW = "0"
"""In the traffic split of a DeployModel request: the model that is being deployed."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """EndpointService's half that computes."""

    store: Store
    standard: Standard
    registry: Registry
    replicas: Replicas

    def create(self, request: Document) -> Document:
        """A new endpoint, empty."""
        endpoint = dict(request["endpoint"])
        check_labels(endpoint.get("labels", {}))
        for key in ("deployedModels", "trafficSplit"):
            endpoint.pop(key, None)
        name = f"{request['parent']}/endpoints/{request.get('endpointId') or new_id()}"
        with self.store.transaction():
            if self.store.get(name) is not None:
                raise ApiError("ALREADY_EXISTS", f"{name} already exists")
            return self.store.put({**endpoint, "name": name})

    def update(self, call: Call) -> Document:
        """Labels, traffic split, logging: whatever the mask names, at once."""
        change = call.request["endpoint"]
        with self.store.transaction():
            current = self.standard.get(change["name"])
            check_etag(current, change)
            changed = query.masked(current, change, call.field("updateMask"))
            check_labels(changed.get("labels", {}))
            _check_split(changed)
            return self.store.put(changed)

    def delete(self, request: Document) -> Document:
        """Removes an empty endpoint."""
        with self.store.transaction():
            endpoint = self.standard.get(request["name"])
            if endpoint.get("deployedModels"):
                message = "Endpoint has deployed or being-deployed DeployedModel(s)"
                raise ApiError("FAILED_PRECONDITION", message)
            self.store.delete(request["name"])
        return {}

    def deploy(self, request: Document) -> Document:
        """Starts the version's container, waits for its health, then gives it its share.

        Done again for the same id, as after a restart, it ends in the same state.
        """
        name, wanted = request["endpoint"], dict(request["deployedModel"])
        self.standard.get(name)
        version = self.registry.get(wanted["model"])
        identifier = wanted.get("id") or new_id()
        if self._deployed(self.standard.get(name), identifier) is None:
            self._start(name, identifier, version)
        with self.store.transaction():
            endpoint = self.standard.get(name)
            deployed = {
                **wanted,
                "id": identifier,
                "model": version["name"],
                "modelVersionId": version["versionId"],
                "createTime": timestamp(),
            }
            others = [d for d in endpoint.get("deployedModels", []) if d["id"] != identifier]
            endpoint["deployedModels"] = [*others, deployed]
            split = request.get("trafficSplit") or (
                endpoint.get("trafficSplit") or ({_NEW: 100} if not others else {})
            )
            endpoint["trafficSplit"] = {
                (identifier if key == _NEW else key): share for key, share in split.items()
            }
            _check_split(endpoint)
            self.store.put(endpoint)
        return {"deployedModel": deployed}

    def check_deploy(self, call: Call) -> None:
        """What is refused before an operation is started."""
        request = call.request
        endpoint = self.standard.get(request["endpoint"])
        wanted = request["deployedModel"]
        self.registry.get(wanted.get("model", ""))
        if self._deployed(endpoint, wanted.get("id", "")) is not None:
            message = f"there is a deployed model {wanted['id']} already"
            raise ApiError("ALREADY_EXISTS", message)
        split = request.get("trafficSplit")
        if split:
            known = {each["id"] for each in endpoint.get("deployedModels", [])} | {_NEW}
            _check_shares(split, known)

    def undeploy(self, request: Document) -> Document:
        """Takes its traffic away, drains it, stops it."""
        name, identifier = request["endpoint"], request["deployedModelId"]
        with self.store.transaction():
            endpoint = self.standard.get(name)
            if self._deployed(endpoint, identifier) is None:
                raise not_found(f"the deployed model {identifier}")
            rest = [d for d in endpoint["deployedModels"] if d["id"] != identifier]
            split = request.get("trafficSplit") or endpoint.get("trafficSplit", {})
            if rest and split.get(identifier):
                message = f"{identifier} has traffic: give it to another model first"
                raise ApiError("FAILED_PRECONDITION", message)
            endpoint["deployedModels"] = rest
            endpoint["trafficSplit"] = {k: v for k, v in split.items() if k != identifier and rest}
            _check_split(endpoint)
            self.store.put(endpoint)
        self.replicas.stop(f"{name}/{identifier}")
        return {}

    def mutate(self, request: Document) -> Document:
        """Changes the resources of a deployed model."""
        with self.store.transaction():
            endpoint = self.standard.get(request["endpoint"])
            wanted = request["deployedModel"]
            current = self._deployed(endpoint, wanted["id"])
            if current is None:
                raise not_found(f"the deployed model {wanted['id']}")
            change = {key: value for key, value in wanted.items() if key != "id"}
            changed = query.masked(current, change, request.get("updateMask", ""))
            endpoint["deployedModels"] = [
                changed if each["id"] == wanted["id"] else each
                for each in endpoint["deployedModels"]
            ]
            self.store.put(endpoint)
        return {"deployedModel": changed}

    def choose(self, name: str) -> tuple[Document, Document]:
        """The endpoint, and the deployed model that this request goes to, by the traffic split.

        Raises ApiError where nothing is deployed.
        """
        endpoint = self.standard.get(name)
        split = {key: share for key, share in endpoint.get("trafficSplit", {}).items() if share}
        if not split:
            raise ApiError("FAILED_PRECONDITION", f"{name} has no traffic on any deployed model")
        (chosen,) = random.choices(list(split), weights=list(split.values()))  # noqa: S311 - no secret
        deployed = self._deployed(endpoint, chosen)
        if deployed is None:
            raise ApiError("INTERNAL", f"the traffic split names {chosen}, which is not deployed")
        return endpoint, deployed

    def restart_all(self) -> None:
        """After a restart: every deployed model has its container again."""
        for endpoint in self.store.everywhere("endpoints"):
            for each in endpoint.get("deployedModels", []):
                version = self.registry.get(f"{each['model']}@{each['modelVersionId']}")
                self._start(endpoint["name"], each["id"], version)

    def _start(self, name: str, identifier: str, version: Document) -> None:
        if version.get("containerSpec"):
            self.replicas.start(f"{name}/{identifier}", version)

    def _deployed(self, endpoint: Document, identifier: str) -> Document | None:
        found = endpoint.get("deployedModels", [])
        return next((each for each in found if each["id"] == identifier), None)


def _check_split(endpoint: Document) -> None:
    split = endpoint.get("trafficSplit") or {}
    if split:
        _check_shares(split, {each["id"] for each in endpoint.get("deployedModels", [])})


def _check_shares(split: dict[str, int], known: set[str]) -> None:
    unknown = sorted(set(split) - known)
    if unknown:
        message = f"the traffic split names {unknown[0]}, which is not deployed"
        raise ApiError("INVALID_ARGUMENT", message)
    total = sum(split.values())
    if total != 100 or any(share < 0 for share in split.values()):
        raise ApiError("INVALID_ARGUMENT", f"the traffic split sums to {total}, not to 100")
