"""The decision on a change, as values: metrics, gates, cases, and the verdict over all."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """What a gate, or the whole comparison, comes to."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One metric of one suite, paired over the cases that both sides answered."""

    metric: str
    kind: Literal["mean", "pass_rate"]
    cases: int
    base: float
    head: float
    difference: float
    """head - base, in the metric's own unit."""
    low: float
    high: float
    confidence: float
    """Of the interval [low, high] of the difference."""
    detectable_drop: float | None
    """The smallest true drop that a suite of this size finds with 80% power; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What a gate says of this change."""

    metric: str
    action: Literal["block", "warn"]
    inconclusive_action: Literal["block", "warn"]
    max_drop: float
    minimum: float | None
    confidence: float
    verdict: Verdict
    p_value: float | None
    """Of a drop larger than max_drop, against none so large; one-sided. None without a base."""
    adjusted_p_value: float | None
    """The same after Holm's correction over the blocking gates of the run."""
    reason: str
    """One sentence: what was found against what was asked."""


@dataclass(frozen=True, kw_only=True)
class CaseChange:
    """One case on which the sides differ, by its largest difference over gated metrics."""

    id: str
    description: str
    variables: dict[str, object]
    metric: str
    base_score: float
    head_score: float
    base_answer: str
    head_answer: str
    failed_checks: tuple[str, ...]
    """The reasons of the assertions that fail on head (regressed) or failed on base (improved)."""

    @property
    def difference(self) -> float:
        """Head - base on `metric`."""
        return self.head_score - self.base_score


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one side's answers cost."""

    answers: int
    errors: int
    blocked: int
    input_tokens: int
    output_tokens: int
    latency_p50_ms: float
    latency_p95_ms: float
    price_usd: float | None
    """For all answers at the listed price; None where the model is not listed."""


@dataclass(frozen=True, kw_only=True)
class SuiteComparison:
    """One suite of one application, both sides beside each other."""

    application: str
    path: str
    name: str
    cases: int
    pairs: int
    """Cases that both sides answered without an error; all that head answered if base is absent."""
    base_errors: int
    head_errors: int
    max_error_share: float
    flaky: tuple[str, ...]
    """Ids of cases whose repeats disagree about passing, on either side."""
    metrics: tuple[MetricComparison, ...]
    gates: tuple[GateDecision, ...]
    regressed: tuple[CaseChange, ...]
    """Largest loss first."""
    improved: tuple[CaseChange, ...]
    """Largest gain first."""
    base_usage: Usage | None
    """None where there is no base release."""
    head_usage: Usage

    @property
    def has_base(self) -> bool:
        """Whether there is a base release to compare with."""
        return self.base_usage is not None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The decision and its evidence."""

    base: str
    head: str
    environment: str
    verdict: Verdict
    title: str
    """The decision in one line, for the check: at most 140 characters."""
    reasons: tuple[str, ...]
    """Why it is not a pass, one sentence each."""
    too_many_errors: bool
    """Whether errors, not answers, made it inconclusive: then the machinery failed (exit 3)."""
    suites: tuple[SuiteComparison, ...]
    model_calls: int
    answers: int
    elapsed_seconds: float
