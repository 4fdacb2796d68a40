"""What the intervals and p-values promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmops import stats

SCORES = st.lists(st.floats(0, 1, allow_nan=False), min_size=5, max_size=60)
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=80)


def test_newcombes_published_example_comes_out() -> None:
    """Newcombe (1998): 36, 12, 2, 0 of 50 pairs give 0.0569 to 0.3404 by method 10."""
    first = np.array([1.0] * 48 + [0.0] * 2)
    second = np.array([1.0] * 36 + [0.0] * 12 + [1.0] * 2)

    found = stats.pass_rate_difference(second, first)

    assert found.low == pytest.approx(0.0569, abs=0.0001)
    assert found.high == pytest.approx(0.3404, abs=0.0001)


@given(PAIRS)
def test_swapping_the_sides_mirrors_a_pass_rates_interval(pairs: list[tuple[bool, bool]]) -> None:
    base, head = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    one, other = stats.pass_rate_difference(base, head), stats.pass_rate_difference(head, base)
    assert one.low == pytest.approx(-other.high, abs=1e-9)
    assert one.high == pytest.approx(-other.low, abs=1e-9)
    assert one.low - 1e-9 <= one.value <= one.high + 1e-9


@given(PAIRS, st.floats(0, 0.3))
def test_the_p_value_and_the_interval_never_contradict(
    pairs: list[tuple[bool, bool]], margin: float
) -> None:
    base, head = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = stats.pass_rate_difference(base, head, margin=margin)
    if found.high < -margin - 1e-6:
        assert found.p_drop < 0.025
    if found.high > -margin + 1e-6:
        assert found.p_drop > 0.0249


@settings(deadline=None, max_examples=25)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_cases_hardly_moves_a_means_interval(
    scores: list[float], chance: object
) -> None:
    differences = np.array(scores)
    shuffled = np.array(chance.sample(scores, len(scores)))  # type: ignore[attr-defined]
    one, other = stats.mean_difference(differences), stats.mean_difference(shuffled)
    spread = max(float(np.ptp(differences)), 1e-9)
    assert one.value == pytest.approx(other.value)
    assert abs(one.low - other.low) < 0.1 * spread
    assert one.low - 1e-9 <= one.value <= one.high + 1e-9


@settings(deadline=None, max_examples=25)
@given(SCORES)
def test_more_confidence_is_a_wider_interval(scores: list[float]) -> None:
    differences = np.array(scores)
    narrow = stats.mean_difference(differences, confidence=0.8)
    wide = stats.mean_difference(differences, confidence=0.99)
    assert wide.low <= narrow.low + 1e-12
    assert wide.high >= narrow.high - 1e-12


def test_the_t_interval_of_large_samples_agrees_with_the_bootstrap() -> None:
    differences = np.random.default_rng(1).beta(2, 5, stats.LARGE) - 0.3
    large = stats.mean_difference(differences)
    small = stats.mean_difference(differences[:-1])
    width = large.high - large.low
    assert abs(large.low - small.low) < 0.05 * width
    assert abs(large.high - small.high) < 0.05 * width


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values: list[float]) -> None:
    adjusted = stats.holm(values)
    assert all(new >= old - 1e-12 for new, old in zip(adjusted, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= -1e-12)


def test_holms_own_example_comes_out() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_one_case_has_no_interval() -> None:
    found = stats.mean_difference(np.array([0.3]))
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_no_spread_gives_no_detectable_drop() -> None:
    assert stats.detectable_drop(np.zeros(50)) is None
    assert stats.detectable_drop(np.array([0.1, -0.1] * 50)) == pytest.approx(0.0282, abs=0.001)


@pytest.mark.slow
def test_the_intervals_cover_the_truth_as_often_as_they_say() -> None:
    chance = np.random.default_rng(7)
    means = rates = 0
    runs = 400
    for _ in range(runs):
        found = stats.mean_difference(chance.beta(2, 5, 80) - chance.beta(2, 4, 80))
        means += found.low <= 2 / 7 - 2 / 6 <= found.high
        shared = chance.random(80)
        base, head = (shared < 0.7).astype(float), (chance.random(80) < 0.6).astype(float)
        rate = stats.pass_rate_difference(base, head)
        rates += rate.low <= -0.1 <= rate.high
    # Four standard errors of a share of 0.95 in 400 runs.
    assert 0.95 - means / runs < 4 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.95 - rates / runs < 4 * math.sqrt(0.95 * 0.05 / runs)
