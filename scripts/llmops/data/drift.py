"""How far two samples are apart, how sure that is, and how far chance alone would put them."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_RESAMPLES = 1_000
_SEED = 7
_BINS = 10
_FEWEST = 10
"""Kinds of fewer elements, in both samples, count as one: nothing can be said of each."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The Jensen-Shannon distance of two samples: 0 for the same shares, 1 for none in common."""

    distance: float
    low: float
    high: float
    """A 95% interval, by the bootstrap."""
    by_chance: float
    """What two samples of one distribution, of these sizes, stay below 19 times out of 20."""

    @property
    def seen(self) -> bool:
        """Whether it is more than chance."""
        return self.distance > self.by_chance


def drift_of_shares(before: Sequence[Hashable], after: Sequence[Hashable]) -> Drift:
    """Of what the samples fall into, such as topics. Both need at least one element."""
    kinds = sorted({*before, *after}, key=str)
    counted = [Counter(sample) for sample in (before, after)]
    counts = np.array([[count[kind] for kind in kinds] for count in counted], dtype=float)
    rare = counts.sum(axis=0) < _FEWEST
    one, other = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    return _drift(one, other)


def drift_of_sizes(before: Sequence[float], after: Sequence[float]) -> Drift:
    """Of numbers, such as lengths: by the tenths of the first sample."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]))
    one, other = (
        np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1)
        for sample in (before, after)
    )
    return _drift(one.astype(float), other.astype(float))


def _drift(one: Floats, other: Floats) -> Drift:
    draw = np.random.default_rng(_SEED)
    sizes = int(one.sum()), int(other.sum())
    shares = one / sizes[0], other / sizes[1]
    resampled = _distance(
        *(
            draw.multinomial(size, share, _RESAMPLES)
            for size, share in zip(sizes, shares, strict=True)
        )
    )
    pooled = (one + other) / sum(sizes)
    alike = _distance(*(draw.multinomial(size, pooled, _RESAMPLES) for size in sizes))
    distance = float(_distance(one, other))
    # Resampling adds noise of its own, which only ever puts two samples further apart.
    bias = max(0.0, float(resampled.mean()) - distance)
    low, high = np.clip(np.percentile(resampled, [2.5, 97.5]) - bias, 0, 1)
    return Drift(
        distance=distance,
        low=min(float(low), distance),
        high=max(float(high), distance),
        by_chance=float(np.percentile(alike, 95)),
    )


def _distance(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> Floats:
    """Along the last axis (Lin 1991; base 2, so that it ends at 1)."""
    from scipy.spatial.distance import jensenshannon

    found: Floats = np.asarray(jensenshannon(one, other, base=2, axis=-1), dtype=float)
    # Two nearly equal shares can come out below zero, and so not a number, by a rounding error.
    return np.nan_to_num(found)
