"""Near duplicates: texts that share most of their word pairs.

Candidates by MinHash and banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.3 and
3.4), each then checked by its exact Jaccard similarity, so that a hash never decides.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

PERMUTATIONS = 64
BANDS = 16
"""With four rows a band, two texts of similarity 0.8 are compared with a chance of 0.9998, of 0.5
with 0.64, of 0.2 with 0.03."""
_SEED = 42
_WORD = re.compile(r"\w+|[^\w\s]")


def shingles(text: str) -> frozenset[str]:
    """The pairs of neighbouring words, in small letters; of a single word, the word."""
    words = _WORD.findall(text.lower())
    return frozenset(" ".join(pair) for pair in pairwise(words)) or frozenset(words)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of what both have in what either has; 1 for two empty sets."""
    either = len(one | other)
    return len(one & other) / either if either else 1.0


def bands(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A (texts, BANDS) array: two texts that agree in one column are worth comparing."""
    from rensa import RMinHash

    sets = [list(shingles(text)) for text in texts]
    rows = RMinHash.digest_matrix_from_token_sets(sets, PERMUTATIONS, _SEED).to_rows()
    digests = np.asarray(rows, dtype=np.uint64).reshape(len(texts), BANDS, -1)
    # FNV-1a over the four numbers of each band.
    hashes = np.full(digests.shape[:2], 0xCBF29CE484222325, dtype=np.uint64)
    for place in range(digests.shape[2]):
        hashes = (hashes ^ digests[:, :, place]) * np.uint64(0x100000001B3)
    return hashes


class Known:
    """A few texts that others must not come near, such as an eval suite's cases."""

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        """`threshold` is a Jaccard similarity."""
        self._threshold = threshold
        self._sets = [shingles(text) for text in sorted(set(texts))]
        self._by_pair: dict[str, list[int]] = {}
        for number, pairs in enumerate(self._sets):
            for pair in pairs:
                self._by_pair.setdefault(pair, []).append(number)

    def near(self, text: str) -> bool:
        """Whether one of them is as similar as the threshold, exactly."""
        if not self._sets:
            return False
        own = shingles(text)
        candidates = {number for pair in own for number in self._by_pair.get(pair, ())}
        return any(jaccard(own, self._sets[number]) >= self._threshold for number in candidates)
