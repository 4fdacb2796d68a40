"""The contract that a built data set keeps, or the build stops."""

import json
from pathlib import Path
from typing import Any

import pytest
from llmops.data import contract
from llmops.data.params import Contract
from llmops.errors import UserError

from tests.data.tables import answered, asked, build_from, shipped_params
from tests.services import PROJECT

ALL = {"train": 0, "validation": 0, "test": 0}


def wanted(**changes: object) -> Contract:
    """The shipped contract, without what needs many rows."""
    few: dict[str, Any] = {"rows": ALL, "largest_topic": 1.0, "code": (0.0, 1.0)}
    return Contract.model_validate({**shipped_params().contract.model_dump(), **few, **changes})


def data_set(folder: Path, *more: str) -> Path:
    """A data set that is fine, and training answers that a build would not have made."""
    questions = [asked(number) for number in range(1, 60)]
    made = build_from(folder, questions, [answered(each) for each in questions]).folder
    path = made / "train.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    for number, text in enumerate(more):
        row["contents"][0]["parts"][0]["text"] = f"What does added{number}.thing() do?"
        row["contents"][1]["parts"][0]["text"] = text
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def test_a_data_set_that_keeps_it_is_measured(tmp_path: Path) -> None:
    made = data_set(tmp_path, "Return `x` as it is, whatever it may be.")
    found = contract.check(made, wanted())
    assert sum(found.rows.values()) == 60
    assert found.code == pytest.approx(1 / 60)
    assert found.largest_topic == pytest.approx(1 / 60)
    low, high = found.tokens
    assert 10 < low <= high < 40


@pytest.mark.parametrize(
    ("more", "changes", "clause", "evidence"),
    [
        (["No."], {"tokens": (9, 2048)}, "tokens", "What does added0.thing() do? → No."),
        (["Return the\x07 bell."], {}, "characters", r"Return the\x07 bell."),
        (["Return it all."] * 2, {}, "unique", "What does added1.thing() do? → Return it all."),
        (["return it all.", "Return It All."], {}, "unique", "whose answer another row has"),
        ([], {"rows": ALL | {"test": 100}}, "rows", "test has"),
        ([], {"largest_topic": 0.01}, "largest_topic", "module"),
        (["Call `x()`."], {"code": (0.0, 0.01)}, "code", "Call `x()`."),
        ([], {"code": (0.5, 1.0)}, "code", "0.0% of the answers have code, not 50.0% to 100.0%"),
    ],
)
def test_a_broken_clause_is_said_with_its_line_and_the_rows(
    tmp_path: Path, more: list[str], changes: dict[str, Any], clause: str, evidence: str
) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    with pytest.raises(UserError) as caught:
        contract.check(data_set(tmp_path, *more), wanted(**changes), text)
    assert f"\n  {clause}: " in caught.value.message
    assert evidence in caught.value.message
    assert caught.value.line
    assert f"    {clause}:" in text.splitlines()[caught.value.line - 1]


def test_every_broken_clause_is_said_at_once(tmp_path: Path) -> None:
    made = data_set(tmp_path, "No.", "Return\x07 it.")
    with pytest.raises(UserError) as caught:
        contract.check(made, wanted(tokens=(9, 2048), largest_topic=0.001))
    for clause in ("tokens", "characters", "largest_topic"):
        assert f"\n  {clause}: " in caught.value.message


def test_characters_that_are_no_pattern_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="characters is not what may stand"):
        contract.check(data_set(tmp_path), wanted(characters="z-a"))


def test_a_line_that_is_no_row_is_said_with_its_place(tmp_path: Path) -> None:
    made = data_set(tmp_path)
    with (made / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"contents": []}\n')
    with pytest.raises(UserError, match="neither a tuning example nor a case") as caught:
        contract.check(made, wanted())
    assert caught.value.path == "data/train.jsonl"
    assert caught.value.line
