"""The comment holds together whatever a model says, and always fits."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmops.changes import ChangeKind, FieldChange, ResourceChange, ResourceKind
from llmops.compare import compare
from llmops.formats import Gate
from llmops.localcloud.github.markdown import render
from llmops.plan import Plan
from llmops.report.markdown import LONGEST, MARKER, Context, Failure, comment, failure
from markdown_it import MarkdownIt

from tests.results import case, observation, results, suite

CONTEXT = Context(
    commit="c" * 40, run_url="https://ci.example/1", report_url="https://ci.example/2"
)


def plan(*changes: ResourceChange) -> Plan:
    return Plan(
        base="main",
        head="HEAD",
        environment="local",
        changes=changes,
        evaluations=(),
        unchanged_suites=(),
        data_needed=(),
        merge=("assistant becomes a new release.",),
    )


def prompt_change(before: str, after: str) -> ResourceChange:
    field = FieldChange(field="messages[0].content", before=before, after=after)
    return ResourceChange(
        kind=ResourceKind.PROMPT,
        change=ChangeKind.CHANGED,
        path="prompts/a.prompt.yml",
        old_path=None,
        fields=(field,),
        touches=("assistant",),
    )


def told(texts: list[str], change: ResourceChange | None = None) -> str:
    cases = [
        case(n, [observation({"ok": 1}, "fine")], [observation({"ok": 0}, text)])
        for n, text in enumerate(texts)
    ]
    comparison = compare(results(suite(cases, Gate(metric="ok"))), {})
    return comment(plan(*([change] if change else [])), comparison, CONTEXT)


HOSTILE = [
    "</details><script>alert(1)</script>",
    "```\n</details>\n```",
    "@octocat please look | a | b |",
    "![x](http://attacker.example/p.png) [link](javascript:alert(1))",
    "<!-- llmops:report -->",
    "\n\n# heading\n\n| a | b |\n|---|---|\n",
    "`````",
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=300), st.sampled_from(HOSTILE)), min_size=1, max_size=6))
def test_no_answer_breaks_out_of_its_place(texts: list[str]) -> None:
    text = told(texts, prompt_change(texts[0], texts[-1]))

    html = render(text)
    assert len(text) <= LONGEST
    assert text.count(MARKER) == 1
    assert html.count("<details") == html.count("</details>") == text.count("\n</details>")
    assert "<script" not in html
    assert "<img" not in html
    links = set(re.findall(r'href="([^"]*)"', html))
    assert links <= {"https://ci.example/1", "https://ci.example/2"}


def test_a_mention_calls_nobody() -> None:
    assert "@octocat" not in told(["ask @octocat"])


def test_a_long_report_is_cut_and_says_how_much() -> None:
    text = told(["word " * 2_000] * 400, prompt_change("x" * 50_000, "y\n" * 50_000))

    assert len(text) <= LONGEST
    assert "more regressed cases: see the full report" in text
    assert text.rstrip().endswith(MARKER)


def test_the_verdict_comes_first_and_failing_evidence_is_open() -> None:
    text = told(["wrong"] * 60)

    assert text.startswith("## ❌ fail")
    assert "<details open><summary>quality: 60 cases regressed" in text


def test_nothing_to_evaluate_is_a_pass_that_says_so() -> None:
    assert comment(plan(), None, CONTEXT).startswith(
        "## ✅ llmops: nothing changes in meaning: pass"
    )


@pytest.mark.parametrize("code", [2, 3])
def test_a_change_that_could_not_be_judged_says_where_and_what_to_do(code: int) -> None:
    problem = Failure(
        message="unknown key 'x' ```\n</details>",
        path="models/a.yaml",
        line=7,
        fix="mend it",
        exit_code=code,
    )

    text = failure(problem, CONTEXT)

    assert "models/a.yaml:7" in text
    assert "mend it" in text
    assert MARKER in text
    assert len(problem.title) <= 140
    assert "&lt;/details&gt;" in MarkdownIt("gfm-like").render(text)


def test_changed_data_stands_in_the_comment_and_long_samples_do_not() -> None:
    change = prompt_change("Answer.", "Answer in one short sentence.")
    summary = "### Data: data.dvc\n\n- 5 rows added\n"
    whole = comment(plan(change), None, CONTEXT, data=summary + "<details>short</details>")
    assert summary in whole
    assert "<details>short</details>" in whole
    cut = comment(plan(change), None, CONTEXT, data=summary + "<details>" + "long " * 20_000)
    assert summary in cut
    assert "long long" not in cut
    assert "llmops data diff" in cut
