"""What `llmops plan` says of a change."""

import json
import re
from pathlib import Path

import pytest

from tests.repository import MODEL, PROMPT, SUITE, Repository, copy_of_project
from tests.services import PROJECT


def plan(repository: Repository, *args: str) -> dict:
    ran = repository.llmops("plan", "--json", *args)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_changed_prompt_is_planned_with_its_suites_calls_and_release(
    repository: Repository,
) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")
    repository.commit()

    said = plan(repository)

    (change,) = said["changes"]
    assert (change["kind"], change["change"]) == ("prompt", "changed")
    assert change["touches"] == ["assistant", "assistant/quality"]
    (field,) = change["fields"]
    assert field["field"] == "messages[0].content"
    assert field["before"] == "Answer in one sentence."
    (evaluation,) = said["evaluations"]
    assert evaluation["reason"] == "the release changes: prompt"
    assert (evaluation["cases"], evaluation["model_calls"], evaluation["cached_calls"]) == (2, 4, 0)
    assert evaluation["output_tokens"] == 4 * 40
    assert evaluation["price_usd"] > 0
    assert any("becomes a new release" in sentence for sentence in said["merge"])
    (rollout,) = [each for each in said["merge"] if each.startswith("production: ")]
    assert "watch live traffic at 5% for up to 600 s" in rollout
    assert rollout.index("upload release") < rollout.index("promote release")


def test_uncommitted_changes_are_planned_too(repository: Repository) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")

    assert plan(repository)["evaluations"]
    assert repository.git("status", "--porcelain") == "M prompts/answer.prompt.yml"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("prompts/answer.prompt.yml", "# a comment\n" + PROMPT),
        (
            "prompts/answer.prompt.yml",
            "messages:\n- {content: Answer in one sentence., role: system}\n"
            '- {content: "{{question}}", role: user}\nname: answer\n',
        ),
        ("models/assistant.yaml", "".join(sorted(MODEL.splitlines(keepends=True)))),
        ("models/assistant.yaml", MODEL.replace("temperature: 0,", "temperature: 0.0,")),
        ("models/assistant.yaml", MODEL + "tuning: null\n"),
        (
            "evals/quality.yaml",
            SUITE.replace(
                "  - vars: {question: What does len() do?}\n    metadata: {id: len}\n"
                "  - vars: {question: What does abs() do?}\n    metadata: {id: abs}\n",
                "  - vars: {question: What does abs() do?}\n    metadata: {id: abs}\n"
                "  - vars: {question: What does len() do?}\n    metadata: {id: len}\n",
            ),
        ),
    ],
)
def test_what_changes_no_meaning_changes_no_digest(
    repository: Repository, path: str, text: str
) -> None:
    before = (repository.root / path).read_text(encoding="utf-8")
    assert text != before
    repository.write(path, text)

    said = plan(repository)

    assert said["changes"] == []
    assert said["evaluations"] == []


def test_a_renamed_prompt_is_said_and_evaluates_nothing(repository: Repository) -> None:
    repository.git("mv", "prompts/answer.prompt.yml", "prompts/reply.prompt.yml")
    repository.replace("models/assistant.yaml", "answer.prompt", "reply.prompt")
    repository.commit()

    said = plan(repository)

    renamed = next(change for change in said["changes"] if change["kind"] == "prompt")
    assert renamed["change"] == "renamed"
    assert renamed["old_path"] == "prompts/answer.prompt.yml"
    assert said["evaluations"] == []
    assert said["merge"] == []


def test_a_changed_case_names_the_case_and_evaluates_only_its_suite(repository: Repository) -> None:
    repository.replace("evals/quality.yaml", "abs()", "hash()")

    said = plan(repository)

    (change,) = said["changes"]
    assert change["fields"] == [{"field": "cases changed", "before": None, "after": "1: abs"}]
    assert said["evaluations"][0]["reason"] == "the suite changed"
    assert said["merge"] == []


def test_a_changed_gate_is_planned_field_by_field(repository: Repository) -> None:
    repository.replace("evals/quality.yaml", "max_drop: 0.1", "max_drop: 0.2")

    (change,) = plan(repository)["changes"]

    assert change["fields"] == [{"field": "gates.terms.max_drop", "before": "0.1", "after": "0.2"}]


