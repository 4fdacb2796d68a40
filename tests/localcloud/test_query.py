"""Filters, orders and pages, and the table of what the local Vertex AI answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmops.localcloud.vertex.app import Settings, Vertex
from llmops.localcloud.vertex.errors import ApiError
from llmops.localcloud.vertex.query import masked, matcher, ordered, page
from llmops.localcloud.vertex.table import markdown

DOCUMENT = {
    "displayName": "shop assistant",
    "labels": {"tier": "gold", "count": "12"},
    "state": "ACTIVE",
    "replicas": 3,
    "tags": ["a", "b"],
    "createTime": "2026-01-02T00:00:00Z",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("labels.tier=gold", True),
        ("labels.tier = silver", False),
        ('display_name="shop assistant"', True),
        ('displayName="shop*"', True),
        ("labels.tier:*", True),
        ("labels.none:*", False),
        ("tags:b", True),
        ("replicas > 2 AND replicas <= 3", True),
        ("replicas > 10 OR state=ACTIVE", True),
        ("NOT state=ACTIVE", False),
        ("-labels.tier=silver", True),
        ("state=ACTIVE labels.tier=gold", True),
        ("(state=IDLE OR state=ACTIVE) AND labels.tier!=silver", True),
        ('create_time>="2026-01-01T00:00:00Z"', True),
        ("labels.count < 100", True),
    ],
)
def test_a_filter_is_read_as_aip_160_says(text: str, expected: bool) -> None:
    assert matcher(text)(DOCUMENT) is expected


@pytest.mark.parametrize("text", ["a =", "(a=b", "= b", "a=b AND", "a==b"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid filter"):
        matcher(text)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(max_size=8)))
def test_whatever_a_label_holds_its_filter_finds_it(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if "*" in value:
            continue
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        assert matcher(f'labels."{key}" = "{quoted}"')({"labels": labels})


@given(st.lists(st.integers(0, 99)), st.integers(1, 7))
def test_pages_together_are_the_list(values: list[int], size: int) -> None:
    documents: list[dict[str, Any]] = [{"n": value} for value in values]
    seen: list[dict[str, Any]] = []
    token = ""
    while True:
        found, token = page(documents, size, token, "q")
        assert len(found) <= size
        seen += found
        if not token:
            break
    assert seen == documents
    with pytest.raises(ApiError):
        page(documents, size, "rubbish", "q")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_an_order_of_two_fields_sorts_by_both(pairs: list[tuple[int, int]]) -> None:
    documents = [{"one": one, "two": two} for one, two in pairs]
    found = ordered(documents, "one desc, two")
    assert [(d["one"], d["two"]) for d in found] == sorted(pairs, key=lambda p: (-p[0], p[1]))


def test_a_mask_changes_what_it_names_and_no_more() -> None:
    changed = masked(DOCUMENT, {"labels": {"tier": "tin"}, "state": "IDLE"}, "labels.tier")
    assert changed == {**DOCUMENT, "labels": {"tier": "tin", "count": "12"}}
    assert "labels" not in masked(DOCUMENT, {}, "labels")
    with pytest.raises(ApiError):
        masked(DOCUMENT, {"name": "x"}, "name")


def test_the_page_of_what_is_answered_is_current(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    settings = Settings(folder=tmp_path, address="", storage="", buckets={})
    golden("../../docs/local-vertex.md", markdown(Vertex(settings)))
