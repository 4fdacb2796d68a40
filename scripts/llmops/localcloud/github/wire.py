"""HTTP in GitHub's manner: who may write, what is refused and how, pages of lists."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops.localcloud.github.store import BareRepository, Store, Thing

READ_ONLY_TOKEN = "read-only"  # noqa: S105 - it opens nothing
"""What a workflow run of a fork's pull request has: it may read, not write."""
USER = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot"}


class RefusalError(Exception):
    """An answer that is an error, in GitHub's shape."""

    def __init__(self, status: int, message: str, *errors: Thing) -> None:
        super().__init__(message)
        self.response = JSONResponse(
            {"message": message, "errors": list(errors), "documentation_url": ""}, status
        )


def project(store: Store, request: Request) -> tuple[str, BareRepository]:
    """The project that the path names. Raises RefusalError where there is none."""
    name = f"{request.path_params['owner']}/{request.path_params['name']}"
    git = store.repository(name)
    if git is None:
        raise RefusalError(404, "Not Found")
    return name, git


def next_number(store: Store, name: str) -> int:
    """Pull requests and issues are counted together."""
    return len(store.all("pull", name)) + len(store.all("issue", name)) + 1


def signed(request: Request) -> None:
    """Raises RefusalError for whoever is not signed in, or may only read."""
    signature = request.headers.get("authorization")
    if not signature:
        raise RefusalError(401, "Requires authentication")
    if signature.endswith(f" {READ_ONLY_TOKEN}"):
        raise RefusalError(403, "Resource not accessible by integration")


async def written(request: Request) -> dict[str, Any]:
    """The body of a request that writes."""
    signed(request)
    return await body(request)


async def body(request: Request) -> dict[str, Any]:
    """The body, a JSON object. Raises RefusalError for anything else."""
    try:
        value = json.loads(await request.body() or b"{}")
    except ValueError:
        raise RefusalError(400, "Problems parsing JSON") from None
    if not isinstance(value, dict):
        raise RefusalError(400, "Body should be a JSON object")
    return value


def commit(git: BareRepository, name: str) -> str:
    """The commit of that name. Raises RefusalError where there is none."""
    sha = git.commit(name)
    if sha is None:
        raise RefusalError(422, f"No commit found for SHA: {name}")
    return sha


def missing(resource: str, field: str) -> Thing:
    """The error for a field that is not there."""
    return {"resource": resource, "field": field, "code": "missing_field"}


def page(request: Request, found: list[Any]) -> Response:
    """A page of a list, with the links to the others."""
    size = min(int(request.query_params.get("per_page", 30)), 100)
    number = max(int(request.query_params.get("page", 1)), 1)
    response = JSONResponse(found[(number - 1) * size : number * size])
    last = -(-len(found) // size)
    if number < last:
        links = (("next", number + 1), ("last", last))
        response.headers["Link"] = ", ".join(
            f'<{request.url.include_query_params(page=at, per_page=size)}>; rel="{name}"'
            for name, at in links
        )
    return response


def url(request: Request, path: str) -> str:
    """An address at this server."""
    return f"{request.url.scheme}://{request.url.netloc}{path}"
