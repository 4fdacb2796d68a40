"""The pages that people open: a pull request, its checks and files, laid out as on GitHub."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from llmops.localcloud.github.api import sides
from llmops.localcloud.github.markdown import render
from llmops.localcloud.github.store import Store, Thing
from llmops.localcloud.github.wire import RefusalError

_ICONS = {
    "success": "✓",
    "failure": "✕",
    "error": "✕",
    "neutral": "■",
    "action_required": "!",
    None: "●",
}


class Pages:
    """The pages, over a store."""

    def __init__(self, store: Store, styles: Path) -> None:
        self._store = store
        self._styles = styles
        self._templates = Environment(
            loader=PackageLoader("llmops.localcloud.github", "."), autoescape=True
        )

    def routes(self) -> list[Route | Mount]:
        """Every page."""
        self._store.artifacts.mkdir(parents=True, exist_ok=True)
        return [
            Route("/", self._index),
            Route("/pull/{number:int}", self._short),
            Route("/{owner}/{name}/pull/{number:int}", self._pull),
            Route("/{owner}/{name}/runs/{id:int}", self._check),
            Route("/{owner}/{name}/issues/{number:int}", self._issue),
            Route("/{owner}/{name}/deployments", self._deployments),
            Mount("/_assets", StaticFiles(directory=self._styles, check_dir=False)),
            Mount("/artifacts", StaticFiles(directory=self._store.artifacts, html=True)),
        ]

    async def _index(self, _: Request) -> Response:
        projects = [
            {
                "name": name,
                "pulls": list(reversed(self._store.all("pull", name))),
                "issues": list(reversed(self._store.all("issue", name))),
                "deployments": len(self._store.all("deployment", name)),
            }
            for name in self._store.repositories()
        ]
        return self._html("index.html", projects=projects)

    async def _short(self, request: Request) -> Response:
        number = request.path_params["number"]
        holding = [
            name
            for name in self._store.repositories()
            if any(pull["number"] == number for pull in self._store.all("pull", name))
        ]
        if len(holding) != 1:
            raise RefusalError(404, f"{len(holding)} projects have a pull request {number}")
        return RedirectResponse(f"/{holding[0]}/pull/{number}")

    async def _pull(self, request: Request) -> Response:
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        git = self._store.repository(name)
        number = request.path_params["number"]
        pulls = self._store.all("pull", name)
        pull = next((each for each in pulls if each["number"] == number), None)
        if git is None or pull is None:
            raise RefusalError(404, "Not Found")
        base, head = sides(git, pull)
        comments = self._store.all("comment", name, str(number))
        checks = self._checks(name, head)
        return self._html(
            "pull.html",
            name=name,
            pull=pull,
            description=render(pull["body"]),
            comments=[{**each, "html": render(each["body"])} for each in comments],
            checks=checks,
            blocked=[each for each in checks if each["bad"]],
            waiting=[each for each in checks if each["conclusion"] is None],
            commits=git.commits(base, head),
            files=[{**each, "lines": _diff_lines(each["patch"])} for each in git.files(base, head)],
        )

    async def _issue(self, request: Request) -> Response:
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        number = request.path_params["number"]
        found = next((e for e in self._store.all("issue", name) if e["number"] == number), None)
        if found is None:
            raise RefusalError(404, "Not Found")
        comments = self._store.all("comment", name, str(number))
        return self._html(
            "issue.html",
            name=name,
            issue=found,
            description=render(found["body"]),
            comments=[{**each, "html": render(each["body"])} for each in comments],
        )

    async def _deployments(self, request: Request) -> Response:
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        found = [
            {**each, "statuses": self._store.all("deployment_status", name, str(each["id"]))}
            for each in reversed(self._store.all("deployment", name))
        ]
        return self._html("deployments.html", name=name, deployments=found)

    async def _check(self, request: Request) -> Response:
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        check = self._store.get("check", name, request.path_params["id"])
        if check is None:
            raise RefusalError(404, "Not Found")
        output = check.get("output") or {}
        return self._html(
            "check.html",
            name=name,
            check=_shown(check),
            summary=render(output.get("summary") or ""),
            annotations=output.get("annotations") or [],
        )

    def _checks(self, name: str, sha: str) -> list[Thing]:
        newest = {each["name"]: each for each in self._store.all("check", name, sha)}
        statuses = {each["context"]: each for each in self._store.all("status", name, sha)}
        as_checks = [
            {
                "name": each["context"],
                "conclusion": None if each["state"] == "pending" else each["state"],
                "output": {"title": each["description"]},
                "html_url": each["target_url"],
            }
            for each in statuses.values()
        ]
        runs = [{**each, "html_url": f"/{name}/runs/{each['id']}"} for each in newest.values()]
        return [_shown(each) for each in (*runs, *as_checks)]

    def _html(self, template: str, **values: Any) -> Response:  # noqa: ANN401 - a template's
        return HTMLResponse(self._templates.get_template(template).render(values))


def _shown(check: Thing) -> Thing:
    conclusion = check.get("conclusion")
    return {
        **check,
        "conclusion": conclusion,
        "icon": _ICONS.get(conclusion, "■"),
        "title": (check.get("output") or {}).get("title") or "",
        "bad": conclusion in {"failure", "error", "action_required", "timed_out", "cancelled"},
    }


def _diff_lines(patch: str) -> list[Thing]:
    """The lines of a patch with their numbers on either side."""
    found: list[Thing] = []
    old = new = 0
    for line in patch.splitlines():
        kind = {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1], "same")
        if kind == "hunk":
            old, new = (int(part[1:].partition(",")[0]) for part in line.split()[1:3])
            found.append({"kind": kind, "old": "", "new": "", "text": line})
            continue
        found.append(
            {
                "kind": kind,
                "old": "" if kind == "added" else old,
                "new": "" if kind == "removed" else new,
                "text": line,
            }
        )
        old += kind != "added"
        new += kind != "removed"
    return found
