"""One issue while live and main differ: opened, updated in place, closed when they agree."""

from collections.abc import Sequence

from llmops.config import GitHub
from llmops.errors import MachineryError, UserError
from llmops.reconcile import REPAIRED, Finding
from llmops.report.deployment import connect
from llmops.report.markdown import as_code, as_words

MARKER = "<!-- llmops:drift -->"
TITLE = "Live and main differ"


def body(findings: Sequence[Finding], run_url: str) -> str:
    """The issue's text."""
    rows = [
        f"| {as_words(each.environment)} | {as_words(each.application)} | {each.state} "
        f"| {as_words(each.cause)} |"
        for each in findings
        if each.state in REPAIRED
    ]
    lines = [
        "What runs is not what main says:",
        "",
        "| environment | application | state | cause |",
        "|---|---|---|---|",
        *rows,
        "",
        f"To repair: {as_code('llmops reconcile --apply')}, or the workflow *Reconcile*.",
    ]
    if run_url:
        lines += ["", f"<sub>[run]({run_url})</sub>"]
    return "\n".join([*lines, "", MARKER, ""])


def publish(findings: Sequence[Finding], github: GitHub) -> list[str]:
    """Opens, updates or closes the issue; returns what was done.

    Raises UserError outside a workflow run, MachineryError when GitHub refuses.
    """
    repository = connect(github)
    if repository is None:
        raise UserError("--publish needs GITHUB_REPOSITORY and GITHUB_TOKEN", fix="leave it out")
    from github import GithubException
    from requests.exceptions import RequestException

    differ = any(each.state in REPAIRED for each in findings)
    try:
        opened = [
            each
            for each in repository.get_issues(state="open")
            if each.pull_request is None and MARKER in (each.body or "")
        ]
        if not differ:
            for each in opened:
                each.create_comment("Live and main agree again.")
                each.edit(state="closed")
            return [f"closed the issue {each.html_url}" for each in opened]
        text = body(findings, github.run_url)
        if opened:
            opened[0].edit(body=text)
            return [f"updated the issue {opened[0].html_url}"]
        made = repository.create_issue(title=TITLE, body=text)
    except (GithubException, RequestException, OSError) as error:
        raise MachineryError(f"GitHub refuses the issue: {error}", fix="run it again") from None
    return [f"opened the issue {made.html_url}"]
