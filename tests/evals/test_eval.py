"""What `llmops eval` asks, what it does not ask again, and what it never loses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.repository import Ran, Repository
from tests.services import ScriptedModel


def evaluate(repository: Repository, env: dict[str, str]) -> dict[str, Any]:
    ran = repository.llmops("eval", "--json", env=env)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


@pytest.fixture
def changed(repository: Repository, cloud: dict[str, str]) -> dict[str, str]:
    """A prompt that differs from main's."""
    repository.replace("prompts/answer.prompt.yml", "Answer in one sentence.", "Say little.")
    return cloud


def test_both_releases_answer_the_same_cases(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    results = evaluate(repository, changed)

    assert results["model_calls"] == 4
    assert sorted(model.questions) == ["What does abs() do?"] * 2 + ["What does len() do?"] * 2
    (suite,) = results["suites"]
    case = next(case for case in suite["cases"] if case["id"] == "len")
    base, head = case["base"][0], case["head"][0]
    assert base["answer"]["text"] == "Answer in one sentence. I return: What does len() do?"
    assert head["answer"]["text"] == "Say little. I return: What does len() do?"
    (check,) = head["checks"]
    assert (check["metric"], check["passed"], check["score"]) == ("terms", True, 1.0)


def test_nothing_is_asked_twice(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    first = evaluate(repository, changed)
    second = evaluate(repository, changed)

    assert second["model_calls"] == 0
    assert len(model.questions) == 4
    assert [case["head"][0]["checks"] for case in second["suites"][0]["cases"]] == [
        case["head"][0]["checks"] for case in first["suites"][0]["cases"]
    ]
    assert all(case["head"][0]["cached"] for case in second["suites"][0]["cases"])


def test_another_machine_finds_the_observations_in_the_bucket(
    repository: Repository, changed: dict[str, str], model: ScriptedModel, tmp_path: Path
) -> None:
    evaluate(repository, changed)
    other = tmp_path / "other"
    (other / "local").mkdir(parents=True)
    endpoints = Path(changed["LLMOPS_HOME"]) / "local" / "endpoints.json"
    (other / "local" / "endpoints.json").write_bytes(endpoints.read_bytes())

    results = evaluate(repository, {**changed, "LLMOPS_HOME": str(other)})

    assert results["model_calls"] == 0
    assert len(model.questions) == 4


def test_a_changed_assertion_is_judged_again_without_asking_the_model(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    evaluate(repository, changed)
    repository.replace("evals/quality.yaml", 'value: "return"', 'value: "no such word"')

    results = evaluate(repository, changed)

    assert results["model_calls"] == 0
    assert len(model.questions) == 4
    checks = [case["head"][0]["checks"][0] for case in results["suites"][0]["cases"]]
    assert [check["passed"] for check in checks] == [False, False]


def test_a_changed_case_asks_for_that_case_only(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    evaluate(repository, changed)
    model.questions.clear()
    repository.replace("evals/quality.yaml", "What does abs() do?", "What does hash() do?")

    evaluate(repository, changed)

    assert model.questions == ["What does hash() do?"] * 2


def test_a_file_that_an_assertion_names_is_taken_from_the_head_revision(
    repository: Repository, changed: dict[str, str]
) -> None:
    repository.write(
        "evals/short.cjs",
        "module.exports = (output) => ({ pass: output.length < 5, score: 0.25, reason: 'long' });\n",
    )
    repository.replace(
        "evals/quality.yaml",
        '{type: icontains, value: "return", metric: terms}',
        "{type: javascript, value: 'file://short.cjs', metric: terms}",
    )
    repository.commit()
    repository.git("switch", "--quiet", "main")

    ran = repository.llmops("eval", "--base", "main", "--head", "change", "--json", env=changed)

    assert ran.code == 0, ran.err
    check = json.loads(ran.out)["suites"][0]["cases"][0]["head"][0]["checks"][0]
    assert (check["passed"], check["score"], check["reason"]) == (False, 0.25, "long")


def test_repeats_are_asked_and_kept_apart(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    repository.write(
        "evals/quality.yaml",
        (repository.root / "evals/quality.yaml").read_text() + "evaluateOptions: {repeat: 3}\n",
    )

    results = evaluate(repository, changed)

    assert len(model.questions) == 2 * 2 * 3
    assert [o["repeat"] for o in results["suites"][0]["cases"][0]["head"]] == [0, 1, 2]


def test_a_call_that_fails_for_a_moment_is_retried(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    failed: list[str] = []

    def fail_once(_system: str, question: str) -> int | None:
        if failed:
            return None
        failed.append(question)
        return 503

    model.fail = fail_once

    results = evaluate(repository, changed)

    assert len(failed) == 1
    assert [case["head"][0]["answer"]["error"] for case in results["suites"][0]["cases"]] == [
        None
    ] * 2


def test_a_call_that_keeps_failing_is_an_error_of_its_case_and_no_pass(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    model.fail = lambda _system, question: 400 if "abs" in question else None

    results = evaluate(repository, changed)

    case = next(case for case in results["suites"][0]["cases"] if case["id"] == "abs")
    assert case["head"][0]["answer"]["error"].startswith("400")
    assert case["head"][0]["checks"] == []
    model.fail = lambda _system, question: None
    assert evaluate(repository, changed)["model_calls"] == 2, "errors must be asked again"


def test_a_model_that_is_not_there_ends_it_with_three(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    model.fail = lambda _system, question: 400

    ran = repository.llmops("eval", env=changed)

    assert ran.code == 3
    assert "the model answers nothing" in ran.err
    assert not (repository.root / ".llmops" / "run" / "results.json").exists()


def test_without_a_local_cloud_the_fix_is_named(repository: Repository) -> None:
    repository.replace("prompts/answer.prompt.yml", "one sentence", "three words")

    ran = repository.llmops("eval")

    assert ran.code == 2
    assert "llmops local up" in ran.err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_stopped_in_the_middle_no_answer_is_lost(
    repository: Repository, changed: dict[str, str], model: ScriptedModel, stop: signal.Signals
) -> None:
    cases = "".join(f"  - vars: {{question: Q{n} return}}\n" for n in range(40))
    repository.write(
        "evals/quality.yaml", f"tests:\n{cases}evaluateOptions: {{maxConcurrency: 2}}\n"
    )
    model.delay_seconds = 0.15
    process = subprocess.Popen(
        [sys.executable, "-m", "llmops.cli", "eval"],
        cwd=repository.root,
        env={**os.environ, **changed},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(model.questions) < 20 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(stop)
    _, said = process.communicate(timeout=30)
    if stop is signal.SIGINT:
        assert process.returncode == 130
        assert "what was done so far is kept" in said
    kept = len(list((Path(changed["LLMOPS_HOME"]) / "cache" / "answers").rglob("*.json")))
    asked = len(model.questions)
    assert asked - 2 <= kept <= asked
    model.delay_seconds = 0.0

    results = evaluate(repository, changed)

    assert results["model_calls"] == 80 - kept


def test_a_bucket_that_fails_is_noted_and_the_answers_are_kept_here(
    repository: Repository, changed: dict[str, str], model: ScriptedModel
) -> None:
    evaluate(repository, changed)
    endpoints = Path(changed["LLMOPS_HOME"]) / "local" / "endpoints.json"
    endpoints.write_text(json.dumps({"storage": "http://127.0.0.1:9", "vertex": model.url}))

    ran: Ran = repository.llmops("eval", "--json", env=changed)

    assert ran.code == 0, "everything is on this machine: the bucket is not needed"


def test_of_ten_prompts_only_the_changed_ones_cases_are_asked(
    repository: Repository, cloud: dict[str, str], model: ScriptedModel
) -> None:
    prompt = (repository.root / "prompts/answer.prompt.yml").read_text(encoding="utf-8")
    config = (repository.root / "models/assistant.yaml").read_text(encoding="utf-8")
    for n in range(9):
        repository.write(f"prompts/p{n}.prompt.yml", prompt.replace("Answer", f"Answer {n}"))
        own = config.replace("application: assistant", f"application: app{n}")
        repository.write(f"models/app{n}.yaml", own.replace("answer.prompt", f"p{n}.prompt"))
    repository.commit("ten prompts")
    repository.git("branch", "--force", "main")
    repository.replace("prompts/p3.prompt.yml", "one sentence", "two sentences")

    results = evaluate(repository, cloud)

    assert [suite["application"] for suite in results["suites"]] == ["app3"]
    assert len(model.questions) == results["model_calls"] == 4
