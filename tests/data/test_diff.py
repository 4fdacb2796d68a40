"""`llmops data diff`: what a reviewer of a data pointer is told."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from llmops import datasets
from llmops.data.clean import split_of
from llmops.data.objects import ObjectCache
from llmops.data.pointer import directory_md5, directory_object, pointer

from tests.data.tables import Row, answered, asked, build_from, shipped_params, unlike
from tests.repository import SUITE, Repository
from tests.services import PROJECT


def move_pointer(repository: Repository, folder: Path, posts: list[tuple[Row, str]]) -> None:
    """Builds the data of such questions and answers, keeps it in the cache, and points to it."""
    questions = [question for question, _ in posts]
    answers = [answered(question, f"<p>{text}</p>") for question, text in posts]
    made = build_from(folder, questions, answers)
    cache = ObjectCache(folder=repository.root / ".llmops" / "dvc")
    datasets.keep(made, cache)
    repository.write("data.dvc", pointer(made))


def keep(cache: ObjectCache, md5: str, content: bytes) -> None:
    path = cache.path(md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def manifest_of(repository: Repository) -> tuple[ObjectCache, dict[str, str]]:
    """What the pointer of the working tree names."""
    cache = ObjectCache(folder=repository.root / ".llmops" / "dvc")
    text = (repository.root / "data.dvc").read_text(encoding="utf-8")
    manifest = cache.manifest(yaml.safe_load(text)["outs"][0]["md5"])
    assert manifest is not None
    return cache, manifest


def write_train_by_hand(repository: Repository, content: bytes) -> None:
    """Points to the same data but for what it is trained with."""
    cache, manifest = manifest_of(repository)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    keep(cache, md5, content)
    files = manifest | {"train.jsonl": md5}
    keep(cache, directory_md5(files), directory_object(files))
    repository.write("data.dvc", f"outs:\n- md5: {directory_md5(files)}\n  path: data\n")


@pytest.fixture
def moved(repository: Repository, tmp_path: Path) -> Repository:
    """A repository whose working tree points to other data than its last commit."""
    repository.write("params.yaml", (PROJECT / "params.yaml").read_text(encoding="utf-8"))
    before = [(asked(n), unlike(n)) for n in range(1, 101)]
    after = [
        *((question, text) for question, text in before[10:]),
        *((asked(n), unlike(n)) for n in range(201, 206)),
    ]
    after[0] = (after[0][0], unlike(5_000))
    move_pointer(repository, tmp_path / "before", before)
    repository.commit("data")
    move_pointer(repository, tmp_path / "after", after)
    return repository


def test_rows_are_counted_by_key_for_each_split(moved: Repository) -> None:
    done = moved.llmops("data", "diff", "--base", "HEAD", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["data.dvc"]
    assert [found[kind]["rows"] for kind in ("added", "removed", "changed", "moved")] == [
        5,
        10,
        1,
        0,
    ]
    shares = shipped_params().split
    for split, (before, after) in found["rows"].items():
        numbers = {
            "before": range(1, 101),
            "after": [*range(11, 101), *range(201, 206)],
        }
        in_split = {
            side: sum(split_of(f"module{n}.thing", shares) == split for n in each)
            for side, each in numbers.items()
        }
        assert {"before": before, "after": after} == in_split
    (change,) = found["changed"]["samples"]
    assert change["before"]["answer"] == unlike(11)
    assert change["after"]["answer"] == unlike(5_000)
    before, after = found["training_tokens"]
    assert 0 < after < before


def test_the_text_says_what_matters(moved: Repository) -> None:
    text = moved.llmops("data", "diff", "--base", "HEAD").out
    assert "5 rows added" in text
    assert "10 rows removed" in text
    assert unlike(5_000) in text
    assert "✅ no training rows near a test or validation row" in text
    assert "no more than chance" in text


def test_a_leak_a_duplicate_and_an_address_are_found_where_a_hand_put_them(
    moved: Repository,
) -> None:
    cache, manifest = manifest_of(moved)
    test_row = json.loads((cache.read(manifest["test.jsonl"]) or b"").splitlines()[0])
    example = {
        "contents": [
            {"role": "user", "parts": [{"text": "Who knows hand.made()? ada@example.com"}]},
            {"role": "model", "parts": [{"text": test_row["vars"]["reference"]}]},
        ]
    }
    train = (cache.read(manifest["train.jsonl"]) or b"") + json.dumps(example).encode() + b"\n"
    write_train_by_hand(moved, train)
    found = json.loads(moved.llmops("data", "diff", "--base", "HEAD", "--json").out)["data.dvc"]
    for kind in ("leaks", "duplicates", "personal_data"):
        assert "hand.made" in [row["key"] for row in found[kind]["samples"]], kind
    text = moved.llmops("data", "diff", "--base", "HEAD").out
    assert "❌ training rows near a test or validation row: 0 → 1" in text


def test_a_line_that_is_no_row_is_named(moved: Repository) -> None:
    write_train_by_hand(moved, b'{"contents": []}\n')
    done = moved.llmops("data", "diff", "--base", "HEAD")
    assert done.code == 2
    assert "data/train.jsonl:1" in done.err


def test_data_that_cannot_be_had_is_said(moved: Repository) -> None:
    shutil.rmtree(moved.root / ".llmops" / "dvc")
    done = moved.llmops("data", "diff", "--base", "HEAD")
    assert done.code == 0
    assert "Cannot be compared: the local cloud is not running" in done.out


def test_without_base_s_data_what_is_there_now_is_said(
    moved: Repository, cloud: dict[str, str]
) -> None:
    base = moved.git("rev-list", "--max-count=1", "HEAD", "--grep=^data$")
    pushed = moved.llmops("data", "push", env=cloud)
    assert pushed.code == 0, pushed.err
    shutil.rmtree(moved.root / ".llmops" / "dvc")
    done = moved.llmops("data", "diff", "--base", base, env=cloud)
    assert done.code == 0, done.err
    assert "⚠️ The data before cannot be had: data.dvc:2: gs://llmops-local/dvc does not" in done.out
    assert "rows added" not in done.out
    assert "✅ no training rows near a test or validation row" in done.out


def test_without_a_change_there_is_nothing_to_say(moved: Repository) -> None:
    moved.commit("moved")
    assert moved.llmops("data", "diff", "--base", "HEAD").out == "No data pointer changed.\n"


@pytest.mark.parametrize(
    ("tuning", "said", "epochs"),
    [
        ("", "Nobody is tuned on it; an epoch would cost on small: $", 1),
        ("tuning: {data: data.dvc, epochs: 4}\n", "Tuning assistant, 4 epochs on small: $", 4),
    ],
)
def test_the_effect_on_the_cost_of_tuning_is_said(
    moved: Repository, tuning: str, said: str, epochs: int
) -> None:
    moved.replace("llmops.yaml", "output: 0.40}", "output: 0.40, tuning: 1000.0}")
    with (moved.root / "models" / "assistant.yaml").open("a", encoding="utf-8") as file:
        file.write(tuning)
    assert said in moved.llmops("data", "diff", "--base", "HEAD").out
    found = json.loads(moved.llmops("data", "diff", "--base", "HEAD", "--json").out)["data.dvc"]
    (cost,) = found["tuning"]
    tokens = found["training_tokens"]
    assert [cost["before"], cost["after"]] == pytest.approx([n * epochs / 1000 for n in tokens])


def test_both_sides_are_drawn_in_the_same_bins(moved: Repository) -> None:
    found = json.loads(moved.llmops("data", "diff", "--base", "HEAD", "--json").out)["data.dvc"]
    for shape in (found["words_of"], found["topics_of"]):
        assert len(shape["bins"]) == len(shape["before"]) == len(shape["after"])
        assert (sum(shape["before"]), sum(shape["after"])) == (100, 95)


@pytest.mark.slow
def test_the_comment_on_the_pull_request_says_it(moved: Repository, cloud: dict[str, str]) -> None:
    cases = SUITE[SUITE.index("tests:") : SUITE.index("gates:")]
    moved.replace("evals/quality.yaml", cases, "tests: file://../data/test.jsonl\n")
    base = moved.git("rev-list", "--max-count=1", "HEAD", "--grep=^data$")
    for verb in (["plan"], ["data", "diff"], ["eval"]):
        done = moved.llmops(*verb, "--base", base, env=cloud)
        assert done.code == 0, done.err
    moved.llmops("compare", env=cloud)
    assert moved.llmops("report", env=cloud).code == 0
    (found,) = (moved.root / ".llmops").rglob("comment.md")
    text = found.read_text(encoding="utf-8")
    assert "### Data: data.dvc" in text
    (page,) = (moved.root / ".llmops").rglob("index.html")
    assert '<div class="plots" data-pointer="data.dvc">' in page.read_text(encoding="utf-8")
    assert "10 rows removed" in text
