"""Effects, intervals and p-values from paired scores. Pure: arrays in, values out, seeds given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 9_999
# From here on the mean is normal to well within the interval's own rounding, and resampling a
# hundred thousand cases ten thousand times would say the same for minutes of work.
LARGE = 5_000
_POWER = 0.80


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its interval."""

    value: float
    low: float
    high: float
    p_drop: float
    """One-sided p-value against `value >= -margin`: small where a larger drop is evident."""


def mean_difference(
    differences: Floats, *, margin: float = 0.0, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """The mean of paired differences (shape: cases).

    Percentile bootstrap over cases (Efron and Tibshirani 1993, chapter 13) by scipy; Student's t
    for LARGE samples. The p-value inverts the very interval. One case has no interval: it is
    given as unbounded.
    """
    value = float(differences.mean())
    if len(differences) < 2:
        return Estimate(value=value, low=-math.inf, high=math.inf, p_drop=0.5)
    if np.ptp(differences) == 0:
        return Estimate(value=value, low=value, high=value, p_drop=float(value >= -margin))
    if len(differences) >= LARGE:
        return _t_interval(differences, value, margin, confidence)
    from scipy.stats import bootstrap

    result = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        batch=max(1, 20_000_000 // len(differences)),
        rng=np.random.default_rng(seed),
    )
    above = int((result.bootstrap_distribution >= -margin).sum())
    return Estimate(
        value=value,
        low=float(result.confidence_interval.low),
        high=float(result.confidence_interval.high),
        p_drop=(above + 1) / (RESAMPLES + 1),
    )


def pass_rate_difference(
    base: Floats, head: Floats, *, margin: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """Head's pass rate minus base's, paired (shapes: cases; values 0 or 1).

    Newcombe (1998), "Improved confidence intervals for the difference between binomial
    proportions based on paired data", method 10. The p-value inverts the interval.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    value = float(head.mean() - base.mean())

    z = float(norm.ppf(0.5 + confidence / 2))
    low, high = _newcombe(base, head, z)
    # The bound on the margin's side meets -margin where a one-sided test just rejects.
    below = value < -margin

    def bound_above_margin(z: float) -> float:
        bounds = _newcombe(base, head, z)
        return (bounds[1] if below else bounds[0]) + margin

    root = _LARGEST_Z
    if bound_above_margin(0.0) * bound_above_margin(_LARGEST_Z) <= 0:
        root = float(brentq(bound_above_margin, 0.0, _LARGEST_Z))
    p_drop = float(norm.sf(root) if below else norm.cdf(root))
    return Estimate(value=value, low=low, high=high, p_drop=p_drop)


_LARGEST_Z = 8.0


def mean_estimate(values: Floats, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """One side's mean with its interval (shape: cases)."""
    return mean_difference(values, confidence=confidence, seed=seed)


def pass_rate_estimate(values: Floats, *, confidence: float = 0.95) -> Estimate:
    """One side's pass rate with its Wilson (1927) interval, by scipy."""
    from scipy.stats import binomtest

    passed = binomtest(int(values.sum()), len(values))
    interval = passed.proportion_ci(confidence_level=confidence, method="wilson")
    return Estimate(
        value=float(values.mean()),
        low=float(interval.low),
        high=float(interval.high),
        p_drop=0.5,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's (1979) step-down adjustment, in the order of the given values."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def detectable_drop(differences: Floats, *, confidence: float = 0.95) -> float | None:
    """The smallest true drop that so many cases with such a spread find with 80% power.

    Normal approximation of the paired test: (z_(1-alpha/2) + z_power) * sd / sqrt(n). None where
    the differences have no spread to go by.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + confidence / 2) + norm.ppf(_POWER))
    return z * float(differences.std(ddof=1)) / math.sqrt(len(differences))


def _t_interval(differences: Floats, value: float, margin: float, confidence: float) -> Estimate:
    from scipy.stats import t

    degrees = len(differences) - 1
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    reach = float(t.ppf(0.5 + confidence / 2, degrees)) * error
    p_drop = float(t.cdf((value + margin) / error, degrees))
    return Estimate(value=value, low=value - reach, high=value + reach, p_drop=p_drop)


def _newcombe(base: Floats, head: Floats, z: float) -> tuple[float, float]:
    n = len(base)
    both = float((base * head).sum())
    only_head = float(((1 - base) * head).sum())
    only_base = float((base * (1 - head)).sum())
    neither = n - both - only_head - only_base
    head_rate, base_rate = (both + only_head) / n, (both + only_base) / n
    head_low, head_high = _wilson(head_rate, n, z)
    base_low, base_high = _wilson(base_rate, n, z)
    phi = _correlation(both, only_head, only_base, neither)
    lower, upper = head_rate - head_low, head_high - head_rate
    base_lower, base_upper = base_rate - base_low, base_high - base_rate
    difference = head_rate - base_rate
    below = lower**2 - 2 * phi * lower * base_upper + base_upper**2
    above = upper**2 - 2 * phi * upper * base_lower + base_lower**2
    return difference - math.sqrt(max(below, 0)), difference + math.sqrt(max(above, 0))


def _correlation(both: float, only_head: float, only_base: float, neither: float) -> float:
    """Newcombe's phi, with his continuity correction where the pairs agree more than not."""
    n = both + only_head + only_base + neither
    margins = (
        (both + only_head) * (only_base + neither) * (both + only_base) * (only_head + neither)
    )
    if margins == 0:
        return 0.0
    product = both * neither - only_head * only_base
    if product > 0:
        product = max(product - n / 2, 0.0)
    return product / math.sqrt(margins)


def _wilson(rate: float, n: int, z: float) -> tuple[float, float]:
    # In closed form here, since the p-value's root finding asks for it at many z.
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - reach, centre + reach
