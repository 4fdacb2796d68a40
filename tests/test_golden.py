"""What people read, held as text: the comment, the plan, the help. Review these files as prose."""

import re
from collections.abc import Callable, Iterator

import click
import pytest
from llmops.cli import llmops
from llmops.compare import compare
from llmops.data import params, retrieve
from llmops.formats import Gate
from llmops.report.markdown import Failure, comment, failure

from tests.report.test_comment import CONTEXT, plan, prompt_change
from tests.repository import Repository
from tests.results import results, scored, suite
from tests.services import PROJECT

Golden = Callable[[str, str], None]

SITUATIONS = {
    "pass": ([0.1, 0.2, 0.3, 0.4] * 10, [0.3, 0.3, 0.5, 0.4] * 10),
    "fail": ([0.3, 0.3, 0.5, 0.4] * 10, [0.1, 0.2, 0.3, 0.4] * 10),
    "inconclusive": ([0.1, 0.9, 0.1, 0.9, 0.4], [0.9, 0.0, 0.2, 0.4, 0.3]),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_comment(situation: str, golden: Golden) -> None:
    base, head = SITUATIONS[situation]
    found = results(suite(scored(base, head), Gate(metric="f1", max_drop=0.02)))
    change = prompt_change("Answer.", "Answer in one short sentence.")

    golden(f"comment-{situation}.md", comment(plan(change), compare(found, {}), CONTEXT))


def test_the_comment_on_an_invalid_change(golden: Golden) -> None:
    problem = Failure(
        message="unknown key 'contnet'; did you mean 'content'?",
        path="prompts/answer.prompt.yml",
        line=4,
        fix="rename it to `content`",
        exit_code=2,
    )
    golden("comment-invalid.md", failure(problem, CONTEXT))


def test_the_plan(repository: Repository, golden: Golden) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "two sentences")
    repository.replace("models/assistant.yaml", "maxOutputTokens: 40", "maxOutputTokens: 80")
    repository.replace("evals/quality.yaml", "max_drop: 0.1", "max_drop: 0.2")

    ran = repository.llmops("plan", env={"COLUMNS": "120"})

    assert ran.code == 0, ran.err
    text = re.sub(r"\b[0-9a-f]{7,64}\b", "COMMIT", ran.out)
    golden("plan.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


@pytest.mark.parametrize("name", ["taken", "left_out"])
def test_the_query(name: str, golden: Golden) -> None:
    wanted = params.load(PROJECT).retrieve
    golden(f"{name}.sql", retrieve.bigquery_sql(getattr(retrieve, name)(wanted)) + "\n")


def test_the_help(golden: Golden) -> None:
    golden("help.txt", "\n\n".join(_help(llmops, click.Context(llmops, info_name="llmops"))) + "\n")


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = 100
    yield f"$ {context.command_path} --help\n{command.get_help(context)}"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _help(inner, click.Context(inner, parent=context, info_name=name))
