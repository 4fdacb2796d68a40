"""The second half of the demo: merged, deployed, broken by hand, repaired, rolled back."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llmops import config, git, progress
from llmops.errors import MachineryError
from llmops.localcloud.demo.act import PROJECT, Runner
from llmops.vertex.live import numeric_id

ENVIRONMENTS = ("staging", "production")
QUESTION = "What does pathlib.PurePath.suffix() do?"
_APPLICATION = "assistant"
_ASKED = (QUESTION, "What does os.getcwd() do?", "What does json.dumps() do?")
_SIGNED = {"Authorization": "Bearer local"}
_PAUSE_SECONDS = 0.3
_RULES = {
    "steps: [5, 25, 100]": "steps: [50, 100]",
    "window_seconds: 600": "window_seconds: 10",
    "min_requests: 200": "min_requests: 5",
    "max_latency_p95_ratio: 1.25": "max_latency_p95_ratio: 4\n  smoke_cases: 2",
}
"""The canary for a laptop: minutes of live traffic there, seconds here."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened after the merge."""

    answer: str
    issue: str
    """The page of the issue about the drift."""
    pull: str
    deployments: str


def laptop_rules(clone: Path) -> None:
    """Commits a canary to main that fits in a demo."""
    path = clone / "models" / "assistant.yaml"
    text = path.read_text(encoding="utf-8")
    for production, laptop in _RULES.items():
        text = text.replace(production, laptop)
    path.write_text(text, encoding="utf-8")


def clear(root: Path, vertex: str) -> None:
    """A cloud without endpoints and models: the demo starts at the first release."""
    with httpx.Client(base_url=vertex, timeout=60) as client:
        for name in ENVIRONMENTS:
            parent = _location(root, name)
            for endpoint in client.get(f"/v1/{parent}/endpoints").json().get("endpoints", []):
                path = f"/v1/{endpoint['name']}"
                for each in endpoint.get("deployedModels", []):
                    body = {"deployedModelId": each["id"], "trafficSplit": {}}
                    client.patch(
                        path, params={"updateMask": "trafficSplit"}, json={"trafficSplit": {}}
                    )
                    _finish(client, client.post(f"{path}:undeployModel", json=body))
                _finish(client, client.delete(path))
            for model in client.get(f"/v1/{parent}/models").json().get("models", []):
                _finish(client, client.delete(f"/v1/{model['name']}"))


def deploy(runner: Runner, vertex: str, label: str) -> None:
    """deploy.yml on a push to main, while people ask both endpoints."""
    before = {"before": "0" * 40, "after": git.head_commit(runner.clone)}
    payload = {**before, "ref": "refs/heads/main"}
    with asked(runner.root, vertex):
        _must(runner, "deploy.yml", "push", payload, label)


def merge(runner: Runner, number: int) -> None:
    """Merges the pull request at the local GitHub and fetches main."""
    url = f"{runner.github}/repos/{PROJECT}/pulls/{number}"
    if not httpx.get(url, timeout=10).json()["merged"]:
        httpx.put(f"{url}/merge", json={}, headers=_SIGNED, timeout=30).raise_for_status()
    git.run(runner.clone, "fetch", "--quiet", "origin", "main")
    git.run(runner.clone, "switch", "--quiet", "--force-create", "main", "origin/main")


def tell(runner: Runner, vertex: str, number: int) -> Story:
    """From the merge to the way back."""
    progress.say("\nMerged: deploy.yml brings it to staging, then to production")
    merge(runner, number)
    deploy(runner, vertex, "deploy")
    answer = ask(runner.root, vertex, "production", QUESTION)
    progress.say("\nBroken by hand: half of production's traffic goes to the former release")
    _break(runner.root, vertex)
    runner.run("reconcile.yml", "schedule", {}, "drift")
    progress.say("\nRepaired by reconcile.yml")
    repair = {"inputs": {"apply": "true"}}
    _must(runner, "reconcile.yml", "workflow_dispatch", repair, "repair")
    progress.say("\nRolled back by rollback.yml")
    inputs = {"environment": "production", "release": "", "application": ""}
    _must(runner, "rollback.yml", "workflow_dispatch", {"inputs": inputs}, "rollback")
    return Story(
        answer=answer,
        issue=_issue(runner.github),
        pull=f"{runner.github}/{PROJECT}/pull/{number}",
        deployments=f"{runner.github}/{PROJECT}/deployments",
    )


def ask(root: Path, vertex: str, environment: str, question: str) -> str:
    """What the endpoint answers."""
    body = {"instances": [{"question": question}]}
    reply = httpx.post(f"{_endpoint(root, vertex, environment)}:predict", json=body, timeout=60)
    return str(reply.raise_for_status().json()["predictions"][0]["text"])


@contextmanager
def asked(root: Path, vertex: str) -> Iterator[None]:
    """People who ask both endpoints, until the end of the block: traffic for the canary."""
    stop = threading.Event()

    def person(url: str) -> None:
        with httpx.Client(timeout=60) as client:
            for turn in range(10**9):
                body = {"instances": [{"question": _ASKED[turn % len(_ASKED)]}]}
                with contextlib.suppress(httpx.HTTPError):  # nobody may be there yet
                    client.post(f"{url}:predict", json=body)
                if stop.wait(_PAUSE_SECONDS):
                    return

    urls = [_endpoint(root, vertex, name) for name in ENVIRONMENTS]
    people = [threading.Thread(target=person, args=(url,)) for url in urls]
    for each in people:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in people:
            each.join()


def _must(runner: Runner, workflow: str, event: str, payload: dict[str, Any], label: str) -> None:
    """Runs a workflow that has to succeed."""
    if runner.run(workflow, event, payload, label):
        fix = f"see the end of {runner.folder}/act-{label}.log"
        raise MachineryError(f"{workflow} failed", fix=fix)


def _break(root: Path, vertex: str) -> None:
    url = _endpoint(root, vertex, "production")
    split: dict[str, int] = httpx.get(url, timeout=10).json()["trafficSplit"]
    halves = dict.fromkeys(list(split)[:2], 50)
    reply = httpx.patch(
        url, params={"updateMask": "trafficSplit"}, json={"trafficSplit": halves}, timeout=10
    )
    reply.raise_for_status()


def _issue(github: str) -> str:
    url = f"{github}/repos/{PROJECT}/issues"
    found: Sequence[dict[str, Any]] = httpx.get(url, params={"state": "all"}, timeout=10).json()
    return str(found[0]["html_url"]) if found else ""


def _endpoint(root: Path, vertex: str, environment: str) -> str:
    identifier = numeric_id("endpoint", _APPLICATION, environment)
    return f"{vertex}/v1/{_location(root, environment)}/endpoints/{identifier}"


def _location(root: Path, environment: str) -> str:
    entry = config.settings(root).environments[environment]
    return f"projects/{entry.project}/locations/{entry.region}"


def _finish(client: httpx.Client, reply: httpx.Response) -> None:
    operation = reply.raise_for_status().json()
    stop = threading.Event()
    while not operation.get("done"):
        stop.wait(0.1)
        operation = client.get(f"/v1/{operation['name']}").json()
