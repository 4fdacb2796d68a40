"""`llmops lineage`: from what is live back to its rows."""

import json
import shutil
from pathlib import Path

import pytest
from llmops import datasets
from llmops.data.objects import ObjectCache
from llmops.data.pointer import pointer

from tests.data.tables import answered, asked, build_from
from tests.deploy.conftest import Cloud
from tests.repository import SUITE

pytestmark = pytest.mark.slow


def test_what_is_live_leads_back_to_its_rows(cloud: Cloud, tmp_path: Path) -> None:
    root = cloud.repository.root
    questions = [asked(number) for number in range(1, 101)]
    refused = asked(500, tags="java")
    answers = [answered(each) for each in (*questions, refused)]
    made = build_from(tmp_path, [*questions, refused], answers)
    datasets.keep(made, ObjectCache(folder=root / ".llmops" / "dvc"))
    cloud.repository.write("data.dvc", pointer(made))
    cases = SUITE[SUITE.index("tests:") : SUITE.index("gates:")]
    cloud.repository.replace("evals/quality.yaml", cases, "tests: file://../data/test.jsonl\n")
    assert cloud.llmops("data", "push", "--env", "local").code == 0
    commit = cloud.repository.commit("data")
    report = cloud.deploy()
    cloud.repository.write("later.txt", "another commit")
    cloud.repository.commit("later")
    shutil.rmtree(root / ".llmops" / "dvc")

    shown = cloud.llmops("lineage", "--json")
    assert shown.code == 0, shown.err
    (found,) = json.loads(shown.out)
    assert found["release"] == report["release"]
    assert found["commit"] == commit
    assert found["sources"].keys() >= {"prompts/answer.prompt.yml", "models/assistant.yaml"}
    (data,) = found["data"]
    assert data["use"] == "judged on"
    assert data["md5"] in pointer(made)
    assert sum(data["rows"].values()) == 100
    assert data["origin"]["engine"] == "duckdb"
    assert "`bigquery-public-data`.`stackoverflow`.`posts_questions`" in data["record"]["sql"]
    assert data["record"]["params"]["retrieve"]["tags"] == ["python"]
    assert data["record"]["dropped"]["not tagged `python`"]["rows"] == 1
    rows = Path(data["files"]["test.jsonl"]).read_text(encoding="utf-8").splitlines()
    assert len(rows) == data["rows"]["test"]

    text = cloud.llmops("lineage", report["release"][:8]).out
    for said in (commit, data["md5"], "1 not tagged `python`", "lowest_score: 3", "PARTITION BY"):
        assert said in text

    unknown = cloud.llmops("lineage", "0000")
    assert unknown.code == 2
    assert "no release that begins with '0000'" in unknown.err


def test_without_its_data_the_way_back_still_ends_at_the_pointer(cloud: Cloud) -> None:
    md5 = "a" * 32 + ".dir"
    cloud.repository.write(
        "data.dvc", f"outs:\n- md5: {md5}\n  path: data\nmeta:\n  rows: {{train: 7}}\n"
    )
    with (cloud.repository.root / "models" / "assistant.yaml").open("a", encoding="utf-8") as file:
        file.write("tuning: {data: data.dvc}\n")
    cloud.repository.commit("tune")
    built = cloud.llmops("release", "build", "--json")
    assert built.code == 0, built.err
    (found,) = json.loads(built.out)
    shown = cloud.llmops("lineage", found["release"])
    assert shown.code == 0, shown.err
    assert f"tuned on    data.dvc: {md5}" in shown.out
    assert "7 train" in shown.out
    assert "not here  data.dvc:2: gs://llmops-local/dvc does not have" in shown.out
