"""Deployments and their statuses, issues, the pull requests of a commit."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops.localcloud.github.api import Api
from llmops.localcloud.github.store import Store, Thing
from llmops.localcloud.github.wire import (
    USER,
    RefusalError,
    commit,
    missing,
    next_number,
    page,
    project,
    url,
    written,
)

_BASE = "/repos/{owner}/{name}"
_STATES = {"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}


class Releases:
    """What a deploy and a reconciliation need of GitHub."""

    def __init__(self, store: Store, api: Api) -> None:
        self._store = store
        self._api = api

    def routes(self) -> list[Route]:
        """Every route that is served."""
        one = _BASE + "/deployments/{id:int}"
        return [
            Route(_BASE + "/deployments", self._deployments, methods=["GET", "POST"]),
            Route(one, self._deployment),
            Route(one + "/statuses", self._statuses, methods=["GET", "POST"]),
            Route(_BASE + "/commits/{sha}/pulls", self._pulls_of),
            Route(_BASE + "/issues", self._issues, methods=["GET", "POST"]),
            Route(_BASE + "/issues/{number:int}", self._issue, methods=["GET", "PATCH"]),
        ]

    async def _deployments(self, request: Request) -> Response:
        name, git = project(self._store, request)
        if request.method == "GET":
            wanted = request.query_params.get("environment")
            found = [
                self._shown_deployment(request, name, each)
                for each in reversed(self._store.all("deployment", name))
                if wanted in (None, each["environment"])
            ]
            return page(request, found)
        sent = await written(request)
        if not sent.get("ref"):
            raise RefusalError(422, "Validation Failed", missing("Deployment", "ref"))
        made = self._store.add(
            "deployment",
            name,
            "",
            {
                "ref": sent["ref"],
                "sha": commit(git, sent["ref"]),
                "environment": sent.get("environment") or "production",
                "description": sent.get("description") or "",
                "task": sent.get("task") or "deploy",
            },
        )
        return JSONResponse(self._shown_deployment(request, name, made), 201)

    async def _deployment(self, request: Request) -> Response:
        name, found = self._found(request)
        return JSONResponse(self._shown_deployment(request, name, found))

    async def _statuses(self, request: Request) -> Response:
        name, deployment = self._found(request)
        parent = str(deployment["id"])
        if request.method == "GET":
            return page(request, list(reversed(self._store.all("deployment_status", name, parent))))
        sent = await written(request)
        if sent.get("state") not in _STATES:
            error = {"resource": "DeploymentStatus", "field": "state", "code": "invalid"}
            raise RefusalError(422, "Validation Failed", error)
        if len(sent.get("description") or "") > 140:
            raise RefusalError(422, "description is too long (maximum is 140 characters)")
        kept = {
            key: sent.get(key) or ""
            for key in ("state", "description", "environment_url", "target_url", "environment")
        }
        made = self._store.add("deployment_status", name, parent, kept)
        return JSONResponse({**made, "creator": USER}, 201)

    async def _pulls_of(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sha = commit(git, request.path_params["sha"])
        found = [
            self._api.describe_pull(request, name, git, each)
            for each in self._store.all("pull", name)
            if sha in (each.get("merge_commit_sha"), each.get("head_sha"))
        ]
        return page(request, found)

    async def _issues(self, request: Request) -> Response:
        name, _ = project(self._store, request)
        if request.method == "GET":
            state = request.query_params.get("state", "open")
            found = [
                self._shown_issue(request, name, each)
                for each in reversed(self._store.all("issue", name))
                if state in ("all", each["state"])
            ]
            return page(request, found)
        sent = await written(request)
        if not sent.get("title"):
            raise RefusalError(422, "Validation Failed", missing("Issue", "title"))
        made = self._store.add(
            "issue",
            name,
            "",
            {
                "number": next_number(self._store, name),
                "title": sent["title"],
                "body": sent.get("body") or "",
                "state": "open",
            },
        )
        return JSONResponse(self._shown_issue(request, name, made), 201)

    async def _issue(self, request: Request) -> Response:
        name, git = project(self._store, request)
        number = request.path_params["number"]
        for each in self._store.all("pull", name):
            if each["number"] == number:
                pull = self._api.describe_pull(request, name, git, each)
                link = {"url": pull["url"]}
                return JSONResponse({**pull, "labels": [], "pull_request": link})
        found = next((e for e in self._store.all("issue", name) if e["number"] == number), None)
        if found is None:
            raise RefusalError(404, "Not Found")
        if request.method == "PATCH":
            sent = await written(request)
            change: Thing = {key: sent[key] for key in ("title", "body", "state") if key in sent}
            found = self._store.change("issue", name, found["id"], change) or found
        return JSONResponse(self._shown_issue(request, name, found))

    def _found(self, request: Request) -> tuple[str, Thing]:
        name, _ = project(self._store, request)
        found = self._store.get("deployment", name, request.path_params["id"])
        if found is None:
            raise RefusalError(404, "Not Found")
        return name, found

    def _shown_deployment(self, request: Request, name: str, found: Thing) -> dict[str, Any]:
        path = f"/repos/{name}/deployments/{found['id']}"
        return {
            **found,
            "creator": USER,
            "url": url(request, path),
            "statuses_url": url(request, f"{path}/statuses"),
        }

    def _shown_issue(self, request: Request, name: str, found: Thing) -> dict[str, Any]:
        path = f"/repos/{name}/issues/{found['number']}"
        return {
            **found,
            "user": USER,
            "labels": [],
            "url": url(request, path),
            "comments_url": url(request, f"{path}/comments"),
            "html_url": url(request, f"/{name}/issues/{found['number']}"),
        }
