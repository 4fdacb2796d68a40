"""The local GitHub, through PyGithub as it is, and through its pages."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from github import Auth, Github, GithubException

from tests.repository import make_repository
from tests.services import local_github


@pytest.fixture
def github(tmp_path: Path) -> Iterator[str]:
    """A local GitHub with one project and one pull request."""
    with local_github(tmp_path / "state") as url:
        made = httpx.post(f"{url}/_local/repos", json={"full_name": "acme/shop"}).json()
        repository = make_repository(tmp_path / "clone")
        repository.replace("prompts/answer.prompt.yml", "one sentence", "three <b>words</b>")
        repository.commit("say less")
        repository.git("push", "--quiet", made["clone_url"], "main", "change")
        yield url


@pytest.fixture
def client(github: str) -> Iterator[Github]:
    # Without the pause that it makes between writes to be kind to the real one.
    with Github(
        base_url=github, auth=Auth.Token("any"), retry=None, seconds_between_writes=None
    ) as made:
        yield made


def test_pygithub_opens_comments_and_checks_a_pull_request(client: Github, github: str) -> None:
    project = client.get_repo("acme/shop")
    pull = project.create_pull(title="Say less", body="why not", head="change", base="main")
    for number in range(35):
        pull.create_issue_comment(f"comment {number}")
    project.create_check_run(
        name="llmops",
        head_sha=pull.head.sha,
        status="completed",
        conclusion="failure",
        output={"title": "quality fell: fail", "summary": "**evidence**"},
    )

    assert [each.number for each in project.get_pulls()] == [1]
    assert [each.filename for each in pull.get_files()] == ["prompts/answer.prompt.yml"]
    assert pull.get_issue_comments().totalCount == 35
    (check,) = project.get_commit(pull.head.sha).get_check_runs(check_name="llmops")
    assert (check.conclusion, check.output.title) == ("failure", "quality fell: fail")
    page = httpx.get(f"{github}/pull/1", follow_redirects=True).text
    assert "Merging is blocked" in page
    assert "quality fell: fail" in page
    assert "three &lt;b&gt;words&lt;/b&gt;" in page


def test_a_comment_is_edited_and_deleted(client: Github) -> None:
    pull = client.get_repo("acme/shop").create_pull(title="t", body="", head="change", base="main")
    comment = pull.create_issue_comment("first")
    comment.edit("second")
    assert [each.body for each in pull.get_issue_comments()] == ["second"]
    comment.delete()
    assert list(pull.get_issue_comments()) == []


def test_a_merge_is_a_merge_commit(client: Github, tmp_path: Path) -> None:
    project = client.get_repo("acme/shop")
    pull = project.create_pull(title="t", body="", head="change", base="main")
    merged = pull.merge()
    assert merged.merged
    assert len(project.get_pull(1).raw_data["merge_commit_sha"]) == 40
    assert project.get_pull(1).state == "closed"


def test_what_github_refuses_is_refused(client: Github, github: str) -> None:
    project = client.get_repo("acme/shop")
    pull = project.create_pull(title="t", body="", head="change", base="main")
    with pytest.raises(GithubException, match="too long"):
        pull.create_issue_comment("x" * 65_537)
    with pytest.raises(GithubException) as missing:
        client.get_repo("acme/none")
    assert missing.value.status == 404
    unsigned = httpx.post(f"{github}/repos/acme/shop/pulls", json={"title": "t"})
    assert unsigned.status_code == 401
    with pytest.raises(GithubException) as invalid:
        project.create_check_run(name="x", head_sha=pull.head.sha, conclusion="splendid")
    assert invalid.value.status == 422


def test_pages_keep_hostile_comments_harmless(client: Github, github: str) -> None:
    pull = client.get_repo("acme/shop").create_pull(
        title="<script>", body="", head="change", base="main"
    )
    pull.create_issue_comment(
        "<script>alert(1)</script><details><summary>fold</summary>x</details>"
    )

    page = httpx.get(f"{github}/acme/shop/pull/1").text

    assert "<script>alert" not in page
    assert "<details><summary>fold</summary>" in page
