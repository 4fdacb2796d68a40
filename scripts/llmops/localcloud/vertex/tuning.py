"""Supervised tuning jobs: their states. What computes, the tuner, is handed in."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.standard import Standard
from llmops.localcloud.vertex.store import Document, Store, new_id, timestamp
from llmops.localcloud.vertex.wire import Call

Tuner = Callable[[Document], str]
"""Tuning job -> the model that it made. Raises ApiError where it fails."""

_RUNNING = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")


def without_tuner(planned: list[str]) -> Tuner:
    """Until there is one: a job makes what was planned for it, or fails and says why."""
    return lambda _: planned.pop(0) if planned else _none()


def _none() -> str:
    raise ApiError("UNIMPLEMENTED", "the local cloud has no tuner: tune in a Google Cloud project")


@dataclass(frozen=True, kw_only=True)
class TuningJobs:
    """GenAiTuningService."""

    store: Store
    standard: Standard
    tuner: Tuner

    def create(self, call: Call) -> Document:
        """A job that goes on in the background."""
        job = dict(call.request["tuningJob"])
        if not job.get("baseModel") or "supervisedTuningSpec" not in job:
            message = "tuning_job needs base_model and supervised_tuning_spec"
            raise ApiError("INVALID_ARGUMENT", message)
        name = f"{call.field('parent')}/tuningJobs/{new_id()}"
        kept = self.store.put({**job, "name": name, "state": _RUNNING[0]})
        self._later(name)
        return kept

    def cancel(self, request: Document) -> Document:
        """Cancels a job that is not done."""
        with self.store.transaction():
            job = self.standard.get(request["name"])
            if job["state"] in _RUNNING:
                self.store.put({**job, "state": "JOB_STATE_CANCELLED", "endTime": timestamp()})
        return {}

    def resume(self) -> None:
        """After a restart: what was running starts again."""
        for job in self.store.everywhere("tuningJobs"):
            if job["state"] in _RUNNING:
                self._later(job["name"])

    def _later(self, name: str) -> None:
        threading.Thread(target=self._run, args=(name,), daemon=True).start()

    def _run(self, name: str) -> None:
        job = self.standard.get(name)
        job = self.store.put({**job, "state": _RUNNING[1], "startTime": timestamp()})
        ending: Document
        try:
            ending = {"state": "JOB_STATE_SUCCEEDED", "tunedModel": {"model": self.tuner(job)}}
        except ApiError as error:
            ending = {"state": "JOB_STATE_FAILED", "error": error.rpc_status}
        with self.store.transaction():
            current = self.store.get(name)
            if current is not None and current["state"] in _RUNNING:
                self.store.put({**current, **ending, "endTime": timestamp()})
