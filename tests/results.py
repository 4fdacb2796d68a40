"""Builders for what an evaluation found."""

from collections.abc import Mapping, Sequence

from llmops.evals.results import (
    CaseResult,
    Check,
    Observation,
    ReleaseUnderTest,
    Results,
    SuiteResult,
)
from llmops.formats import Gate
from llmops.serving.answer import Answer


def observation(
    scores: Mapping[str, float], text: str = "an answer", error: str | None = None
) -> Observation:
    """An answer with one check a metric; a score of 0 fails."""
    checks = tuple(
        Check(metric=name, type="x", passed=score > 0, score=score, reason=f"{name} says {score}")
        for name, score in scores.items()
    )
    answer = Answer(text=text, error=error, input_tokens=10, output_tokens=5, latency_ms=20.0)
    return Observation(answer=answer, checks=() if error else checks)


def case(number: int, base: Sequence[Observation], head: Sequence[Observation]) -> CaseResult:
    return CaseResult(
        id=f"c{number}",
        description=f"What does f{number}() do?",
        variables={"question": f"What does f{number}() do?"},
        base=tuple(base),
        head=tuple(head),
    )


def suite(cases: Sequence[CaseResult], *gates: Gate, name: str = "quality") -> SuiteResult:
    return SuiteResult(
        application="assistant",
        path=f"evals/{name}.yaml",
        name=name,
        gates=gates,
        max_error_share=0.05,
        cases=tuple(cases),
    )


def results(*suites: SuiteResult) -> Results:
    release = ReleaseUnderTest(
        application="assistant", base="a" * 64, head="b" * 64, model="small", prompt_path="p"
    )
    return Results(
        base="main (0000000)",
        head="HEAD (1111111)",
        environment="local",
        releases=(release,),
        suites=suites,
    )


def scored(base: Sequence[float], head: Sequence[float], metric: str = "f1") -> list[CaseResult]:
    """Cases with these scores of one metric."""
    return [
        case(number, [observation({metric: one})], [observation({metric: other})])
        for number, (one, other) in enumerate(zip(base, head, strict=True))
    ]
