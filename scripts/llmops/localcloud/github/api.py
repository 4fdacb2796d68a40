"""GitHub's REST API, as far as the reports and deployments of this project use it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops.localcloud.github.store import BareRepository, Store, Thing
from llmops.localcloud.github.wire import (
    USER,
    RefusalError,
    body,
    commit,
    missing,
    next_number,
    page,
    project,
    signed,
    url,
    written,
)

_LONGEST_BODY = 65_536
_LONGEST_SUMMARY = 65_535
_BASE = "/repos/{owner}/{name}"
_CONCLUSIONS = {
    "action_required",
    "cancelled",
    "failure",
    "neutral",
    "success",
    "skipped",
    "timed_out",
}


class Api:
    """The routes, over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Every route that is served."""
        return [
            Route("/user", self._user),
            Route(_BASE, self._repository),
            Route(_BASE + "/pulls", self._pulls, methods=["GET", "POST"]),
            Route(_BASE + "/pulls/{number:int}", self._pull, methods=["GET", "PATCH"]),
            Route(_BASE + "/pulls/{number:int}/files", self._files),
            Route(_BASE + "/pulls/{number:int}/merge", self._merge, methods=["PUT"]),
            Route(_BASE + "/issues/{number:int}/comments", self._comments, methods=["GET", "POST"]),
            Route(
                _BASE + "/issues/comments/{id:int}",
                self._comment,
                methods=["GET", "PATCH", "DELETE"],
            ),
            Route(_BASE + "/statuses/{sha}", self._new_status, methods=["POST"]),
            Route(_BASE + "/commits/{sha}", self._describe_commit),
            Route(_BASE + "/commits/{sha}/status", self._combined_status),
            Route(_BASE + "/check-runs", self._new_check, methods=["POST"]),
            Route(_BASE + "/check-runs/{id:int}", self._check, methods=["GET", "PATCH"]),
            Route(_BASE + "/commits/{sha}/check-runs", self._checks),
            Route("/_local/repos", self._make_repository, methods=["POST"]),
        ]

    # --- projects and people

    async def _user(self, _: Request) -> Response:
        return JSONResponse(USER)

    async def _make_repository(self, request: Request) -> Response:
        wanted = await body(request)
        made = self._store.make_repository(wanted["full_name"])
        return JSONResponse({"full_name": wanted["full_name"], "clone_url": str(made.path)}, 201)

    async def _repository(self, request: Request) -> Response:
        name, git = project(self._store, request)
        owner, _, short = name.partition("/")
        return JSONResponse(
            {
                "id": 1,
                "full_name": name,
                "name": short,
                "owner": {"login": owner, "id": 1, "type": "Organization"},
                "default_branch": "main",
                "private": True,
                "url": url(request, f"/repos/{name}"),
                "clone_url": str(git.path),
            }
        )

    # --- pull requests

    async def _pulls(self, request: Request) -> Response:
        name, git = project(self._store, request)
        if request.method == "GET":
            state = request.query_params.get("state", "open")
            found = [
                self.describe_pull(request, name, git, pull)
                for pull in reversed(self._store.all("pull", name))
                if state in ("all", pull["state"])
            ]
            return page(request, found)
        sent = await written(request)
        for field in ("title", "head", "base"):
            if not sent.get(field):
                raise RefusalError(422, "Validation Failed", missing("PullRequest", field))
        for field in ("head", "base"):
            if git.commit(sent[field]) is None:
                error = {"resource": "PullRequest", "field": field, "code": "invalid"}
                raise RefusalError(422, "Validation Failed", error)
        number = next_number(self._store, name)
        pull = self._store.add(
            "pull",
            name,
            "",
            {
                "number": number,
                "title": sent["title"],
                "body": sent.get("body") or "",
                "state": "open",
                "merged": False,
                "head": sent["head"],
                "base": sent["base"],
            },
        )
        return JSONResponse(self.describe_pull(request, name, git, pull), 201)

    async def _pull(self, request: Request) -> Response:
        name, git = project(self._store, request)
        pull = self._numbered(request, name)
        if request.method == "PATCH":
            sent = await written(request)
            allowed: Thing = {key: sent[key] for key in ("title", "body", "state") if key in sent}
            pull = self._store.change("pull", name, pull["id"], allowed) or pull
        return JSONResponse(self.describe_pull(request, name, git, pull))

    async def _files(self, request: Request) -> Response:
        name, git = project(self._store, request)
        pull = self._numbered(request, name)
        base, head = sides(git, pull)
        return page(request, git.files(base, head))

    async def _merge(self, request: Request) -> Response:
        name, git = project(self._store, request)
        pull = self._numbered(request, name)
        await written(request)
        if pull["merged"]:
            raise RefusalError(405, "Pull Request is not mergeable")
        base, head = sides(git, pull)
        message = f"Merge pull request #{pull['number']} from {pull['head']}\n\n{pull['title']}"
        merged = git.merge(pull["base"], head, message)
        if merged is None:
            raise RefusalError(405, "Pull Request is not mergeable")
        closed = {"merged": True, "state": "closed", "base_sha": base, "head_sha": head}
        self._store.change("pull", name, pull["id"], {**closed, "merge_commit_sha": merged})
        return JSONResponse({"sha": merged, "merged": True, "message": "Pull Request merged"})

    def describe_pull(
        self, request: Request, name: str, git: BareRepository, pull: Thing
    ) -> dict[str, Any]:
        """A pull request as the API shows it."""
        base, head = sides(git, pull)
        path = f"/repos/{name}/pulls/{pull['number']}"
        return {
            "id": pull["id"],
            "number": pull["number"],
            "title": pull["title"],
            "body": pull["body"],
            "state": pull["state"],
            "merged": pull["merged"],
            "merge_commit_sha": pull.get("merge_commit_sha"),
            "user": USER,
            "draft": False,
            "url": url(request, path),
            "html_url": url(request, f"/{name}/pull/{pull['number']}"),
            "issue_url": url(request, f"/repos/{name}/issues/{pull['number']}"),
            "comments_url": url(request, f"/repos/{name}/issues/{pull['number']}/comments"),
            "head": {"ref": pull["head"], "sha": head, "label": pull["head"]},
            "base": {"ref": pull["base"], "sha": base, "label": pull["base"]},
            "created_at": pull["created_at"],
            "updated_at": pull["updated_at"],
        }

    # --- comments

    async def _comments(self, request: Request) -> Response:
        name, _ = project(self._store, request)
        pull = self._numbered(request, name)
        parent = str(pull["number"])
        if request.method == "GET":
            found = self._store.all("comment", name, parent)
            return page(request, [self._describe_comment(request, name, each) for each in found])
        text = _comment_text(await written(request))
        comment = self._store.add("comment", name, parent, {"body": text, "number": parent})
        return JSONResponse(self._describe_comment(request, name, comment), 201)

    async def _comment(self, request: Request) -> Response:
        name, _ = project(self._store, request)
        id_ = request.path_params["id"]
        comment = self._store.get("comment", name, id_)
        if comment is None:
            raise RefusalError(404, "Not Found")
        if request.method == "DELETE":
            signed(request)
            self._store.remove("comment", name, id_)
            return Response(status_code=204)
        if request.method == "PATCH":
            text = _comment_text(await written(request))
            comment = self._store.change("comment", name, id_, {"body": text}) or comment
        return JSONResponse(self._describe_comment(request, name, comment))

    def _describe_comment(self, request: Request, name: str, comment: Thing) -> dict[str, Any]:
        return {
            "id": comment["id"],
            "body": comment["body"],
            "user": USER,
            "url": url(request, f"/repos/{name}/issues/comments/{comment['id']}"),
            "html_url": url(
                request, f"/{name}/pull/{comment['number']}#issuecomment-{comment['id']}"
            ),
            "created_at": comment["created_at"],
            "updated_at": comment["updated_at"],
        }

    # --- statuses and checks

    async def _describe_commit(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sha = commit(git, request.path_params["sha"])
        message = git.git("log", "-1", "--format=%B", sha).strip()
        address = url(request, f"/repos/{name}/commits/{sha}")
        return JSONResponse({"sha": sha, "url": address, "commit": {"message": message}})

    async def _new_status(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sent = await written(request)
        sha = commit(git, request.path_params["sha"])
        if sent.get("state") not in {"error", "failure", "pending", "success"}:
            error = {"resource": "Status", "field": "state", "code": "invalid"}
            raise RefusalError(422, "Validation Failed", error)
        kept = {
            "state": sent["state"],
            "context": sent.get("context") or "default",
            "description": sent.get("description") or "",
            "target_url": sent.get("target_url"),
        }
        return JSONResponse(self._store.add("status", name, sha, kept), 201)

    async def _combined_status(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sha = commit(git, request.path_params["sha"])
        newest = {each["context"]: each for each in self._store.all("status", name, sha)}
        states = {each["state"] for each in newest.values()}
        order = ("error", "failure", "pending")
        state = next((each for each in order if each in states), "success")
        state = state if newest else "pending"
        return JSONResponse({"state": state, "sha": sha, "statuses": list(newest.values())})

    async def _new_check(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sent = await written(request)
        for field in ("name", "head_sha"):
            if not sent.get(field):
                raise RefusalError(422, "Validation Failed", missing("CheckRun", field))
        sha = commit(git, sent["head_sha"])
        made = self._store.add("check", name, sha, {"head_sha": sha, **_check_fields(sent)})
        return JSONResponse(self.describe_check(request, name, made), 201)

    async def _check(self, request: Request) -> Response:
        name, _ = project(self._store, request)
        id_ = request.path_params["id"]
        check = self._store.get("check", name, id_)
        if check is None:
            raise RefusalError(404, "Not Found")
        if request.method == "PATCH":
            fields = _check_fields(await written(request))
            check = self._store.change("check", name, id_, fields) or check
        return JSONResponse(self.describe_check(request, name, check))

    async def _checks(self, request: Request) -> Response:
        name, git = project(self._store, request)
        sha = commit(git, request.path_params["sha"])
        wanted = request.query_params.get("check_name")
        found = [
            self.describe_check(request, name, each)
            for each in self._store.all("check", name, sha)
            if wanted in (None, each["name"])
        ]
        return JSONResponse({"total_count": len(found), "check_runs": found})

    def describe_check(self, request: Request, name: str, check: Thing) -> dict[str, Any]:
        """A check run as the API shows it."""
        output = check.get("output") or {}
        return {
            "conclusion": None,
            **check,
            "output": {"title": None, "summary": None, "text": None, **output},
            "url": url(request, f"/repos/{name}/check-runs/{check['id']}"),
            "html_url": url(request, f"/{name}/runs/{check['id']}"),
        }

    # --- common

    def _numbered(self, request: Request, name: str) -> Thing:
        number = request.path_params["number"]
        for each in (*self._store.all("pull", name), *self._store.all("issue", name)):
            if each["number"] == number:
                return each
        raise RefusalError(404, "Not Found")


def _comment_text(sent: dict[str, Any]) -> str:
    text = sent.get("body")
    if not isinstance(text, str) or not text:
        raise RefusalError(422, "Validation Failed", missing("IssueComment", "body"))
    if len(text) > _LONGEST_BODY:
        message = f"body is too long (maximum is {_LONGEST_BODY} characters)"
        error = {"resource": "IssueComment", "code": "unprocessable", "message": message}
        raise RefusalError(422, "Validation Failed", error)
    return text


def _check_fields(sent: dict[str, Any]) -> Thing:
    conclusion = sent.get("conclusion")
    if conclusion is not None and conclusion not in _CONCLUSIONS:
        error = {"resource": "CheckRun", "field": "conclusion", "code": "invalid"}
        raise RefusalError(422, "Validation Failed", error)
    output = sent.get("output")
    if output is not None:
        for field in ("title", "summary"):
            if not output.get(field):
                raise RefusalError(422, "Validation Failed", missing("CheckRun", f"output.{field}"))
        if len(output["summary"]) > _LONGEST_SUMMARY:
            raise RefusalError(
                422, "Validation Failed: summary exceeds a maximum bytesize of 65535"
            )
    known = ("name", "status", "conclusion", "output", "details_url", "external_id")
    kept = {key: sent[key] for key in known if key in sent}
    if conclusion:
        kept["status"] = "completed"
    return kept


def sides(git: BareRepository, pull: Thing) -> tuple[str, str]:
    """Base and head commit of a pull request: as they were once it is merged."""
    base = pull.get("base_sha") or git.commit(pull["base"]) or ""
    head = pull.get("head_sha") or git.commit(pull["head"]) or ""
    return base, head
