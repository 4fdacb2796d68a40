"""The shipped suites: what promptfoo accepts alone, and what their rules and scores say."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from llmops import config, datasets
from llmops.evals import score

from tests.repository import Repository, make_repository
from tests.services import ScriptedModel

PROJECT = Path(__file__).parents[2]
SUITES = ("evals/quality.yaml", "evals/safety.yaml")
ASSERTIONS = PROJECT / "evals" / "assertions"


def run(
    *command: str, text: str = "", cwd: Path = PROJECT, env: dict[str, str] | None = None
) -> str:
    tools = config.tools(PROJECT)
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**score.environment(tools), **(env or {})},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def judge(name: str, papers: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What an assertion says of (answer, reference) pairs."""
    script = (
        f"const judge = require({json.dumps(str(ASSERTIONS / name))});"
        "const papers = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(papers.map(([a, r]) => judge(a, {vars: {reference: r}}))));"
    )
    found: list[dict[str, Any]] = json.loads(run("node", "-e", script, text=json.dumps(papers)))
    return found


@cache
def files() -> dict[str, bytes]:
    """What data/ holds."""
    with datasets.dataset(PROJECT) as dataset:
        return {name: (dataset.folder / name).read_bytes() for name in dataset.files}


def quality_cases() -> list[dict[str, Any]]:
    return [json.loads(line) for line in files()["test.jsonl"].splitlines()]


def safety_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = yaml.safe_load(
        (PROJECT / "evals" / "cases" / "safety.yaml").read_text(encoding="utf-8")
    )
    return cases


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    """The shipped application, with its data pulled."""
    root = tmp_path / "checkout"
    for folder in ("evals", "models", "prompts"):
        shutil.copytree(PROJECT / folder, root / folder)
    for name in ("llmops.yaml", "data.dvc", "scripts/llmops/evals/provider.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, root / name)
    (root / "data").mkdir()
    for name, content in files().items():
        (root / "data" / name).write_bytes(content)
    return make_repository(root, {".gitignore": ".llmops/\n"})


@pytest.mark.slow
@pytest.mark.parametrize("path", SUITES)
def test_promptfoo_alone_runs_the_suite(
    path: str, checkout: Repository, model: ScriptedModel
) -> None:
    local = checkout.root / ".llmops" / "local"
    local.mkdir(parents=True)
    (local / "endpoints.json").write_text(json.dumps({"vertex": model.url}), encoding="utf-8")
    output = checkout.root / "output.json"
    command = ("promptfoo", "eval", "-c", path, "--filter-first-n", "3", "--no-cache", "--no-table")
    env = {"LLMOPS_HOME": str(local.parent), "PROMPTFOO_PASS_RATE_THRESHOLD": "0"}

    run(*command, "-o", str(output), cwd=checkout.root, env=env)

    rows = json.loads(output.read_text(encoding="utf-8"))["results"]["results"]
    assert len(rows) == 3
    assert sorted(model.questions) == sorted(row["vars"]["question"] for row in rows)
    assert all(row["vars"]["question"] in row["response"]["output"] for row in rows)
    assert all(row["gradingResult"]["componentResults"] for row in rows)


def test_every_case_has_an_id_of_its_own() -> None:
    ids = [case["metadata"]["id"] for case in (*quality_cases(), *safety_cases())]
    assert len(ids) == len(set(ids))


def test_there_are_enough_safety_cases_in_each_category() -> None:
    cases = safety_cases()
    assert len(cases) >= 40
    metrics = [{each["metric"] for each in case["assert"]} for case in cases]
    for category in ("injection", "scope", "leak", "personal_data"):
        assert sum(category in found for found in metrics) >= 8, category


def test_no_case_occurs_in_the_training_data() -> None:
    asked = {
        json.loads(line)["contents"][0]["parts"][0]["text"].lower()
        for name in ("train.jsonl", "validation.jsonl")
        for line in files()[name].splitlines()
    }
    for case in (*quality_cases(), *safety_cases()):
        assert case["vars"]["question"].lower() not in asked


def test_every_assertion_names_its_metric() -> None:
    for path in SUITES:
        suite = yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))
        written = suite.get("defaultTest", {}).get("assert", [])
        assert all(each.get("metric") for each in written), path
    assert all(each.get("metric") for case in safety_cases() for each in case["assert"])


def test_the_references_themselves_score_full_marks() -> None:
    papers = [(case["vars"]["reference"], case["vars"]["reference"]) for case in quality_cases()]
    for name in ("rouge_l.cjs", "terms.cjs"):
        verdicts = judge(name, papers)
        assert [each["score"] for each in verdicts] == pytest.approx([1.0] * len(papers)), name


@settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.tuples(
            *[st.lists(st.sampled_from(["a", "b", "cd", "e.", "F,", "g'h"]), max_size=12)] * 2
        ),
        min_size=50,
        max_size=80,
    )
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(papers: list[Any]) -> None:
    """Lin (2004), sentence level, with beta 1, as Google's rouge-score has it."""
    texts = [(" ".join(answer), " ".join(reference)) for answer, reference in papers]
    expected = [f_measure(words(answer), words(reference)) for answer, reference in texts]
    assert [each["score"] for each in judge("rouge_l.cjs", texts)] == pytest.approx(expected)


def test_an_answer_that_rambles_fails_length_and_a_broken_one_fails_format() -> None:
    papers = [
        ("Return the suffix.", ""),
        ("word " * 31 + ".", ""),
        ("# Suffix\nReturn it.", ""),
        ("Return it:\n```\nx\n```", ""),
        ("Return the suf", ""),
    ]
    assert [each["pass"] for each in judge("length.cjs", papers)] == [True, False, True, True, True]
    assert [each["pass"] for each in judge("format.cjs", papers)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def words(text: str) -> list[str]:
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in text)
    return cleaned.lower().split()


def f_measure(answer: list[str], reference: list[str]) -> float:
    longest = [[0] * (len(reference) + 1) for _ in range(len(answer) + 1)]
    for i, one in enumerate(answer):
        for j, other in enumerate(reference):
            longest[i + 1][j + 1] = (
                longest[i][j] + 1 if one == other else max(longest[i][j + 1], longest[i + 1][j])
            )
    common = longest[-1][-1]
    return 2 * common / (len(answer) + len(reference)) if common else 0.0
