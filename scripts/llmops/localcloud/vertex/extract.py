"""The official API definitions, taken out of the installed client: messages, routes, operations.

google-cloud-aiplatform is generated from Google's own protos. What a server needs of them is spread
over the client; this program, run once for a version of it, gathers it in two files:

- `messages.binpb`: a FileDescriptorSet of every message that a request or an answer can hold;
- `routes.json`: each RPC's HTTP rule (from `transports/rest_base.py`), its request and response
  type (from the stubs that `transports/grpc.py` registers), and for a long-running operation what
  it ends in (from the call of `from_gapic` in `client.py`).
"""

import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

VERSIONS = ("v1", "v1beta1")
SERVICES = (
    "model_service",
    "endpoint_service",
    "prediction_service",
    "gen_ai_tuning_service",
    "job_service",
    "pipeline_service",
    "metadata_service",
    "vizier_service",
    "llm_utility_service",
)
MESSAGES, ROUTES = "messages.binpb", "routes.json"


class _Recording:
    """A channel that only remembers which stub was asked for with which types."""

    def __init__(self) -> None:
        self.stubs: dict[str, tuple[Any, Any, bool]] = {}

    def _kept(self, *, streaming: bool) -> Any:  # noqa: ANN401 - gRPC's own calling convention
        def stub(path: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> None:  # noqa: ANN401
            self.stubs[path] = (request_serializer, response_deserializer, streaming)

        return stub

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return self._kept(streaming=name.endswith("_stream"))


def extract(folder: Path) -> None:
    """Writes both files."""
    messages: dict[str, Any] = {}
    routes = [
        route
        for version in VERSIONS
        for service in SERVICES
        for route in _service_routes(version, service, messages)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MESSAGES).write_bytes(_descriptors(messages))
    (folder / ROUTES).write_text(json.dumps(routes, indent=0), encoding="utf-8")


def _service_routes(
    version: str, service: str, messages: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    package = f"google.cloud.aiplatform_{version}.services.{service}"
    transports = importlib.import_module(f"{package}.transports")
    client = importlib.import_module(f"{package}.client")
    rest = importlib.import_module(f"{package}.transports.rest_base")
    endings = dict(_operation_endings(client))
    channel = _Recording()
    stubs = _stubs(transports, channel)
    base = next(v for name, v in vars(rest).items() if re.fullmatch(r"_\w+RestTransport", name))
    for name, value in vars(base).items():
        if not (inspect.isclass(value) and hasattr(value, "_get_http_options")):
            continue
        rpc = name.removeprefix("_Base")
        rules = value._get_http_options()  # noqa: SLF001 - where the generator puts them
        full, types = stubs.get(rpc, (None, None))
        if full is None or types is None:
            continue  # a mixin
        request, response, streaming = types
        ending = endings.get(_snake(rpc), (None, None))
        for each in (request, response, *ending):
            if each is not None:
                messages[each.full_name] = each
        yield {
            "version": version,
            "service": full.split("/")[1].rsplit(".", 1)[1],
            "rpc": rpc,
            "request": request.full_name,
            "response": response.full_name,
            "streaming": streaming,
            "ends_in": ending[0].full_name if ending[0] else None,
            "metadata": ending[1].full_name if ending[1] else None,
            "rules": [
                {"method": rule["method"], "uri": rule["uri"], "body": rule.get("body")}
                for rule in rules
            ],
        }


def _stubs(
    transports: ModuleType, channel: _Recording
) -> dict[str, tuple[str, tuple[Any, Any, bool]]]:
    """RPC -> its full path, and the descriptors of request and response."""
    kind = next(value for name, value in vars(transports).items() if name.endswith("GrpcTransport"))
    transport = kind.__new__(kind)
    transport._stubs, transport._logged_channel, transport._grpc_channel = {}, channel, channel  # noqa: SLF001
    found = {}
    for name, value in vars(kind).items():
        if isinstance(value, property) and value.fget and not name.startswith("_"):
            before = set(channel.stubs)
            try:
                value.fget(transport)
            except AttributeError:
                continue  # not a stub
            for path in set(channel.stubs) - before:
                serializer, deserializer, streaming = channel.stubs[path]
                if not hasattr(serializer, "__self__"):
                    continue  # a mixin's, such as GetOperation: served for all services alike
                found[path.rsplit("/", 1)[1]] = (
                    path,
                    (_descriptor(serializer), _descriptor(deserializer), streaming),
                )
    return found


def _descriptor(function: Any) -> Any:  # noqa: ANN401 - proto-plus's or protobuf's
    """The message descriptor behind a bound `serialize`, `deserialize` or `FromString`."""
    return _message_descriptor(function.__self__)


def _message_descriptor(kind: Any) -> Any:  # noqa: ANN401 - as above
    return kind.pb().DESCRIPTOR if hasattr(kind, "pb") and callable(kind.pb) else kind.DESCRIPTOR


def _operation_endings(client: ModuleType) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Method -> what its operation ends in, and the metadata beside it."""
    kind = next(
        value
        for name, value in vars(client).items()
        if name.endswith("ServiceClient") and inspect.isclass(value)
    )
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    for method in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
        for call in (each for each in ast.walk(method) if isinstance(each, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "from_gapic"):
                continue
            metadata = next((k.value for k in call.keywords if k.arg == "metadata_type"), None)
            named = [_resolved(client, node) for node in (call.args[2], metadata) if node]
            yield method.name, (named[0], named[1] if len(named) > 1 else None)


def _resolved(module: ModuleType, node: ast.expr) -> Any:  # noqa: ANN401 - a descriptor
    value: Any = module
    for part in ast.unparse(node).split("."):
        value = getattr(value, part)
    return _message_descriptor(value)


def _descriptors(messages: dict[str, Any]) -> bytes:
    """Every file that the messages need, those which others import first."""
    from google.longrunning import operations_pb2
    from google.protobuf import descriptor_pb2
    from google.rpc import error_details_pb2

    files: dict[str, Any] = {}

    def add(file: Any) -> None:  # noqa: ANN401 - a FileDescriptor
        if file.name not in files:
            for needed in file.dependencies:
                add(needed)
            files[file.name] = file

    for message in messages.values():
        add(message.file)
    add(operations_pb2.DESCRIPTOR)
    add(error_details_pb2.DESCRIPTOR)
    found = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return bytes(found.SerializeToString())


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


if __name__ == "__main__":
    extract(Path(sys.argv[1]))
