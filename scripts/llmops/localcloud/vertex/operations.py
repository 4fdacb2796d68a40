"""Long-running operations: kept like any resource, polled by the real clients (AIP-151)."""

import json
import re
import threading
from collections.abc import Callable, Mapping

from llmops.localcloud.vertex.errors import ApiError, not_found
from llmops.localcloud.vertex.store import Document, Store, new_id, place, timestamp
from llmops.localcloud.vertex.wire import Call

Work = Callable[[Document], Document]
"""The request -> what the operation ends in. Raises ApiError where it fails."""


class Operations:
    """Starts work, remembers what became of it."""

    def __init__(self, store: Store, jobs: Mapping[str, Work]) -> None:
        """`jobs`: by the RPC's name, under which they are found again after a restart."""
        self._store = store
        self._jobs = jobs
        self._stuck: set[str] = set()

    def finished(self, call: Call, response: Document) -> Document:
        """An operation that was done at once, kept; `response` is what it ended in."""
        made = self._new(call)
        return self._shown(self._store.put({**made, **_ending(made, response)}))

    def start(self, call: Call) -> Document:
        """An operation that goes on in the background."""
        kept = self._store.put(self._new(call))
        self._run_later(kept)
        return self._shown(kept)

    def resume(self) -> None:
        """After a restart: what was running goes on."""
        for kept in self._store.everywhere("operations"):
            if not kept.get("done"):
                self._run_later(kept)

    def get(self, name: str) -> Document:
        """The operation. Raises ApiError where there is none."""
        kept = self._store.get(_canonical(name))
        if kept is None:
            raise not_found(name)
        return self._shown(kept)

    def listed(self, parent: str) -> list[Document]:
        """Those of a location."""
        return [self._shown(each) for each in self._store.children(parent, "operations")]

    def cancel(self, name: str) -> None:
        """Marks it as cancelled, unless it is done."""
        with self._store.transaction():
            kept = self._store.get(_canonical(name))
            if kept is None:
                raise not_found(name)
            if not kept.get("done"):
                cancelled = ApiError("CANCELLED", "cancelled by request")
                self._store.put({**kept, "done": True, "error": cancelled.rpc_status})

    def never_end(self, job: str) -> None:
        """A fault for tests: the next operation of this kind goes on for ever."""
        self._stuck.add(job)

    def _new(self, call: Call) -> Document:
        named = re.search(r"projects/[^/]+/locations/[^/\"]+", json.dumps(call.request))
        location = named[0] if named else "projects/-/locations/-"
        prefix = "type.googleapis.com/"
        now = timestamp()
        return {
            "name": f"{location}/operations/{new_id()}",
            "done": False,
            "metadata": {
                "@type": f"{prefix}{call.rpc.metadata}",
                "genericMetadata": {"createTime": now, "updateTime": now},
            },
            "_job": call.rpc.name,
            "_type": f"{prefix}{call.rpc.ends_in}",
            "_request": call.request,
        }

    def _run_later(self, kept: Document) -> None:
        threading.Thread(target=self._run, args=(kept,), daemon=True).start()

    def _run(self, kept: Document) -> None:
        if kept["_job"] in self._stuck:
            self._stuck.discard(kept["_job"])
            return
        try:
            ending = _ending(kept, self._jobs[kept["_job"]](kept["_request"]))
        except ApiError as error:
            ending = {"done": True, "error": error.rpc_status}
        except Exception as error:  # noqa: BLE001 - the operation must end, whatever happened
            ending = {"done": True, "error": ApiError("INTERNAL", str(error)).rpc_status}
        with self._store.transaction():
            current = self._store.get(kept["name"])
            if current is not None and not current.get("done"):
                self._store.put({**current, **ending})

    def _shown(self, kept: Document) -> Document:
        shown = ("name", "done", "metadata", "response", "error")
        return {key: kept[key] for key in shown if key in kept}


def _ending(kept: Document, response: Document) -> Document:
    return {"done": True, "response": {"@type": kept["_type"], **response}}


def _canonical(name: str) -> str:
    """Operations are served under their location and under the resource that they are about."""
    _, _, identifier = place(name)
    return "/".join([*name.split("/")[:4], "operations", identifier])
