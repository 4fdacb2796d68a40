"""Near duplicates: texts that share most of their word pairs.

Candidates by MinHash and banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.3 and
3.4), each then checked by its Jaccard similarity, so that a sketch never decides. A word pair is
held as a 64-bit hash: of a million different ones, two are mistaken once in forty million times.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt

PERMUTATIONS = 64
BANDS = 16
"""With four rows a band, two texts of similarity 0.8 are compared with a chance of 0.9998, of 0.5
with 0.64, of 0.2 with 0.03."""
_SEED = 42
_WORD = re.compile(r"\w+|[^\w\s]")
_WORDS_REMEMBERED = 2**16

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class WordPairs:
    """The pairs of neighbouring words of several texts; of a text of a single word, that word."""

    hashes: Hashes
    """Of all texts, one after the other; of each text distinct, in ascending order."""
    offsets: npt.NDArray[np.int64]
    """(texts + 1,): where each text's begin, and where the last one's end."""

    def of(self, number: int) -> Hashes:
        """Those of one text."""
        return self.hashes[self.offsets[number] : self.offsets[number + 1]]


def word_pairs(texts: Sequence[str]) -> WordPairs:
    """In small letters; spacing makes no difference, signs do."""
    words = [_WORD.findall(text.lower()) for text in texts]
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    flat = np.fromiter(map(_word_hash, chain.from_iterable(words)), np.uint64, int(sizes.sum()))
    owner = np.repeat(np.arange(len(words)), sizes)
    paired = owner[:-1] == owner[1:]
    pairs = _mixed(_mixed(flat[:-1][paired]) + flat[1:][paired])
    alone = sizes == 1
    owners = np.concatenate([owner[:-1][paired], np.flatnonzero(alone)])
    values = np.concatenate([pairs, flat[(np.cumsum(sizes) - 1)[alone]]])
    order = np.lexsort((values, owners))
    owners, values = owners[order], values[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners[new], minlength=len(words)), out=offsets[1:])
    return WordPairs(hashes=values[new], offsets=offsets)


def jaccard(one: Hashes, other: Hashes) -> float:
    """The share of what both texts have in what either has; 1 for two empty ones."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - both
    return both / either if either else 1.0


def bands(pairs: WordPairs) -> Hashes:
    """A (texts, BANDS) array: two texts that agree in one column are worth comparing."""
    from rensa import RMinHash

    rows = RMinHash.digest_matrix_from_flat_token_hashes(
        pairs.hashes, pairs.offsets.astype(np.uint64), PERMUTATIONS, _SEED
    ).to_rows()
    digests = np.asarray(rows, dtype=np.uint64).reshape(len(pairs.offsets) - 1, BANDS, -1)
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
        self._pairs = word_pairs(sorted(set(texts)))
        self._by_pair: dict[int, list[int]] = {}
        for number in range(len(self._pairs.offsets) - 1):
            for pair in self._pairs.of(number).tolist():
                self._by_pair.setdefault(pair, []).append(number)
        self._any = np.unique(self._pairs.hashes)

    def near(self, pairs: WordPairs) -> npt.NDArray[np.bool_]:
        """(texts,): whether one of them is as similar as the threshold."""
        found = np.zeros(len(pairs.offsets) - 1, dtype=bool)
        shared = np.isin(pairs.hashes, self._any)
        # Most texts share no word pair with any: the others are looked at one by one.
        for number in np.unique(
            np.searchsorted(pairs.offsets, np.flatnonzero(shared), "right") - 1
        ):
            own = pairs.of(int(number))
            candidates = {other for pair in own.tolist() for other in self._by_pair.get(pair, ())}
            found[number] = any(
                jaccard(own, self._pairs.of(other)) >= self._threshold for other in candidates
            )
        return found


def text_hash(text: str) -> int:
    """64 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


_word_hash = lru_cache(_WORDS_REMEMBERED)(text_hash)


def _mixed(values: Hashes) -> Hashes:
    """SplitMix64's last steps (Steele, Lea, Flood 2014): every bit comes to depend on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
