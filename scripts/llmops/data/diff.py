"""What a new data pointer changes, row by row: values in, a value out."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmops.data import personal
from llmops.data.clean import CHARACTERS_PER_TOKEN
from llmops.data.drift import Drift, drift_of_shares, drift_of_sizes
from llmops.data.params import DataParams
from llmops.data.rows import Row
from llmops.data.similar import Known

SAMPLES = 20
TRAINED = ("train",)
JUDGED = ("test", "validation")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row that is in one version only, or differs. A side is None where it is not there."""

    before: Row | None
    after: Row | None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """All changes of one kind."""

    rows: int
    by_split: dict[str, int]
    by_topic: dict[str, int]
    samples: tuple[Change, ...]
    """At most SAMPLES: the same ones every time."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a reviewer should look at: how many rows before and after, and some of them."""

    before: int
    after: int
    samples: tuple[Row, ...]
    """Rows that are new with it."""


@dataclass(frozen=True, kw_only=True)
class DataDiff:
    """Everything that a reviewer of the pointer is shown."""

    rows: dict[str, tuple[int, int]]
    """Split -> rows before and after."""
    added: Kind
    removed: Kind
    changed: Kind
    """In question or answer."""
    moved: Kind
    """To another split: never, while the split is decided by the key and its shares stay."""
    words: Drift | None
    """Of the answers; None where a side has no row."""
    topics: Drift | None
    duplicates: Finding
    """Answers that another row has."""
    leaks: Finding
    """Training rows near a test or validation row."""
    personal_data: Finding
    training_tokens: tuple[int, int]
    """In one epoch, before and after; about four characters are a token."""


def diff(base: Mapping[str, Row], head: Mapping[str, Row], params: DataParams) -> DataDiff:
    """The difference of two data sets, by key."""
    pairs = [(base.get(key), head.get(key)) for key in sorted({*base, *head})]
    both = [Change(before=old, after=new) for old, new in pairs if old != new]
    one_sided = [each for each in both if each.before is None or each.after is None]
    two_sided = [each for each in both if each.before and each.after]
    splits = sorted({row.split for row in (*base.values(), *head.values())})
    sides = (base, head)
    return DataDiff(
        rows={
            split: _both(sum(row.split == split for row in side.values()) for side in sides)
            for split in splits
        },
        added=_kind(each for each in one_sided if each.before is None),
        removed=_kind(each for each in one_sided if each.after is None),
        changed=_kind(each for each in two_sided if _texts(each.before) != _texts(each.after)),
        moved=_kind(
            each
            for each in two_sided
            if each.before and each.after and each.before.split != each.after.split
        ),
        words=drift_of_sizes(*(_lengths(side) for side in sides)) if base and head else None,
        topics=drift_of_shares(*(_topics(side) for side in sides)) if base and head else None,
        duplicates=_finding(*(_duplicates(side) for side in sides)),
        leaks=_finding(*(_leaks(side, params.duplicates.threshold) for side in sides)),
        personal_data=_finding(*(_personal(side, params) for side in sides)),
        training_tokens=_both(_tokens(side) for side in sides),
    )


def _both(values: Iterable[int]) -> tuple[int, int]:
    before, after = values
    return before, after


def _kind(changes: Iterable[Change]) -> Kind:
    found = [(each, row) for each in changes if (row := each.after or each.before)]
    found.sort(key=lambda pair: hashlib.md5(pair[1].key.encode(), usedforsecurity=False).digest())
    return Kind(
        rows=len(found),
        by_split=dict(sorted(Counter(row.split for _, row in found).items())),
        by_topic=dict(sorted(Counter(row.topic for _, row in found).items(), key=_most)),
        samples=tuple(each for each, _ in found[:SAMPLES]),
    )


def _most(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _texts(row: Row | None) -> tuple[str, str] | None:
    return (row.question, row.answer) if row else None


def _lengths(side: Mapping[str, Row]) -> list[float]:
    return [float(len(row.answer.split())) for row in side.values()]


def _topics(side: Mapping[str, Row]) -> list[str]:
    return [row.topic for row in side.values()]


def _finding(before: Mapping[str, Row], after: Mapping[str, Row]) -> Finding:
    new = [row for key, row in sorted(after.items()) if key not in before]
    return Finding(before=len(before), after=len(after), samples=tuple(new[:SAMPLES]))


def _duplicates(side: Mapping[str, Row]) -> dict[str, Row]:
    answers = Counter(row.answer.lower() for row in side.values())
    return {key: row for key, row in side.items() if answers[row.answer.lower()] > 1}


def _leaks(side: Mapping[str, Row], threshold: float) -> dict[str, Row]:
    judged = Known((row.answer for row in side.values() if row.split in JUDGED), threshold)
    trained = {key: row for key, row in side.items() if row.split in TRAINED}
    return {key: row for key, row in trained.items() if judged.near(row.answer)}


def _personal(side: Mapping[str, Row], params: DataParams) -> dict[str, Row]:
    kinds = params.clean.personal_data
    return {
        key: row
        for key, row in side.items()
        if personal.mask(f"{row.question}\n{row.answer}", kinds)[1]
    }


def _tokens(side: Mapping[str, Row]) -> int:
    trained = (row for row in side.values() if row.split in TRAINED)
    characters = sum(len(row.question) + len(row.answer) for row in trained)
    return characters // CHARACTERS_PER_TOKEN