def test_a_changed_serving_machine_evaluates_nothing_and_says_so(repository: Repository) -> None:
    repository.write("models/assistant.yaml", MODEL + "serving: {machine_type: n1-standard-4}\n")

    said = plan(repository)

    assert said["evaluations"] == []
    assert said["merge"] == [
        "assistant is redeployed with other machines or limits; its answers stay the same."
    ]


def test_the_price_of_an_unlisted_model_is_not_guessed(repository: Repository) -> None:
    repository.replace("models/assistant.yaml", "local: small", "local: unknown")

    (evaluation,) = plan(repository)["evaluations"]

    assert evaluation["price_usd"] is None
    assert "base model small -> unknown" in evaluation["reason"]


def test_only_the_changed_prompt_of_ten_is_evaluated(repository: Repository) -> None:
    for number in range(10):
        repository.write(
            f"prompts/p{number}.prompt.yml", PROMPT.replace("Answer", f"Answer {number}")
        )
        repository.write(
            f"models/app{number}.yaml",
            MODEL.replace("assistant", f"app{number}").replace(
                "answer.prompt", f"p{number}.prompt"
            ),
        )
    repository.commit()
    repository.git("branch", "--force", "main")
    repository.replace("prompts/p3.prompt.yml", "one sentence", "two")

    said = plan(repository)

    assert [evaluation["application"] for evaluation in said["evaluations"]] == ["app3"]


def test_two_revisions_are_compared_without_a_checkout(repository: Repository) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")
    repository.commit()
    repository.git("switch", "--quiet", "main")
    repository.write("notes.txt", "uncommitted work stays as it is")

    assert plan(repository, "--base", "main", "--head", "change")["evaluations"]
    assert (repository.root / "notes.txt").exists()
    assert repository.git("branch", "--show-current") == "main"


def test_the_data_pointer_shows_rows_and_splits(repository: Repository) -> None:
    pointer = "outs:\n- md5: {}.dir\n  size: 10\n  nfiles: 2\n  hash: md5\n  path: data\nmeta:\n  rows: {{train: {}}}\n"
    repository.write("data.dvc", pointer.format("a" * 32, 100))
    repository.commit()
    repository.git("branch", "--force", "main")
    repository.write("data.dvc", pointer.format("b" * 32, 120))

    (change,) = plan(repository)["changes"]

    fields = {field["field"]: (field["before"], field["after"]) for field in change["fields"]}
    assert fields["rows.train"] == ("100", "120")
    assert fields["md5"] == (f"{'a' * 32}.dir", f"{'b' * 32}.dir")


def test_a_person_reads_a_plan(repository: Repository) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")

    ran = repository.llmops("plan")

    assert ran.code == 0
    assert re.search(r"prompt\s+changed\s+prompts/answer.prompt.yml\s+assistant", ran.out)
    assert "What a merge does" in ran.out


def test_data_that_was_built_from_something_else_is_noted(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "project", PROJECT)
    assert plan(project)["notes"] == []

    project.replace("params.yaml", "words: [4, 40]", "words: [5, 40]")
    project.replace("evals/quality.yaml", "tests:", "# Hard ones.\ntests:")
    project.replace("scripts/llmops/data/text.py", "_ABBREVIATIONS = (", "_ABBREVIATIONS = ( ")

    (note,) = plan(project)["notes"]
    assert "changed: params.yaml: data.clean, evals, scripts/llmops/data/text.py." in note
    assert "llmops data build" in note
    assert f"note: {note}" in " ".join(project.llmops("plan").out.split())
    assert project.llmops("pr").code == 0
    comment = (project.root / ".llmops/run/report/comment.md").read_text(encoding="utf-8")
    assert "**Note:** the data was built before these changed: params.yaml" in comment

    project.write("dvc.lock", "<<<<<<< HEAD\n:")
    ran = project.llmops("plan")
    assert ran.code == 2
    assert "dvc.lock: no YAML" in ran.err
