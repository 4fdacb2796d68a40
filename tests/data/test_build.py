"""From the source tables to data/: which posts are taken, and where each row falls."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmops import datasets
from llmops.data.build import Dataset, install
from llmops.data.clean import split_of
from llmops.data.pointer import directory_md5, pointer
from llmops.errors import UserError

from tests.data.tables import (
    Row,
    answered,
    asked,
    build_from,
    files,
    local,
    rows,
    shipped_params,
    unlike,
    write_tables,
)
from tests.repository import Repository
from tests.services import PROJECT


def kept(folder: Path, questions: Sequence[Row], answers: Sequence[Row]) -> list[str]:
    """The answers kept, beside that of one post that is always good."""
    good = asked(999)
    dataset = build_from(folder, [*questions, good], [*answers, answered(good)])
    found = sorted(answer for _, answer in rows(dataset).values())
    found.remove(unlike(999))
    return found


def table(name: str) -> list[Row]:
    import gzip

    with gzip.open(datasets.TABLES / f"posts_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def shipped() -> Iterator[Dataset]:
    """What the shipped tables give."""
    with datasets.dataset(PROJECT) as dataset:
        yield dataset


# --- which posts are taken ------------------------------------------------------------------------


def test_the_accepted_answer_is_taken_even_where_another_scores_higher(tmp_path: Path) -> None:
    question = asked(1, accepted_answer_id=101)
    accepted = answered(question, "<p>Return the accepted thing.</p>", number=1, score=0)
    loud = answered(question, "<p>Return the loud thing.</p>", number=2, score=50)
    assert kept(tmp_path, [question], [loud, accepted]) == ["Return the accepted thing."]


def test_without_an_accepted_answer_the_best_one_is_taken(tmp_path: Path) -> None:
    question = asked(1)
    good = answered(question, "<p>Return the good thing.</p>", number=1, score=8)
    better = answered(question, "<p>Return the better thing.</p>", number=2, score=9)
    assert kept(tmp_path, [question], [good, better]) == ["Return the better thing."]


@pytest.mark.parametrize(
    ("question", "answers", "reason"),
    [
        (asked(1), [], "without an answer"),
        (asked(1), [answered(asked(1), score=2)], "no answer accepted or scored 3 or more"),
        (asked(1, tags="java|python-3.x"), [answered(asked(1))], "not tagged `python`"),
        (
            asked(1, creation_date="2018-12-31 23:59:59+00:00"),
            [answered(asked(1))],
            "not asked from 2019-01-01 to before 2027-01-01",
        ),
        (
            asked(1),
            [answered(asked(1), "<p>See above.</p>")],
            "first sentence not of 4 to 40 words",
        ),
        (
            asked(1),
            [answered(asked(1), "<pre><code>no prose in here at all\n</code></pre>")],
            "first sentence not of 4 to 40 words",
        ),
        (
            asked(1, "Wozu dient modul1.ding()?"),
            [answered(asked(1), "<p>Gibt den größten Wert zurück, den man übergeben hat.</p>")],
            "not in the language `en`",
        ),
        (
            asked(1),
            [answered(asked(1), "<p>" + "long " * 50_000 + "</p>")],
            "answer of more than 200000 characters",
        ),
        (asked(1, "???"), [answered(asked(1))], "question without a word"),
    ],
)
def test_what_teaches_nothing_is_left_out_with_its_reason(
    tmp_path: Path, question: Row, answers: list[Row], reason: str
) -> None:
    good = asked(999)
    dataset = build_from(tmp_path, [question, good], [*answers, answered(good)])
    assert list(rows(dataset)) == [good["title"]]
    assert {name: each.rows for name, each in dataset.dropped.items()} == {reason: 1}
    assert dataset.dropped[reason].samples == [question["title"]]
    assert f"| {reason} | 1 |" in files(dataset)["README.md"].decode()


# --- duplicates and leaks -------------------------------------------------------------------------


def test_of_a_question_asked_twice_the_older_is_kept(tmp_path: Path) -> None:
    older, newer = asked(1, "What does os.x() do?"), asked(2, "what is OS.X() for in Python?")
    answers = [
        answered(newer, "<p>Return the newer thing.</p>"),
        answered(older, "<p>Return the older thing.</p>"),
    ]
    assert kept(tmp_path, [newer, older], answers) == ["Return the older thing."]


def test_one_answer_to_two_questions_is_kept_once(tmp_path: Path) -> None:
    first, second = asked(1), asked(2)
    same = "<p>Return the very same thing.</p>"
    found = kept(tmp_path, [first, second], [answered(first, same), answered(second, same)])
    assert len(found) == 1


def questions_of(split: str, count: int) -> list[Row]:
    """Questions that fall into a split."""
    shares = shipped_params().split
    numbers = (n for n in range(1, 100_000) if split_of(f"module{n}.thing", shares) == split)
    return [asked(next(numbers)) for _ in range(count)]


LONG = "Return a new list of all the items in the given order, each of them once, and sorted."
NEAR = "Return a new list of all the items in the given order, each of them once, and reversed."


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_nothing_near_a_test_or_validation_row_is_trained_with(
    tmp_path: Path, held_out: str
) -> None:
    (judged,) = questions_of(held_out, 1)
    (learnt,) = questions_of("train", 1)
    texts = [answered(learnt, f"<p>{LONG}</p>"), answered(judged, f"<p>{NEAR}</p>")]
    dataset = build_from(tmp_path, [learnt, judged], texts)
    assert rows(dataset) == {judged["title"]: (held_out, NEAR)}
    assert dataset.dropped["near a test or validation row"].samples == [learnt["title"]]


def test_near_duplicates_are_kept_once(tmp_path: Path) -> None:
    first, second = questions_of("train", 2)
    texts = [answered(first, f"<p>{LONG}</p>"), answered(second, f"<p>{NEAR}</p>")]
    dataset = build_from(tmp_path, [first, second], texts)
    assert len(rows(dataset)) == 1
    assert dataset.dropped["near another row"].rows == 1


@pytest.mark.parametrize("text", ["what does MODULE{n}.thing() do", LONG])
def test_nothing_near_a_case_of_a_suite_is_trained_with(tmp_path: Path, text: str) -> None:
    learnt, other = questions_of("train", 2)
    texts = [answered(learnt, f"<p>{NEAR}</p>"), answered(other)]
    case = text.format(n=learnt["id"])
    dataset = build_from(tmp_path, [learnt, other], texts, cases=[case])
    assert list(rows(dataset)) == [other["title"]]
    assert dataset.dropped["near a case of an eval suite"].rows == 1


# --- the whole ------------------------------------------------------------------------------------


def test_every_question_is_kept_or_counted_with_its_reason(shipped: Dataset) -> None:
    left_out = sum(each.rows for each in shipped.dropped.values())
    assert sum(shipped.rows.values()) + left_out == len(table("questions"))
    assert all(each.rows and each.samples for each in shipped.dropped.values())


def test_neither_the_order_of_the_rows_nor_the_number_of_batches_changes_a_byte(
    shipped: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, answers = table("questions"), table("answers")
    shuffle = random.Random(1).shuffle
    shuffle(questions)
    shuffle(answers)
    # Several batches: cleaned in processes of their own.
    monkeypatch.setattr("llmops.data.build.AT_ONCE", 700)
    monkeypatch.setattr("llmops.data.build.WORTH_PROCESSES", 0)
    with datasets.dataset(PROJECT) as again:
        assert files(again) == files(shipped)
    with local(write_tables(tmp_path, questions, answers)) as tables:
        assert tables.tables
        with datasets.dataset(PROJECT, tables) as shuffled:
            assert files(shuffled) == files(shipped)


@given(st.text(min_size=1))
def test_the_split_is_that_of_the_share_into_which_the_key_s_md5_falls(key: str) -> None:
    import hashlib

    shares = shipped_params().split
    place = int(hashlib.md5(key.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) / 2**32
    expected = "test" if place < shares.test else "validation"
    if place >= shares.test + shares.validation:
        expected = "train"
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    assert split_of(key, shares) == expected


def test_a_row_stays_in_its_split_as_the_data_grows(tmp_path: Path) -> None:
    questions = [asked(number) for number in range(1, 401)]
    answers = [answered(question) for question in questions]
    few = rows(build_from(tmp_path / "few", questions[:150], answers[:150]))
    many = rows(build_from(tmp_path / "many", questions, answers))
    assert few.items() <= many.items()
    assert {split for split, _ in many.values()} == {"train", "validation", "test"}


def test_a_rebuild_gives_the_pointer(shipped: Dataset) -> None:
    assert pointer(shipped) == (PROJECT / "data.dvc").read_text(encoding="utf-8")


def test_the_shipped_data_is_large_enough_to_tell_and_small_enough_to_ask(shipped: Dataset) -> None:
    assert 150 <= shipped.rows["test"] <= 170
    assert 150 <= shipped.rows["validation"] <= 250
    assert shipped.rows["train"] > 4000
    tables = [datasets.TABLES / f"posts_{name}.jsonl.gz" for name in ("questions", "answers")]
    assert sum(path.stat().st_size for path in tables) < 1_500_000


def test_no_question_and_no_answer_is_in_two_splits(shipped: Dataset) -> None:
    seen: dict[str, str] = {}
    for question, (split, answer) in rows(shipped).items():
        for text in (question, answer):
            assert seen.setdefault(text.lower(), split) == split, text


def test_tuning_rows_are_in_the_format_of_vertex_ai(shipped: Dataset) -> None:
    for line in files(shipped)["train.jsonl"].decode().splitlines():
        row = json.loads(line)
        assert row.keys() == {"systemInstruction", "contents"}
        assert [turn["role"] for turn in row["contents"]] == ["user", "model"]
        assert all(turn["parts"][0]["text"].strip() for turn in row["contents"])


def test_installing_leaves_nothing_of_an_older_data_set(shipped: Dataset, tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("{}\n", encoding="utf-8")
    install(shipped, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files(shipped)


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"body": None}, "no row is left"),
        ({"score": "many"}, "cannot be read"),
        ({"parent_id": {"a": 1}}, "cannot be read"),
    ],
)
def test_a_table_that_changed_is_said(tmp_path: Path, broken: Row, said: str) -> None:
    question = asked(1)
    with pytest.raises(UserError, match=said):
        build_from(tmp_path, [question], [answered(question) | broken])
    assert not (tmp_path / "made").exists()


def test_a_table_without_a_column_names_it(tmp_path: Path) -> None:
    question = asked(1)
    answer = answered(question)
    del answer["score"]
    with pytest.raises(UserError, match="no column score") as caught:
        build_from(tmp_path, [question], [answer])
    assert "posts_answers.jsonl.gz" in str(caught.value.path)


def test_bytes_that_are_not_utf_8_are_said(tmp_path: Path) -> None:
    import gzip

    question = asked(1)
    folder = write_tables(tmp_path / "tables", [question], [answered(question)])
    path = folder / "posts_questions.jsonl.gz"
    text = gzip.decompress(path.read_bytes()).replace(b"What", b"Wh\xff\xfe")
    path.write_bytes(gzip.compress(text))
    with (
        pytest.raises(UserError, match="cannot be read"),
        local(folder) as tables,
        datasets.dataset(PROJECT, tables),
    ):
        pass


def test_a_row_of_ten_megabytes_and_html_that_never_closes_do_no_harm(tmp_path: Path) -> None:
    huge, open_ended = asked(1), asked(2)
    answers = [
        answered(huge, "<p>" + "x" * 10_000_000),
        answered(open_ended, "<div><p>Return <b>the <i>first item of all.<pre><code>x = 1"),
    ]
    assert kept(tmp_path, [huge, open_ended], answers) == ["Return **the *first item of all.***"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lowest_score: 3", "lowest_score: many", "data.retrieve.lowest_score"),
        ('since: "2019-01-01"', 'since: "2030-01-01"', "is not before until"),
        ('since: "2019-01-01"', "since: 2019-01-01", "in quotes: DVC reads no other dates"),
        ("tokens: [5, 2048]", "tokens: [2048, 5]", "the least comes first"),
        ("test: 0.037", "test: 0.99", "leave nothing to train with"),
        ("threshold: 0.8", "treshold: 0.8", "did you mean 'threshold'?"),
    ],
)
def test_wrong_parameters_are_said_with_their_line(
    repository: Repository, old: str, new: str, said: str
) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    repository.write("params.yaml", text.replace(old, new))
    done = repository.llmops("data", "build")
    assert done.code == 2
    assert said in done.err
    assert "params.yaml:" in done.err


def test_a_build_without_parameters_says_so(repository: Repository) -> None:
    done = repository.llmops("data", "build")
    assert done.code == 2
    assert "params.yaml" in done.err
    assert not (repository.root / "data").exists()


@pytest.mark.slow
def test_dvc_itself_gives_the_same_pointer(shipped: Dataset, tmp_path: Path) -> None:
    install(shipped, tmp_path / "data")
    for command in (["init", "--no-scm", "--quiet"], ["add", "--quiet", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    made = (tmp_path / "data.dvc").read_text(encoding="utf-8")
    assert directory_md5(shipped.md5s) in made
    assert pointer(shipped).startswith(made)


@pytest.mark.slow
def test_the_program_that_made_the_tables_makes_them_again(tmp_path: Path) -> None:
    import os
    import shutil

    if sys.version_info[:2] != (3, 11):
        pytest.skip("the tables are made of Python 3.11's docstrings")
    shutil.copytree(PROJECT / "scripts" / "llmops", tmp_path / "llmops")
    folder = tmp_path / "llmops" / "localcloud" / "bigquery"
    before = {path.name: path.read_bytes() for path in folder.glob("*.gz")}
    for name in before:
        (folder / name).unlink()
    subprocess.run(
        [sys.executable, "-m", "llmops.localcloud.bigquery.make_tables"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    made = {path.name: path.read_bytes() for path in folder.glob("*.gz")}
    assert made.keys() == {"posts_questions.jsonl.gz", "posts_answers.jsonl.gz"}
    # Another patch release words a few docstrings differently, and the draws shift with them.
    assert made == before or sys.version_info[:3] != (3, 11, 7)
