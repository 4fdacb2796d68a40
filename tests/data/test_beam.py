"""Cleaning with Apache Beam, on its direct runner: the bytes that one machine alone makes."""

import random
from pathlib import Path

import pytest
from llmops import config
from llmops.config import Endpoints, Environment
from llmops.data import distributed
from llmops.data.build import CLEANED, clean_posts, retrieve_posts
from llmops.data.duplicates import LEAK, NEAR, SAME_ANSWER, SAME_QUESTION
from llmops.data.params import Split
from llmops.errors import MachineryError, UserError

from tests.data.tables import Row, answered, asked, local, shipped_params, write_tables
from tests.repository import copy_of_project
from tests.services import PROJECT

pytestmark = pytest.mark.slow
ENVIRONMENT = Environment(
    name="local",
    local=True,
    project="local",
    region="us-central1",
    bucket="gs://local",
    endpoints=Endpoints(),
)
PARAMS = shipped_params().model_copy(update={"split": Split(test=0.2, validation=0.2)})


def sentence(name: object) -> str:
    return f"Return {' '.join(f'{name}part{place}' for place in range(24))} for that."


CASES = [sentence("case")]


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """A folder with retrieved posts, many of them too near to others."""
    draw = random.Random(7)
    questions: list[Row] = []
    answers: list[Row] = []
    texts: list[str] = [CASES[0]]
    for number in range(1, 901):
        same_question = questions and draw.random() < 0.05
        title = draw.choice(questions)["title"] if same_question else ""
        text = sentence(number)
        if draw.random() < 0.5:
            words = draw.choice(texts).split()
            # No other word, one or two: the same, near, and beyond the threshold.
            for _ in range(draw.randrange(3)):
                words[draw.randrange(1, len(words) - 1)] = f"other{draw.randrange(9)}"
            text = " ".join(words)
        texts.append(text)
        questions.append(asked(number, title))
        answers.append(answered(questions[-1], f"<p>{text}</p>"))
    return retrieved(tmp_path, questions, answers)


def retrieved(folder: Path, questions: list[Row], answers: list[Row]) -> Path:
    work = folder / "work"
    with local(write_tables(folder / "tables", questions, answers)) as tables:
        retrieve_posts(tables, shipped_params().retrieve, work, lambda _: None)
    return work


def clean(work: Path, cases: list[str], options: str = "") -> bytes:
    distributed.clean_posts(
        PARAMS,
        work,
        cases=cases,
        environment=ENVIRONMENT,
        tools=config.tools(PROJECT),
        options=options,
        progress=print,
    )
    return (work / CLEANED).read_bytes()


def test_near_and_repeated_rows_are_judged_as_on_one_machine(posts: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    clean_posts(PARAMS, posts, cases=CASES)
    alone = (posts / CLEANED).read_bytes()
    reasons = parquet.read_table(posts / CLEANED)["reason"].to_pylist()
    few = {reason: reasons.count(reason) for reason in (SAME_QUESTION, SAME_ANSWER, LEAK, NEAR)}
    assert min(few.values()) >= 20, few
    assert "near a case of an eval suite" in reasons

    assert clean(posts, CASES) == alone

    # As on Dataflow: posts and result go through a folder that workers elsewhere see.
    shared = tmp_path / "shared"
    shared.mkdir()
    (posts / CLEANED).unlink()
    assert clean(posts, CASES, f"--temp_location={shared}") == alone
    assert not list(shared.iterdir()), "what went through it was removed"


def test_where_there_is_no_post_there_is_no_row(tmp_path: Path) -> None:
    question = asked(1, tags="java")
    work = retrieved(tmp_path, [question], [answered(question)])
    clean_posts(PARAMS, work)
    alone = (work / CLEANED).read_bytes()
    assert clean(work, []) == alone


def test_what_cannot_run_is_said(
    posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="No closing quotation"):
        clean(posts, CASES, "--labels='x")
    with pytest.raises(MachineryError, match="Unexpected pipeline runner: NoRunner"):
        clean(posts, CASES, "--runner=NoRunner")
    monkeypatch.setenv("LLMOPS_TOOLS", str(tmp_path))
    with pytest.raises(MachineryError, match="fix: make beam"):
        clean(posts, CASES)
    assert not (posts / CLEANED).exists()


def test_the_shipped_data_is_built_as_committed(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path / "project", PROJECT)
    done = project.llmops("data", "build", "--beam", env={"LLMOPS_TOOLS": str(PROJECT)})
    assert done.code == 0, done.err
    assert "cleaning with Apache Beam" in done.err
    assert project.git("status", "--porcelain") == "", "dvc.lock holds what one machine alone made"
