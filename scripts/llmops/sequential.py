"""Canary against stable while the requests come in: stop as soon as it is clear, either way.

Every bound is a confidence sequence: it holds at all times at once, so that looking after each
request, and stopping when the answer is clear, costs no error. For a share p with s hits in n
tries, mixing the binomial likelihood over a uniform prior (Robbins 1970; Howard, Ramdas, McAuliffe
and Sekhon 2021) gives {p : B(s+1, n-s+1) / (p^s (1-p)^(n-s)) < 1/alpha}.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmops.formats import Canary

_ALPHA = 0.05
"""The chance, over a whole rollout step, that any of the bounds is wrong."""
_TAIL = 0.05
"""Of stable's requests, by definition, are slower than its 95th percentile."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """One request, as the request-response log has it."""

    deployed: str
    """The deployed model's id."""
    seconds: float
    """When, since the epoch."""
    failed: bool
    blocked: bool
    latency_ms: float


class Outcome(StrEnum):
    """What the traffic says so far."""

    GOING_ON = "going on"
    HEALTHY = "healthy"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of canary and stable."""

    name: str
    stable: float
    canary: float
    bound: float
    """What the canary's share may be: beyond it, with certainty, it is worse."""
    outcome: Outcome
    words: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the traffic since the last shift says."""

    outcome: Outcome
    canary_requests: int
    stable_requests: int
    measures: tuple[Measure, ...]

    @property
    def words(self) -> str:
        """One line for people."""
        counts = f"{self.canary_requests} requests on the canary, {self.stable_requests} on stable"
        return f"{counts}: {'; '.join(each.words for each in self.measures)}"


def share_bounds(hits: int, tries: int, alpha: float) -> tuple[float, float]:
    """The confidence sequence's interval for a share after so many tries.

    (0, 1) where there are none. See the module's docstring for the source.
    """
    if tries == 0:
        return 0.0, 1.0
    from scipy.optimize import brentq
    from scipy.special import betaln

    level = float(betaln(hits + 1, tries - hits + 1)) + math.log(alpha)

    def excess(p: float) -> float:
        value = 0.0
        if hits:
            value += hits * math.log(p)
        if tries - hits:
            value += (tries - hits) * math.log1p(-p)
        return value - level

    middle = min(max(hits / tries, 1e-12), 1 - 1e-12)
    tiny = 1e-300
    low = 0.0 if hits == 0 else float(brentq(excess, tiny, middle))
    high = 1.0 if hits == tries else float(brentq(excess, middle, 1 - 1e-16))
    return low, high


def verify(served: Sequence[Served], canary: str, rules: Canary) -> Verification:
    """Compares the canary's requests with all others since the last shift of traffic."""
    mine = [each for each in served if each.deployed == canary]
    others = [each for each in served if each.deployed != canary]
    alpha = _ALPHA / 3
    measures = [
        _increase("errors", others, mine, rules.max_error_rate_increase, alpha, failed=True),
        _increase("blocked", others, mine, rules.max_blocked_share_increase, alpha, failed=False),
    ]
    latency = _latency(others, mine, rules.max_latency_p95_ratio, alpha)
    if latency is not None:
        measures.append(latency)
    outcomes = {each.outcome for each in measures}
    outcome = Outcome.GOING_ON
    if Outcome.WORSE in outcomes:
        outcome = Outcome.WORSE
    elif outcomes == {Outcome.HEALTHY} and len(mine) >= rules.min_requests:
        outcome = Outcome.HEALTHY
    return Verification(
        outcome=outcome,
        canary_requests=len(mine),
        stable_requests=len(others),
        measures=tuple(measures),
    )


def at_the_end(verification: Verification, rules: Canary) -> Outcome:
    """The verdict once the window is over.

    HEALTHY where nothing was shown and no figure is beyond its bound; WORSE where one is; GOING_ON
    where the canary answered fewer requests than the rules ask for.
    """
    if verification.outcome is not Outcome.GOING_ON:
        return verification.outcome
    if verification.canary_requests < rules.min_requests:
        return Outcome.GOING_ON
    beyond = any(each.canary > each.bound for each in verification.measures)
    return Outcome.WORSE if beyond else Outcome.HEALTHY


def _increase(
    name: str,
    stable: Sequence[Served],
    canary: Sequence[Served],
    allowed: float,
    alpha: float,
    *,
    failed: bool,
) -> Measure:
    """A share that may rise by `allowed`; without a stable release it is compared with none."""

    def hits(served: Sequence[Served]) -> int:
        return sum(each.failed if failed else each.blocked for each in served)

    s, c = hits(stable), hits(canary)
    stable_low, stable_high = share_bounds(s, len(stable), alpha / 2) if stable else (0.0, 0.0)
    low, high = share_bounds(c, len(canary), alpha / 2)
    stable_share = s / len(stable) if stable else 0.0
    share = c / len(canary) if canary else 0.0
    outcome = Outcome.GOING_ON
    if low > stable_high + allowed:
        outcome = Outcome.WORSE
    elif high <= stable_low + allowed:
        outcome = Outcome.HEALTHY
    return Measure(
        name=name,
        stable=stable_share,
        canary=share,
        bound=stable_share + allowed,
        outcome=outcome,
        words=f"{name} {share:.1%} against {stable_share:.1%} (may rise by {allowed:.1%})",
    )


def _latency(
    stable: Sequence[Served], canary: Sequence[Served], ratio: float, alpha: float
) -> Measure | None:
    """The share of canary requests slower than `ratio` times stable's 95th percentile.

    Where the canary is no slower than that, it is at most a twentieth: a test of the percentile
    that needs no assumption on how latencies are distributed. Of stable's percentile the upper
    end of its own interval counts, by order statistics; None while stable has too few for one.
    """
    from scipy.stats import binom

    rank = int(binom.ppf(1 - alpha, len(stable), 1 - _TAIL)) if stable else 0
    if rank >= len(stable):
        return None
    limit = ratio * sorted(each.latency_ms for each in stable)[rank]
    slow = sum(each.latency_ms > limit for each in canary)
    low, high = share_bounds(slow, len(canary), alpha)
    share = slow / len(canary) if canary else 0.0
    outcome = Outcome.GOING_ON
    if low > _TAIL:
        outcome = Outcome.WORSE
    elif high <= 2 * _TAIL:
        outcome = Outcome.HEALTHY
    return Measure(
        name="latency",
        stable=_TAIL,
        canary=share,
        bound=2 * _TAIL,
        outcome=outcome,
        words=f"{share:.1%} slower than {ratio:g} x stable's 95th percentile ({limit:.0f} ms)",
    )
