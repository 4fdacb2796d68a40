"""What an evaluation found: for each case, what either release answered and how it scored."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from llmops.formats import Gate
from llmops.serving.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assertion's judgement of one answer."""

    metric: str
    type: str
    passed: bool
    score: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One answer to one case by one release, scored."""

    answer: Answer
    checks: tuple[Check, ...]
    repeat: int = 0
    cached: bool = False
    """Whether the answer was at hand, so that the model was not asked for this run."""

    @property
    def passed(self) -> bool:
        """Whether there is an answer and every assertion holds. An error never passes."""
        return self.answer.error is None and all(check.passed for check in self.checks)

    @property
    def scores(self) -> dict[str, float]:
        """Metric -> mean score of its assertions; empty for an error. `pass` is always there."""
        if self.answer.error is not None:
            return {}
        found: dict[str, list[float]] = {"pass": [float(self.passed)]}
        for check in self.checks:
            found.setdefault(check.metric, []).append(check.score)
        return {metric: sum(values) / len(values) for metric, values in found.items()}


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """One case and what both sides made of it; `base` is empty where there is no base release."""

    id: str
    description: str
    variables: dict[str, object]
    base: tuple[Observation, ...]
    head: tuple[Observation, ...]


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """One suite as one application answered it."""

    application: str
    path: str
    name: str
    gates: tuple[Gate, ...]
    max_error_share: float
    cases: tuple[CaseResult, ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseUnderTest:
    """Which release stood on which side."""

    application: str
    base: str | None
    """The release's digest; None where base has no such application."""
    head: str
    model: str
    prompt_path: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that `llmops eval` found."""

    base: str
    """The base revision, as a report names it."""
    head: str
    environment: str
    releases: tuple[ReleaseUnderTest, ...]
    suites: tuple[SuiteResult, ...]
    model_calls: int = 0
    """Calls made for this run; what was cached cost none."""
    elapsed_seconds: float = 0.0
    model_seconds: float = 0.0
    """Wall time in which at least one model call was under way."""
    notes: tuple[str, ...] = field(default=())

    def observations(self) -> Iterator[Observation]:
        """Every observation of both sides."""
        for suite in self.suites:
            for case in suite.cases:
                yield from case.base
                yield from case.head
