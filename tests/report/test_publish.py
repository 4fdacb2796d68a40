"""Where the report goes: one comment on the pull request, the check, the job's summary."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from llmops.report.markdown import MARKER

from tests.repository import Ran, Repository
from tests.services import local_github

SIGNED = {"Authorization": "Bearer someone"}


@dataclass
class PullRequest:
    """A pull request at the local GitHub whose change is invalid, and planned: a short report."""

    repository: Repository
    url: str
    env: dict[str, str]

    def publish(self, **env: str) -> Ran:
        return self.repository.llmops("report", "publish", env={**self.env, **env})

    @property
    def _comments(self) -> str:
        return f"{self.url}/repos/acme/shop/issues/1/comments"

    def comments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(self._comments).json()
        return found

    def say(self, body: str) -> None:
        httpx.post(self._comments, json={"body": body}, headers=SIGNED).raise_for_status()

    def checks(self) -> list[dict[str, Any]]:
        sha = self.repository.git("rev-parse", "change")
        url = f"{self.url}/repos/acme/shop/commits/{sha}/check-runs"
        found: list[dict[str, Any]] = httpx.get(url).json()["check_runs"]
        return found

    def summary(self) -> str:
        return Path(self.env["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8")


@pytest.fixture
def pull(repository: Repository, tmp_path: Path) -> Iterator[PullRequest]:
    with local_github(tmp_path / "github") as url:
        made = httpx.post(f"{url}/_local/repos", json={"full_name": "acme/shop"}).json()
        repository.replace("prompts/answer.prompt.yml", "content: Answer", "contnet: Answer")
        repository.commit("a misspelled key")
        repository.git("push", "--quiet", made["clone_url"], "main", "change")
        body = {"title": "t", "head": "change", "base": "main"}
        opened = httpx.post(f"{url}/repos/acme/shop/pulls", json=body, headers=SIGNED).json()
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"pull_request": opened}))
        env = {
            "GITHUB_API_URL": url,
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_TOKEN": "written-by-the-workflow",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }
        assert repository.llmops("plan", env=env).code == 2
        yield PullRequest(repository, url, env)


def test_the_comment_is_written_once_and_then_updated_in_place(pull: PullRequest) -> None:
    pull.say("a person's remark")
    assert pull.publish().code == 0
    first = pull.comments()
    assert pull.publish().code == 0

    assert [each["id"] for each in pull.comments()] == [each["id"] for each in first]
    remark, report = pull.comments()
    assert remark["body"] == "a person's remark"
    assert "did you mean 'content'?" in report["body"]
    assert report["body"] in pull.summary()
    assert pull.checks()[-1]["conclusion"] == "failure"
    (annotation,) = pull.checks()[-1]["output"]["annotations"]
    assert (annotation["path"], annotation["start_line"]) == ("prompts/answer.prompt.yml", 4)


def test_a_report_that_somebody_else_wrote_is_found_and_of_two_one_is_left(
    pull: PullRequest,
) -> None:
    pull.say(f"an old report {MARKER}")
    pull.say(f"a newer one {MARKER}")

    assert pull.publish().code == 0

    (report,) = pull.comments()
    assert "did you mean 'content'?" in report["body"]


def test_a_fork_whose_token_may_not_write_has_its_report_in_the_summary(pull: PullRequest) -> None:
    ran = pull.publish(GITHUB_TOKEN="read-only")

    assert ran.code == 0
    assert "the report is in the job summary only" in ran.out
    assert pull.comments() == []
    assert "did you mean 'content'?" in pull.summary()


def test_cml_writes_the_first_comment_where_it_is_installed(
    pull: PullRequest, tmp_path: Path
) -> None:
    """A program of CML's name and arguments posts to the same pull request."""
    cml = tmp_path / "bin" / "cml"
    cml.parent.mkdir()
    cml.write_text(
        f"""#!/usr/bin/env python3
import json, sys, urllib.request
verb, action, flag, target, path = sys.argv[1:]
assert (verb, action, flag) == ("comment", "create", "--target")
number = target.removeprefix("pr/")
urllib.request.urlopen(urllib.request.Request(
    "{pull.url}/repos/acme/shop/issues/" + number + "/comments",
    json.dumps({{"body": "by cml: " + open(path).read()}}).encode(),
    {{"Authorization": "Bearer cml"}},
))
"""
    )
    cml.chmod(0o755)
    path = f"{cml.parent}:{os.environ['PATH']}"

    assert pull.repository.llmops("report", env=pull.env).code == 0
    assert pull.publish(PATH=path).code == 0
    (first,) = pull.comments()
    assert first["body"].startswith("by cml: ")

    assert pull.publish(PATH=path).code == 0
    (second,) = pull.comments()
    assert second["id"] == first["id"]


def test_a_github_that_does_not_answer_is_said_and_the_summary_is_kept(pull: PullRequest) -> None:
    ran = pull.publish(GITHUB_API_URL="http://127.0.0.1:9")

    assert ran.code == 3
    assert "GitHub does not answer at http://127.0.0.1:9" in ran.err
    assert "did you mean 'content'?" in pull.summary()
