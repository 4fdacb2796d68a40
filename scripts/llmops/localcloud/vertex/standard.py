"""Create, Get, List, Update, Delete of any resource, by Google's API conventions (AIP-131…135)."""

import re
from dataclasses import dataclass

from llmops.localcloud.vertex import query
from llmops.localcloud.vertex.definitions import Definitions, Rpc
from llmops.localcloud.vertex.errors import ApiError, not_found
from llmops.localcloud.vertex.store import Document, Store, new_id
from llmops.localcloud.vertex.wire import Call

# Creating one of these starts a computation: a record that nothing works on would be a lie.
_COMPUTES = re.compile(r"Create(\w*Job|\w*Pipeline|BatchCreate\w*)")
_STANDARD = re.compile(r"(Create|Get|List|Update|Delete)([A-Z]\w+)")
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Standard:
    """The generic half of the service."""

    definitions: Definitions
    store: Store

    def handles(self, rpc: Rpc) -> bool:
        """Whether the RPC is a standard method of a resource that computes nothing."""
        found = _STANDARD.fullmatch(rpc.rpc)
        custom = any(":" in rule["uri"].rpartition("}")[2] for rule in rpc.rules)
        if not found or custom or _COMPUTES.fullmatch(rpc.rpc) or rpc.streaming:
            return False
        if found[1] in ("Get", "Delete", "Update"):
            return "name=" in rpc.rules[0]["uri"] or ".name=" in rpc.rules[0]["uri"]
        return "{parent=" in rpc.rules[0]["uri"]

    def answer(self, call: Call) -> Document:
        """The resource, the page of a list, or nothing. Raises ApiError."""
        verb = _STANDARD.fullmatch(call.rpc.rpc)
        kind = verb[1] if verb else ""
        if kind == "Create":
            return self.create(call)
        if kind == "Get":
            return self.get(call.field("name"))
        if kind == "List":
            return self.listed(call)
        if kind == "Update":
            return self.update(call)
        self.get(call.field("name"))
        self.store.delete(call.field("name"))
        return {}

    def get(self, name: str) -> Document:
        """The resource of that name."""
        found = self.store.get(name)
        if found is None:
            raise not_found(name)
        return found

    def create(self, call: Call) -> Document:
        """A new resource under the id that was wished for, or one of its own."""
        field, identifier = "", ""
        for name, value in call.request.items():
            if isinstance(value, dict):
                field = name
        for name, value in call.request.items():
            if name.endswith("Id") and isinstance(value, str):
                identifier = value
        if identifier and not _ID.fullmatch(identifier):
            raise ApiError("INVALID_ARGUMENT", f"{identifier!r} is not a valid id")
        collection = call.uri.rpartition("/")[2]
        name = f"{call.field('parent')}/{collection}/{identifier or new_id()}"
        with self.store.transaction():
            if self.store.get(name) is not None:
                raise ApiError("ALREADY_EXISTS", f"{name} already exists")
            return self.store.put({**call.request.get(field, {}), "name": name})

    def listed(self, call: Call) -> Document:
        """A page of the collection."""
        collection = call.uri.rpartition("/")[2]
        return self.paged(call, self.store.children(call.field("parent"), collection))

    def paged(self, call: Call, documents: list[Document]) -> Document:
        """A page of these documents, as the response of a List method."""
        request = call.request
        wanted = query.matcher(call.field("filter"))
        found = query.ordered([d for d in documents if wanted(d)], call.field("orderBy"))
        asked = repr([request.get(key) for key in ("parent", "name", "filter", "orderBy")])
        documents, token = query.page(
            found, int(request.get("pageSize") or 0), call.field("pageToken"), asked
        )
        fields = self.definitions.message(call.rpc.response).DESCRIPTOR.fields
        field = next(each.json_name for each in fields if each.message_type is not None)
        return {field: documents, **({"nextPageToken": token} if token else {})}

    def update(self, call: Call) -> Document:
        """The resource with the masked fields changed; refused when the etag is an older one."""
        change = next(value for value in call.request.values() if isinstance(value, dict))
        with self.store.transaction():
            current = self.get(change["name"])
            check_etag(current, change)
            mask = call.field("updateMask")
            return self.store.put(query.masked(current, change, mask))


def check_etag(current: Document, change: Document) -> None:
    """Raises ApiError when the change was made to an older state (AIP-154)."""
    if change.get("etag") and change["etag"] != current["etag"]:
        raise ApiError(
            "ABORTED", f"{current['name']} was changed meanwhile: the etag is not current"
        )
