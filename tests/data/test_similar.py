"""Near duplicates: what is found, and what it is worth."""

import random

from hypothesis import given
from hypothesis import strategies as st
from llmops.data.similar import Known, bands, jaccard, shingles

WORDS = st.lists(
    st.sampled_from(["a", "list", "of", "all", "the", "new", "items", "in", "it"]), max_size=12
)
TEXTS = WORDS.map(" ".join)


@given(TEXTS, TEXTS)
def test_similarity_is_a_share_and_the_same_both_ways(one: str, other: str) -> None:
    found = jaccard(shingles(one), shingles(other))
    assert 0 <= found <= 1
    assert found == jaccard(shingles(other), shingles(one))
    assert jaccard(shingles(one), shingles(one)) == 1


@given(st.lists(TEXTS.filter(bool), max_size=8), TEXTS.filter(bool), st.floats(0.5, 1))
def test_a_known_text_is_near_exactly_when_its_similarity_says_so(
    known: list[str], text: str, threshold: float
) -> None:
    expected = any(jaccard(shingles(text), shingles(each)) >= threshold for each in known)
    assert Known(known, threshold).near(text) == expected


def test_four_of_five_shared_word_pairs_are_hardly_ever_missed() -> None:
    """The bands compare texts of similarity 0.8 with a chance of 0.9998, unlike ones rarely."""
    draw = random.Random(1)
    found = unlike = 0
    for number in range(300):
        words = [f"w{draw.randrange(10_000)}" for _ in range(46)]
        near = [*words[:41], *(f"x{number}{place}" for place in range(5))]
        other = [f"y{draw.randrange(10_000)}" for _ in range(46)]
        assert 0.75 < jaccard(shingles(" ".join(words)), shingles(" ".join(near))) < 0.85
        own, close, far = bands([" ".join(words), " ".join(near), " ".join(other)])
        found += bool((own == close).any())
        unlike += bool((own == far).any())
    assert found >= 297
    assert unlike == 0


def test_case_and_spacing_make_no_difference_but_signs_do() -> None:
    assert shingles("Return  THE item.") == shingles("return the item.")
    assert shingles("return x + y") != shingles("return x - y")
