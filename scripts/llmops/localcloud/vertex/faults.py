"""Faults on demand, so that tests can see what the clients make of them."""

import threading

from llmops.localcloud.vertex.errors import ApiError, of_code
from llmops.localcloud.vertex.operations import Operations
from llmops.localcloud.vertex.store import Document


class Faults:
    """What the next calls fail with."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._lock = threading.Lock()
        self._planned: dict[str, list[int]] = {}
        self.tuned_models: list[str] = []
        """What the next tuning jobs make."""

    def plan(self, wanted: Document) -> None:
        """`{"rpc": "EndpointService.DeployModel", "status": 503, "count": 2}`.

        Or `{"rpc": …, "never_ends": true}`: the next operation of that kind goes on for ever. Or
        `{"rpc": "GenAiTuningService.CreateTuningJob", "tuned_model": NAME}`: the next job succeeds.
        """
        if "tuned_model" in wanted:
            self.tuned_models.append(wanted["tuned_model"])
            return
        if wanted.get("never_ends"):
            self._operations.never_end(wanted["rpc"])
            return
        with self._lock:
            self._planned[wanted["rpc"]] = [int(wanted["status"])] * int(wanted.get("count", 1))

    def check(self, rpc: str) -> None:
        """Raises ApiError when this call is to fail."""
        with self._lock:
            planned = self._planned.get(rpc)
            status = planned.pop() if planned else None
        if status is not None:
            error: ApiError = of_code(status, "a fault that was asked for")
            raise error
