"""docs/local-vertex.md: which calls the local Vertex AI answers."""

from itertools import groupby

from llmops.localcloud.vertex.app import Vertex

_HEAD = """\
# The local Vertex AI
Made from the official API definitions: every call below is known with its messages, in v1 and
v1beta1, and a request that is not in them is refused as Google refuses it. **Bold** ones are
answered; the others answer 501 (`UNIMPLEMENTED`). Written by `pytest --update-golden`.

A custom container runs as a process by Vertex AI's contract, one replica whatever is asked for; an
image cannot be pulled here, so its `command` is run, or `python -m llmops.serving` where it has
none. A publisher model `gemini-*` is answered by the small model, whose name stands in
`modelVersion`. Tuning jobs are kept and fail: nothing tunes here yet.
"""


def markdown(vertex: Vertex) -> str:
    """The page."""
    names = sorted({rpc.name for rpc in vertex.definitions.rpcs})
    lines = [_HEAD, "| service | calls |", "|---|---|"]
    for service, found in groupby(names, key=lambda name: name.partition(".")[0]):
        calls = [_shown(vertex, name) for name in found]
        lines.append(f"| {service} | {', '.join(calls)} |")
    return "\n".join([*lines, ""])


def _shown(vertex: Vertex, name: str) -> str:
    call = name.partition(".")[2]
    return f"**{call}**" if vertex.implements(name) else call
