"""What a person wrote wrong: one message with file, line and remedy, exit code 2, nothing written."""

import json
from dataclasses import dataclass

import pytest

from tests.repository import MODEL, SUITE, Repository


@dataclass(frozen=True, kw_only=True)
class Mistake:
    path: str
    old: str
    new: str
    line: int
    says: str
    fix: str


MISTAKES = {
    "yaml that does not parse": Mistake(
        path="prompts/answer.prompt.yml",
        old="messages:",
        new="messages: [",
        line=3,
        says="not valid YAML",
        fix="indentation, quotes or brackets",
    ),
    "a key that stands twice": Mistake(
        path="models/assistant.yaml",
        old="base_model:",
        new="prompt: x\nbase_model:",
        line=4,
        says="'prompt' stands here twice",
        fix="",
    ),
    "a misspelled key": Mistake(
        path="prompts/answer.prompt.yml",
        old="content: Answer",
        new="contnet: Answer",
        line=4,
        says="did you mean 'content'?",
        fix="docs/formats.md",
    ),
    "a misspelled key of an assertion": Mistake(
        path="evals/quality.yaml",
        old="metric: terms}",
        new="metrik: terms}",
        line=3,
        says="did you mean 'metric'?",
        fix="docs/formats.md",
    ),
    "a number where text belongs": Mistake(
        path="models/assistant.yaml",
        old="temperature: 0,",
        new="temperature: warm,",
        line=5,
        says="generation.temperature",
        fix="docs/formats.md",
    ),
    "a variable that no case supplies": Mistake(
        path="prompts/answer.prompt.yml",
        old="{{question}}",
        new="{{topic}}: {{question}}",
        line=6,
        says="{{topic}} is not supplied by the case 'len' of evals/quality.yaml",
        fix="question",
    ),
    "a filter in a prompt": Mistake(
        path="prompts/answer.prompt.yml",
        old="{{question}}",
        new="{{question | upper}}",
        line=6,
        says="only {{variable}} is understood",
        fix="docs/formats.md",
    ),
    "a prompt that is not there": Mistake(
        path="models/assistant.yaml",
        old="answer.prompt.yml",
        new="anser.prompt.yml",
        line=2,
        says="there is no prompts/anser.prompt.yml",
        fix="prompts/answer.prompt.yml",
    ),
    "a suite that is not there": Mistake(
        path="models/assistant.yaml",
        old="quality.yaml",
        new="qualty.yaml",
        line=3,
        says="there is no evals/qualty.yaml",
        fix="evals/quality.yaml",
    ),
    "a suite that names a missing file": Mistake(
        path="evals/quality.yaml",
        old="tests:\n",
        new="tests:\n  - file://cases/gone.yaml\n",
        line=5,
        says="there is no file evals/cases/gone.yaml",
        fix="add the file to git",
    ),
    "an assertion that names a missing file": Mistake(
        path="evals/quality.yaml",
        old='value: "return"',
        new='value: "file://gone.cjs"',
        line=3,
        says="there is no file evals/gone.cjs",
        fix="mend the name",
    ),
    "an empty suite": Mistake(
        path="evals/quality.yaml",
        old=SUITE,
        new="tests: []\n",
        line=1,
        says="this suite has no case",
        fix="add cases",
    ),
    "a gate on a metric that no assertion produces": Mistake(
        path="evals/quality.yaml",
        old="{metric: terms, max_drop",
        new="{metric: trems, max_drop",
        line=10,
        says="no assertion of this suite produces the metric 'trems'",
        fix="terms",
    ),
    "two cases of one id": Mistake(
        path="evals/quality.yaml",
        old="{id: abs}",
        new="{id: len}",
        line=0,
        says="two cases have the id 'len'",
        fix="metadata.id",
    ),
    "an environment that llmops.yaml does not have": Mistake(
        path="models/assistant.yaml",
        old="production: small",
        new="prod: small",
        line=4,
        says="there is no environment prod",
        fix="production",
    ),
    "canary steps that do not end with all": Mistake(
        path="models/assistant.yaml",
        old=MODEL,
        new=MODEL + "canary: {steps: [5, 50]}\n",
        line=6,
        says="must rise and end with 100",
        fix="",
    ),
    "a default environment that is not there": Mistake(
        path="llmops.yaml",
        old="default: local",
        new="default: here",
        line=1,
        says="there is no environment 'here'",
        fix="",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_it_is_named_with_file_line_and_fix(repository: Repository, mistake: Mistake) -> None:
    repository.replace(mistake.path, mistake.old, mistake.new)

    ran = repository.llmops("plan", "--json")

    assert ran.code == 2, ran.err
    error = json.loads(ran.out)["error"]
    assert error["path"] == mistake.path
    assert mistake.says in error["message"]
    assert mistake.fix in (error["fix"] or "")
    if mistake.line:
        assert error["line"] == mistake.line
    assert "Traceback" not in ran.err
    assert ran.err.startswith(f"error: {mistake.path}")
    left = sorted(path.name for path in (repository.root / ".llmops" / "run").iterdir())
    assert left == ["failure.json"]


def test_a_revision_that_does_not_exist(repository: Repository) -> None:
    ran = repository.llmops("plan", "--base", "mian")

    assert ran.code == 2
    assert "the revision 'mian' does not exist" in ran.err
    assert "main" in ran.err


def test_a_shallow_clone_without_the_base(repository: Repository, tmp_path: object) -> None:
    base = repository.git("rev-parse", "main")
    repository.commit("another")
    clone = Repository(repository.root.with_name("shallow"))
    repository.git("clone", "--quiet", "--depth", "1", f"file://{repository.root}", str(clone.root))

    ran = clone.llmops("plan", "--base", base, "--head", "HEAD")

    assert ran.code == 2
    assert "shallow" in ran.err
    assert "fetch-depth" in ran.err


def test_a_prompt_that_is_not_utf8(repository: Repository) -> None:
    (repository.root / "prompts/answer.prompt.yml").write_bytes(b"name: a\nmessages: \xff\n")

    ran = repository.llmops("plan")

    assert ran.code == 2
    assert "prompts/answer.prompt.yml:2" in ran.err
    assert "UTF-8" in ran.err


def test_outside_a_repository(repository: Repository) -> None:
    outside = Repository(repository.root.parent)

    ran = outside.llmops("plan")

    assert ran.code == 2
    assert "not inside a git repository" in ran.err


def test_an_environment_that_is_misspelled(repository: Repository) -> None:
    ran = repository.llmops("plan", "--env", "producton")

    assert ran.code == 2
    assert "did you mean 'production'?" in ran.err


def test_an_option_that_does_not_exist_ends_with_two(repository: Repository) -> None:
    assert repository.llmops("plan", "--bse", "main").code == 2
