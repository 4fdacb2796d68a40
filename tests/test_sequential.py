"""The canary's test: right about what it knows, however often one looks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmops.formats import Canary
from llmops.sequential import Outcome, Served, at_the_end, share_bounds, verify

RULES = Canary(min_requests=50, max_error_rate_increase=0.05, max_latency_p95_ratio=2.0)


def served(
    deployed: str, count: int, *, failed: int = 0, latency: float = 100.0, blocked: int = 0
) -> list[Served]:
    return [
        Served(
            deployed=deployed,
            seconds=0,
            failed=n < failed,
            blocked=n < blocked,
            latency_ms=latency + n % 10,
        )
        for n in range(count)
    ]


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(hits: int, misses: int) -> None:
    tries = hits + misses
    low, high = share_bounds(hits, tries, 0.05)
    assert 0 <= low <= high <= 1
    if tries:
        assert low <= hits / tries <= high


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_looking_after_every_request_it_is_wrong_as_seldom_as_promised(share: float) -> None:
    chance = np.random.default_rng(7)
    wrong = 0
    for _ in range(200):
        hits = np.cumsum(chance.random(300) < share)
        wrong += any(
            not low <= share <= high
            for tries in range(1, 301, 5)
            for low, high in [share_bounds(int(hits[tries - 1]), tries, 0.05)]
        )
    assert wrong <= 0.05 * 200


def test_a_canary_that_fails_is_found_out_early() -> None:
    found = verify(served("s", 60) + served("c", 30, failed=20), "c", RULES)
    assert found.outcome is Outcome.WORSE
    assert "errors 66.7% against 0.0%" in found.words


def test_a_canary_that_is_slow_is_found_out() -> None:
    found = verify(served("s", 200) + served("c", 60, latency=500), "c", RULES)
    assert found.outcome is Outcome.WORSE


def test_a_canary_that_blocks_more_is_found_out() -> None:
    found = verify(served("s", 200) + served("c", 60, blocked=30), "c", RULES)
    assert found.outcome is Outcome.WORSE


def test_a_canary_like_stable_is_healthy_once_there_is_enough_of_it() -> None:
    assert verify(served("s", 30) + served("c", 30), "c", RULES).outcome is Outcome.GOING_ON
    assert verify(served("s", 900) + served("c", 900), "c", RULES).outcome is Outcome.HEALTHY


def test_at_the_end_too_little_traffic_is_not_taken_for_health() -> None:
    few = verify(served("s", 30) + served("c", 20), "c", RULES)
    assert at_the_end(few, RULES) is Outcome.GOING_ON
    enough = verify(served("s", 100) + served("c", 60), "c", RULES)
    assert at_the_end(enough, RULES) is Outcome.HEALTHY


def test_a_first_release_is_compared_with_none() -> None:
    assert verify(served("c", 900), "c", RULES).outcome is Outcome.HEALTHY
    assert verify(served("c", 100, failed=50), "c", RULES).outcome is Outcome.WORSE
