"""Near duplicates: what is found, and what it is worth."""

import random
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from llmops.data.similar import Known, bands, jaccard, word_pairs

WORDS = st.lists(
    st.sampled_from(["a", "list", "of", "all", "the", "new", "items", "in", "it"]), max_size=12
)
TEXTS = WORDS.map(" ".join)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """By the definition: the pairs of neighbouring words, of a single word the word."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return frozenset(pairwise(words)) or frozenset((word,) for word in words)


def similarity(one: str, other: str) -> float:
    pairs = word_pairs([one, other])
    return jaccard(pairs.of(0), pairs.of(1))


@given(st.text(), st.text() | TEXTS)
def test_similarity_is_the_share_of_word_pairs_in_common(one: str, other: str) -> None:
    own, others = shingles(one), shingles(other)
    either = len(own | others)
    assert similarity(one, other) == (len(own & others) / either if either else 1.0)


@given(st.lists(TEXTS | st.text(), max_size=6))
def test_texts_beside_one_another_do_not_touch(texts: list[str]) -> None:
    together = word_pairs(texts)
    for number, text in enumerate(texts):
        assert together.of(number).tolist() == word_pairs([text]).of(0).tolist()
        assert len(together.of(number)) == len(shingles(text))


@given(st.lists(TEXTS.filter(bool), max_size=8), st.lists(TEXTS), st.floats(0.5, 1))
def test_a_known_text_is_near_exactly_when_its_similarity_says_so(
    known: list[str], texts: list[str], threshold: float
) -> None:
    expected = [
        bool(text) and any(similarity(text, each) >= threshold for each in known) for text in texts
    ]
    assert Known(known, threshold).near(word_pairs(texts)).tolist() == expected


def test_four_of_five_shared_word_pairs_are_hardly_ever_missed() -> None:
    """The bands compare texts of similarity 0.8 with a chance of 0.9998, unlike ones rarely."""
    draw = random.Random(1)
    found = unlike = 0
    for number in range(300):
        words = [f"w{draw.randrange(10_000)}" for _ in range(46)]
        near = [*words[:41], *(f"x{number}{place}" for place in range(5))]
        other = [f"y{draw.randrange(10_000)}" for _ in range(46)]
        assert 0.75 < similarity(" ".join(words), " ".join(near)) < 0.85
        own, close, far = bands(word_pairs([" ".join(each) for each in (words, near, other)]))
        found += bool((own == close).any())
        unlike += bool((own == far).any())
    assert found >= 297
    assert unlike == 0


def test_case_and_spacing_make_no_difference_but_signs_do() -> None:
    assert similarity("Return  THE item.", "return the item.") == 1
    assert similarity("return x + y", "return x - y") < 1
