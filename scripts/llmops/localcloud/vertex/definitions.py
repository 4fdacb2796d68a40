"""Which calls Vertex AI knows: paths, messages, what an operation ends in."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from llmops.errors import MachineryError
from llmops.localcloud.vertex import extract


@dataclass(frozen=True, kw_only=True)
class Rpc:
    """One method of one service."""

    version: str
    """v1 or v1beta1."""
    service: str
    rpc: str
    request: str
    """The full name of its message."""
    response: str
    streaming: bool
    ends_in: str | None
    """What its operation ends in; None where it is no long-running operation."""
    metadata: str | None
    rules: tuple[Mapping[str, str], ...]

    @property
    def name(self) -> str:
        """`EndpointService.DeployModel`."""
        return f"{self.service}.{self.rpc}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One way to reach an RPC over HTTP (google.api.http)."""

    rpc: Rpc
    pattern: re.Pattern[str]
    variables: tuple[str, ...]
    """Field paths that the groups of the pattern fill, such as `endpoint.name`."""
    body: str | None
    uri: str


class Definitions:
    """The messages and routes of the installed client."""

    def __init__(self, folder: Path) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(
            (folder / extract.MESSAGES).read_bytes()
        )
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        routes = json.loads((folder / extract.ROUTES).read_text(encoding="utf-8"))
        self.rpcs = [Rpc(**{**route, "rules": tuple(route["rules"])}) for route in routes]

    def message(self, name: str) -> Any:  # noqa: ANN401 - a class made at run time
        """The message class of that full name."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def match(self, method: str, path: str) -> tuple[Rule, tuple[str, ...]] | None:
        """The rule that a request follows, and what its variables are; None for an unknown path."""
        for rule in self._rules.get(_key(method, path), ()):
            found = rule.pattern.fullmatch(path)
            if found:
                return rule, found.groups()
        return None

    @cached_property
    def _rules(self) -> dict[tuple[str, str, str], list[Rule]]:
        found: dict[tuple[str, str, str], list[Rule]] = {}
        for rpc in self.rpcs:
            for rule in _rules_of(rpc):
                method = next(r["method"] for r in rpc.rules if r["uri"] == rule.uri)
                found.setdefault(_key(method, rule.uri), []).append(rule)
        return found


def _rules_of(rpc: Rpc) -> Iterator[Rule]:
    for rule in rpc.rules:
        pattern, variables = "", []
        for part in re.split(r"(\{[^}]+\})", rule["uri"]):
            if part.startswith("{"):
                name, _, template = part[1:-1].partition("=")
                variables.append(name)
                parts = (re.escape(p) for p in (template or "*").split("*"))
                pattern += f"({'[^/:]+'.join(parts)})"
            else:
                pattern += re.escape(part)
        yield Rule(
            rpc=rpc,
            pattern=re.compile(pattern),
            variables=tuple(variables),
            body=rule["body"],
            uri=rule["uri"],
        )


def _key(method: str, path: str) -> tuple[str, str, str]:
    """What a path and its template share: version and custom verb."""
    version = path.split("/", 2)[1]
    last = path.rsplit("/", 1)[-1].split("}", 1)[-1]
    _, _, verb = last.partition(":")
    return method.lower(), version, verb


def load() -> Definitions:
    """The definitions of the installed client. Raises MachineryError when there is none."""
    return Definitions(prepare(lambda _: None))


def prepare(progress: Callable[[str], None]) -> Path:
    """The folder of the definitions, which are extracted once for each version of the client.

    Raises MachineryError when the client is not installed.
    """
    try:
        version = metadata.version("google-cloud-aiplatform")
    except metadata.PackageNotFoundError:
        raise MachineryError("google-cloud-aiplatform is not installed", fix="make setup") from None
    source = importlib.util.find_spec(extract.__name__)
    program = Path(str(source and source.origin)).read_bytes()
    stamp = hashlib.sha256(program).hexdigest()[:8]
    # Beside the installed client: it is true for whoever uses this one.
    folder = Path(sys.prefix) / "share" / "llmops" / f"vertex-{version}-{stamp}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            progress("reading Vertex AI's API definitions out of its client, once")
            partial = folder.with_name(f"{folder.name}.{os.getpid()}")
            command = [sys.executable, "-P", "-m", extract.__name__, str(partial)]
            subprocess.run(command, check=True)
            partial.rename(folder)
    return folder
