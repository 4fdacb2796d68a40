"""The model registry: versions of a model, their aliases, which one is the default."""

import re
from dataclasses import dataclass

from llmops.localcloud.vertex import query
from llmops.localcloud.vertex.errors import ApiError, not_found
from llmops.localcloud.vertex.standard import Standard, check_etag
from llmops.localcloud.vertex.store import Document, Store, new_id, timestamp
from llmops.localcloud.vertex.wire import Call

DEFAULT = "default"
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]|[a-z]")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """ModelService. A version is a document of its own, under `models/ID/versions/N`."""

    store: Store
    standard: Standard

    def upload(self, request: Document) -> Document:
        """A new model, or a new version of the one that `parentModel` names."""
        model = dict(request["model"])
        check_labels(model.get("labels", {}))
        aliases = list(model.get("versionAliases", []))
        for alias in aliases:
            _check_alias(alias)
        with self.store.transaction():
            parent = request.get("parentModel", "").partition("@")[0]
            if parent and not self._versions(parent):
                raise not_found(parent)
            name = parent or f"{request['parent']}/models/{request.get('modelId') or new_id()}"
            existing = self._versions(name)
            if existing and not parent:
                raise ApiError("ALREADY_EXISTS", f"{name} already exists")
            number = str(max((int(each["versionId"]) for each in existing), default=0) + 1)
            if not existing or DEFAULT in aliases:
                aliases = [DEFAULT, *(each for each in aliases if each != DEFAULT)]
            self._take_aliases(existing, aliases)
            self.store.put(
                {
                    "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
                    **model,
                    "name": f"{name}/versions/{number}",
                    "versionId": number,
                    "versionAliases": aliases,
                    "versionCreateTime": timestamp(),
                }
            )
        return {"model": name, "modelVersionId": number}

    def get(self, name: str) -> Document:
        """A version by `models/ID`, `models/ID@2` or `models/ID@alias`. Raises ApiError."""
        return self._shown(self._found(name))

    def listed(self, call: Call) -> Document:
        """The default version of each model."""
        found = self.store.children(f"{call.field('parent')}/models/*", "versions")
        return self.standard.paged(
            call, [self._shown(each) for each in found if DEFAULT in each["versionAliases"]]
        )

    def versions(self, call: Call) -> Document:
        """All versions of one model."""
        name = call.field("name").partition("@")[0]
        found = self._versions(name)
        if not found:
            raise not_found(name)
        return self.standard.paged(call, [self._shown(each) for each in found])

    def update(self, call: Call) -> Document:
        """A version with the masked fields changed."""
        change = call.request["model"]
        with self.store.transaction():
            current = self._found(change["name"])
            check_etag(current, change)
            changed = query.masked(current, change, call.field("updateMask"))
            check_labels(changed.get("labels", {}))
            return self._shown(self.store.put({**changed, "versionUpdateTime": timestamp()}))

    def merge_aliases(self, call: Call) -> Document:
        """Adds aliases, takes away those that start with a minus."""
        with self.store.transaction():
            target = self._found(call.field("name"))
            added = [each for each in call.request["versionAliases"] if not each.startswith("-")]
            removed = [each[1:] for each in call.request["versionAliases"] if each.startswith("-")]
            if DEFAULT in removed:
                raise ApiError("INVALID_ARGUMENT", "the alias default can only be moved")
            for alias in added:
                _check_alias(alias)
            name = _model(target["name"])
            self._take_aliases(self._versions(name), added)
            target = self._found(f"{name}@{target['versionId']}")
            kept = [each for each in target["versionAliases"] if each not in (*removed, *added)]
            return self._shown(self.store.put({**target, "versionAliases": [*kept, *added]}))

    def delete(self, request: Document) -> Document:
        """Removes a model and its versions, unless one is deployed."""
        name = request["name"].partition("@")[0]
        found = self._versions(name)
        if not found:
            raise not_found(name)
        for version in found:
            self._refuse_deployed(version)
        self.store.delete(name)
        return {}

    def delete_version(self, request: Document) -> Document:
        """Removes one version: not the default one, not a deployed one."""
        version = self._found(request["name"])
        if DEFAULT in version["versionAliases"]:
            message = "the default version cannot be deleted: move the alias first"
            raise ApiError("FAILED_PRECONDITION", message)
        self._refuse_deployed(version)
        self.store.delete(version["name"])
        return {}

    def _refuse_deployed(self, version: Document) -> None:
        model = _model(version["name"])
        for endpoint in self.store.everywhere("endpoints"):
            for each in endpoint.get("deployedModels", []):
                if (each["model"], each["modelVersionId"]) == (model, version["versionId"]):
                    message = f"{model} is deployed to {endpoint['name']}: undeploy it first"
                    raise ApiError("FAILED_PRECONDITION", message)

    def _versions(self, name: str) -> list[Document]:
        found = self.store.children(name, "versions")
        return sorted(found, key=lambda each: int(each["versionId"]))

    def _found(self, name: str) -> Document:
        model, _, wanted = name.partition("@")
        for each in self._versions(model):
            if each["versionId"] == wanted or (wanted or DEFAULT) in each["versionAliases"]:
                return each
        raise not_found(name)

    def _take_aliases(self, versions: list[Document], aliases: list[str]) -> None:
        """An alias is of one version: the others lose it."""
        for each in versions:
            kept = [alias for alias in each["versionAliases"] if alias not in aliases]
            if kept != each["versionAliases"]:
                self.store.put({**each, "versionAliases": kept})

    def _shown(self, version: Document) -> Document:
        return {**version, "name": _model(version["name"])}


def check_labels(labels: dict[str, str]) -> None:
    """Raises ApiError for what Google Cloud takes as no label: at most 64, lower case, 63 long."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ApiError("INVALID_ARGUMENT", f"invalid label {key!r}: {value!r}")
    if len(labels) > 64:
        raise ApiError("INVALID_ARGUMENT", "more than 64 labels")


def _check_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise ApiError("INVALID_ARGUMENT", f"invalid version alias {alias!r}")


def _model(name: str) -> str:
    return name.partition("/versions/")[0]
