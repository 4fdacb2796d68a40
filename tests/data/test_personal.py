"""Personal data, on a labelled sample: how much of it is found, and how much is not it."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from llmops.data.params import PersonalData
from llmops.data.personal import mask

from tests.data.tables import answered, asked, build_from, files

KINDS = get_args(PersonalData)
SAMPLE = Path(__file__).with_name("personal.jsonl")
PRECISION, RECALL = 0.9, 0.9
"""docs/data.md says these."""


def test_precision_and_recall_on_the_labelled_sample() -> None:
    right = found_in_all = labelled_in_all = 0
    wrong = []
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        masked, _ = mask(row["text"], KINDS)
        found = Counter(re.findall(r"\[([A-Z_]+)\]", masked))
        labelled = Counter(row["found"])
        right += sum((found & labelled).values())
        found_in_all += sum(found.values())
        labelled_in_all += sum(labelled.values())
        if found != labelled:
            wrong.append((row["text"], masked))
    assert right / found_in_all >= PRECISION, wrong
    assert right / labelled_in_all >= RECALL, wrong


@given(
    st.from_regex(r"[a-z][a-z0-9]{0,8}@[a-z][a-z0-9]{0,7}\.(com|org|net)", fullmatch=True),
    st.sampled_from(["", " ", "\n", "<", ">", "(", ")"]),
)
def test_no_e_mail_address_is_left(address: str, around: str) -> None:
    masked, count = mask(f"Write to {around}{address}{around} or to ada@example.com.", KINDS)
    assert "@" not in masked
    assert count == 2


def test_only_the_kinds_that_are_asked_for_are_masked() -> None:
    text = "ada@example.com, 555-123-4567"
    assert mask(text, ["EMAIL"]) == ("[EMAIL], 555-123-4567", 1)
    assert mask(text, []) == (text, 0)


def test_a_built_data_set_holds_masks_and_counts_them(tmp_path: Path) -> None:
    question = asked(1, "Who maintains module1.thing(), ada@example.com?")
    answer = answered(question, "<p>Ask <a href='#'>bob@example.com</a> or call 555-123-4567.</p>")
    made = files(build_from(tmp_path, [question], [answer]))
    text = b"".join(made.values()).decode()
    assert "@example" not in text
    assert "555-123" not in text
    assert "[EMAIL]" in text
    assert "Personal data masked: 3 times." in text
