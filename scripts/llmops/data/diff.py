"""What a new data pointer changes, row by row: values in, a value out."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from llmops.data import personal
from llmops.data.clean import CHARACTERS_PER_TOKEN
from llmops.data.drift import Drift, drift_of_shares, drift_of_sizes
from llmops.data.params import DataParams
from llmops.data.rows import Row
from llmops.data.similar import Known, word_pairs

SAMPLES = 20
_BINS = 12
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
class Distribution:
    """How many rows of either side fall into each of the same bins."""

    bins: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TunedOn:
    """Who is tuned on the data, and at which price."""

    application: str
    """The empty string for one that could be, but is not."""
    model: str
    epochs: int
    usd_per_million: float
    """Of training tokens."""


@dataclass(frozen=True, kw_only=True)
class TuningCost:
    """What tuning on the data costs, in US dollars: tokens of an epoch, epochs, price."""

    who: TunedOn
    before: float
    after: float


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
    words_of: Distribution
    """Words an answer."""
    topics_of: Distribution
    """The largest topics, and the rest."""
    duplicates: Finding
    """Answers that another row has."""
    leaks: Finding
    """Training rows near a test or validation row."""
    personal_data: Finding
    training_tokens: tuple[int, int]
    """In one epoch, before and after; about four characters are a token."""
    tuning: tuple[TuningCost, ...]
    without_base: str = ""
    """Why base's data could not be had: only what is there now is described then."""


@dataclass(frozen=True, kw_only=True)
class DataDiffs:
    """What changed behind each pointer."""

    pointers: dict[str, DataDiff | str]
    """Path -> the difference, or why nothing can be said of it."""


def diff(
    base: Mapping[str, Row],
    head: Mapping[str, Row],
    params: DataParams,
    tuned: Sequence[TunedOn] = (),
) -> DataDiff:
    """The difference of two data sets, by key."""
    pairs = [(base.get(key), head.get(key)) for key in sorted({*base, *head})]
    both = [Change(before=old, after=new) for old, new in pairs if old != new]
    one_sided = [each for each in both if each.before is None or each.after is None]
    two_sided = [each for each in both if each.before and each.after]
    splits = sorted({row.split for row in (*base.values(), *head.values())})
    sides = (base, head)
    tokens = _both(_tokens(side) for side in sides)
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
        words_of=_words_of(*sides),
        topics_of=_topics_of(*sides),
        training_tokens=tokens,
        tuning=tuple(_cost(each, tokens) for each in tuned),
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


def _words_of(base: Mapping[str, Row], head: Mapping[str, Row]) -> Distribution:
    sizes = [[len(row.answer.split()) for row in side.values()] for side in (base, head)]
    longest = max(chain(*sizes), default=0)
    width = -(-max(longest, 1) // _BINS)
    counts = [Counter(size // width for size in side) for side in sizes]
    places = range(longest // width + 1)
    return Distribution(
        bins=tuple(
            f"{place * width}" if width == 1 else f"{place * width}-{(place + 1) * width - 1}"
            for place in places
        ),
        before=tuple(counts[0][place] for place in places),
        after=tuple(counts[1][place] for place in places),
    )


def _topics_of(base: Mapping[str, Row], head: Mapping[str, Row]) -> Distribution:
    counts = [Counter(_topics(side)) for side in (base, head)]
    largest = [name for name, _ in sorted((counts[0] + counts[1]).items(), key=_most)[:_BINS]]
    rest = [count.total() - sum(count[name] for name in largest) for count in counts]
    others = ("all others",) if any(rest) else ()
    return Distribution(
        bins=(*largest, *others),
        before=(*(counts[0][name] for name in largest), *rest[: len(others)]),
        after=(*(counts[1][name] for name in largest), *rest[1 : 1 + len(others)]),
    )


def _cost(who: TunedOn, tokens: tuple[int, int]) -> TuningCost:
    before, after = (each * who.epochs * who.usd_per_million / 1e6 for each in tokens)
    return TuningCost(who=who, before=before, after=after)


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
    near = judged.near(word_pairs([row.answer for row in trained.values()])).tolist()
    return {key: row for (key, row), leaks in zip(trained.items(), near, strict=True) if leaks}


def _personal(side: Mapping[str, Row], params: DataParams) -> dict[str, Row]:
    kinds = params.clean.personal_data
    return {
        key: row
        for key, row in side.items()
        if personal.mask(f"{row.question}\n{row.answer}", kinds)[1]
    }


def _tokens(side: Mapping[str, Row]) -> int:
    trained = (row for row in side.values() if row.split in TRAINED)
    characters = sum(len(row.instruction) + len(row.question) + len(row.answer) for row in trained)
    return characters // CHARACTERS_PER_TOKEN
