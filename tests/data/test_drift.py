"""The distance of two samples: a distance, an interval around it, and what chance would show."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from llmops.data.drift import drift_of_shares, drift_of_sizes

SAMPLES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(SAMPLES, SAMPLES)
def test_it_is_a_distance_within_its_interval(one: list[str], other: list[str]) -> None:
    found = drift_of_shares(one, other)
    assert 0 <= found.low <= found.distance <= found.high <= 1
    assert abs(found.distance - drift_of_shares(other, one).distance) < 1e-9
    assert drift_of_shares(one, one).distance == 0
    assert not drift_of_shares(one, one).seen


def test_samples_with_nothing_in_common_are_as_far_apart_as_can_be() -> None:
    found = drift_of_shares(["a"] * 50, ["b"] * 50)
    assert found.distance == 1
    assert found.seen


def test_one_distribution_seems_drifted_about_one_time_in_twenty() -> None:
    draw = np.random.default_rng(1)
    seen = sum(
        drift_of_sizes(draw.poisson(9, 400).tolist(), draw.poisson(9, 300).tolist()).seen
        for _ in range(200)
    )
    assert 1 <= seen <= 24  # binomial(200, 0.05) is within, 998 times of 1,000


def test_a_shift_that_matters_is_seen() -> None:
    draw = np.random.default_rng(2)
    assert drift_of_sizes(draw.poisson(9, 400).tolist(), draw.poisson(11, 300).tolist()).seen
