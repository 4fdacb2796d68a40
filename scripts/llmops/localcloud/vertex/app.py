"""The HTTP side of the local Vertex AI: official messages in, official messages out."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops.localcloud.vertex import definitions, wire
from llmops.localcloud.vertex.endpoints import Endpoints
from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.faults import Faults
from llmops.localcloud.vertex.operations import Operations
from llmops.localcloud.vertex.predict import Prediction
from llmops.localcloud.vertex.publisher import Publisher, check_publisher_model
from llmops.localcloud.vertex.registry import Registry
from llmops.localcloud.vertex.replicas import Replicas, base_environment
from llmops.localcloud.vertex.requestlog import RequestLog
from llmops.localcloud.vertex.standard import Standard
from llmops.localcloud.vertex.store import Document, Store
from llmops.localcloud.vertex.tuning import TuningJobs, without_tuner
from llmops.localcloud.vertex.wire import Call

_VERSIONS = ("v1", "v1beta1", "ui")
"""The clients poll operations under `ui` as well: it is the first rule that their name fits."""
_RAW = ("PredictionService.RawPredict",)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the service is, and what it stands beside."""

    folder: Path
    """Its state."""
    address: str
    """Its own, for the containers that it starts."""
    storage: str
    buckets: dict[str, str]
    """Project -> bucket: where request-response logs go."""
    model: str = ""
    """Where containers ask their model, if not here."""


class Vertex:
    """All parts, put together."""

    def __init__(self, settings: Settings) -> None:
        self.definitions = definitions.load()
        self.store = Store(settings.folder / "vertex.sqlite")
        self.standard = Standard(definitions=self.definitions, store=self.store)
        self.replicas = Replicas(
            settings.folder / "logs",
            self.store,
            base_environment(settings.model or settings.address, settings.storage),
        )
        self.registry = Registry(store=self.store, standard=self.standard)
        self.endpoints = Endpoints(
            store=self.store,
            standard=self.standard,
            registry=self.registry,
            replicas=self.replicas,
        )
        jobs = {
            "EndpointService.DeployModel": self.endpoints.deploy,
            "EndpointService.UndeployModel": self.endpoints.undeploy,
        }
        self.operations = Operations(self.store, jobs)
        self.faults = Faults(self.operations)
        self.tuning = TuningJobs(
            store=self.store,
            standard=self.standard,
            tuner=without_tuner(self.faults.tuned_models),
        )
        self.log = RequestLog(settings.storage, settings.buckets)
        self.prediction = Prediction(self.endpoints, self.log)
        self.publisher = Publisher()
        self.seen: dict[str, set[str]] = {}
        self._handlers = self._by_hand()

    # --- what is written by hand

    def _by_hand(self) -> dict[str, Callable[[Call], Document]]:
        """RPC -> what it does; all others are standard methods, or not implemented."""
        endpoints, registry, finished = self.endpoints, self.registry, self.operations.finished
        return {
            "EndpointService.CreateEndpoint": lambda c: finished(c, endpoints.create(c.request)),
            "EndpointService.UpdateEndpoint": endpoints.update,
            "EndpointService.DeleteEndpoint": lambda c: finished(c, endpoints.delete(c.request)),
            "EndpointService.DeployModel": self._deploy,
            "EndpointService.UndeployModel": self._undeploy,
            "EndpointService.MutateDeployedModel": lambda c: finished(
                c, endpoints.mutate(c.request)
            ),
            "ModelService.UploadModel": lambda c: finished(c, registry.upload(c.request)),
            "ModelService.GetModel": lambda c: registry.get(c.field("name")),
            "ModelService.ListModels": registry.listed,
            "ModelService.ListModelVersions": registry.versions,
            "ModelService.UpdateModel": registry.update,
            "ModelService.MergeVersionAliases": registry.merge_aliases,
            "ModelService.DeleteModel": lambda c: finished(c, registry.delete(c.request)),
            "ModelService.DeleteModelVersion": lambda c: finished(
                c, registry.delete_version(c.request)
            ),
            "GenAiTuningService.CreateTuningJob": self.tuning.create,
            "GenAiTuningService.CancelTuningJob": lambda c: self.tuning.cancel(c.request),
        }

    def _deploy(self, call: Call) -> Document:
        self.endpoints.check_deploy(call)
        return self.operations.start(call)

    def _undeploy(self, call: Call) -> Document:
        self.standard.get(call.field("endpoint"))
        return self.operations.start(call)

    def implements(self, name: str) -> bool:
        """Whether the RPC `Service.Method` answers otherwise than with 501."""
        rpc = next(each for each in self.definitions.rpcs if each.name == name)
        by_hand = name in self._handlers or name in _ASYNC or name in _RAW
        return by_hand or self.standard.handles(rpc)

    # --- requests

    async def api(self, request: Request) -> Response:
        """Any call of any service."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return JSONResponse(error.body, error.code)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        operation = _operation(path)
        if operation is not None:
            self.faults.check("Operations")
            return await run_in_threadpool(self._operation, request.method, *operation)
        found = self.definitions.match(request.method, path)
        if found is None:
            message = f"the local Vertex AI knows no {request.method} {path}"
            raise ApiError("NOT_FOUND", message)
        rule, values = found
        self.faults.check(rule.rpc.name)
        content = await request.body()
        if rule.rpc.name in _RAW and "/publishers/" not in path:
            return await self.prediction.raw_predict(values[0], content)
        query = request.query_params.multi_items()
        call = wire.read(self.definitions, rule, values, query, content)
        self.seen.setdefault(rule.rpc.name, set()).update(wire.fields(call.request))
        handler = _ASYNC.get(rule.rpc.name)
        if handler is not None:
            return await handler(self, call)
        document = await run_in_threadpool(self._document, call)
        integers = "enum-encoding=int" in request.query_params.get("$alt", "")
        shown = (
            document
            if rule.rpc.ends_in
            else wire.write(self.definitions, rule.rpc.response, document, integers=integers)
        )
        return JSONResponse(shown)

    def _document(self, call: Call) -> Document:
        handler = self._handlers.get(call.rpc.name)
        if handler is not None:
            return handler(call)
        if not self.standard.handles(call.rpc):
            message = (
                f"the local Vertex AI does not implement {call.rpc.name}: see docs/local-vertex.md"
            )
            raise ApiError("UNIMPLEMENTED", message)
        document = self.standard.answer(call)
        return self.operations.finished(call, document) if call.rpc.ends_in else document

    def _operation(self, method: str, name: str, verb: str) -> Response:
        if verb == "cancel":
            self.operations.cancel(name)
            return JSONResponse({})
        if method == "DELETE":
            self.operations.get(name)
            self.store.delete(name)
            return JSONResponse({})
        if name.endswith("/operations"):
            parent = name.removesuffix("/operations")
            return JSONResponse({"operations": self.operations.listed(parent)})
        return JSONResponse(self.operations.get(name))

    async def generate(self, call: Call) -> Response:
        """GenerateContent and its stream, on publisher models and on endpoints."""
        await self._check_generates(call)
        stream = call.rpc.streaming
        if not stream or call.rpc.rpc.startswith("Stream"):
            return await self.publisher.generate(call.request, stream=stream)
        raise ApiError("UNIMPLEMENTED", call.rpc.name)

    async def count_tokens(self, call: Call) -> Response:
        """CountTokens."""
        await self._check_generates(call)
        return await self.publisher.count_tokens(call.request)

    async def predict(self, call: Call) -> Response:
        """Predict."""
        if "/publishers/" in call.field("endpoint"):
            raise ApiError("UNIMPLEMENTED", "predict on publisher models")
        return await self.prediction.predict(call.field("endpoint"), call.request)

    async def _check_generates(self, call: Call) -> None:
        name = call.field("model") or call.field("endpoint")
        if "/endpoints/" not in name:
            check_publisher_model(name)
            return
        _, deployed = await run_in_threadpool(self.endpoints.choose, name)
        version = self.registry.get(f"{deployed['model']}@{deployed['modelVersionId']}")
        if version.get("containerSpec"):
            message = f"{name} serves a custom container: it takes predict, not generateContent"
            raise ApiError("FAILED_PRECONDITION", message)

    # --- beside the API

    async def healthy(self, _: Request) -> Response:
        """For whoever waits for the start."""
        return JSONResponse({"status": "ok"})

    async def stats(self, _: Request) -> Response:
        """What the model was asked since the start."""
        busy = self.publisher.busy_seconds
        return JSONResponse({"calls": self.publisher.calls, "busy_seconds": busy})

    async def fields(self, _: Request) -> Response:
        """RPC -> the fields that its callers have sent since the start."""
        return JSONResponse({name: sorted(found) for name, found in sorted(self.seen.items())})

    async def plan_fault(self, request: Request) -> Response:
        """See Faults.plan."""
        self.faults.plan(json.loads(await request.body()))
        return JSONResponse({})

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """What was running before goes on; at the end nothing is left running."""
        self.replicas.end_orphans()
        self.operations.resume()
        self.tuning.resume()
        restarting = run_in_threadpool(self.endpoints.restart_all)
        await restarting
        yield
        await run_in_threadpool(self.replicas.stop_all)
        await run_in_threadpool(self.log.close)


_ASYNC: dict[str, Callable[[Vertex, Call], Awaitable[Response]]] = {
    "PredictionService.GenerateContent": Vertex.generate,
    "PredictionService.StreamGenerateContent": Vertex.generate,
    "PredictionService.CountTokens": Vertex.count_tokens,
    "LlmUtilityService.CountTokens": Vertex.count_tokens,
    "PredictionService.Predict": Vertex.predict,
}


def _operation(path: str) -> tuple[str, str] | None:
    """Name and verb, where the path is one of long-running operations."""
    version, _, rest = path.lstrip("/").partition("/")
    name, _, verb = rest.partition(":")
    parts = name.split("/")
    if version in _VERSIONS and "operations" in (parts[-1], *parts[-2:-1]):
        return name, verb
    return None


def make_app(settings: Settings) -> Starlette:
    """The application."""
    vertex = Vertex(settings)
    methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
    return Starlette(
        routes=[
            Route("/healthz", vertex.healthy),
            Route("/_local/stats", vertex.stats),
            Route("/_local/fields", vertex.fields),
            Route("/_local/faults", vertex.plan_fault, methods=["POST"]),
            Route("/{path:path}", vertex.api, methods=methods),
        ],
        lifespan=vertex.lifespan,
    )
