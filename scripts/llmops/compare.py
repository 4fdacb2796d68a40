"""Whether head is better, worse or the same: every metric and gate decided, or said to be open."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmops import stats
from llmops.config import Price
from llmops.decision import (
    CaseChange,
    Comparison,
    GateDecision,
    MetricComparison,
    SuiteComparison,
    Usage,
    Verdict,
)
from llmops.errors import ExitCode
from llmops.evals.results import CaseResult, Observation, Results, SuiteResult
from llmops.formats import Gate
from llmops.stats import Floats


def exit_code(comparison: Comparison) -> ExitCode:
    """What the process says: 1 for a failed gate, 3 where errors left too little to judge."""
    if comparison.too_many_errors:
        return ExitCode.MACHINERY
    return ExitCode.GATE_FAILED if comparison.verdict is Verdict.FAIL else ExitCode.PASS


def compare(results: Results, prices: Mapping[str, Price], *, seed: int = 0) -> Comparison:
    """The decision on every suite, gate and case of the results. Equal input, equal output."""
    models = {release.application: release.model for release in results.releases}
    tables = [Scores.of(suite) for suite in results.suites]
    judged = [_judge(scores, seed) for scores in tables]
    decided = _with_holm(tables, judged)
    suites = tuple(
        _suite(scores, metrics, gates, prices.get(models.get(scores.suite.application, "")))
        for scores, (metrics, _), gates in zip(tables, judged, decided, strict=True)
    )
    verdict, reasons = _overall(suites)
    observations = list(results.observations())
    comparison = Comparison(
        base=results.base,
        head=results.head,
        environment=results.environment,
        verdict=verdict,
        title="",
        reasons=reasons,
        too_many_errors=any(map(_errors_are_too_many, suites)),
        suites=suites,
        model_calls=results.model_calls,
        answers=len(observations),
        elapsed_seconds=results.elapsed_seconds,
    )
    return replace(comparison, title=title(comparison))


def title(comparison: Comparison) -> str:
    """The decision in at most 140 characters: each suite's first gate, then the verdict."""
    applications = {suite.application for suite in comparison.suites}
    parts = [_headline(suite, named=len(applications) > 1) for suite in comparison.suites]
    end = f": {comparison.verdict}"
    for kept in range(len(parts), 0, -1):
        more = f", +{len(parts) - kept} more" if kept < len(parts) else ""
        text = ", ".join(parts[:kept]) + more + end
        if len(text) <= _LONGEST_TITLE:
            return text
    return f"{len(parts)} suites{end}"


_LONGEST_TITLE = 140


def _headline(suite: SuiteComparison, *, named: bool) -> str:
    name = f"{suite.application}/{suite.name}" if named else suite.name
    wanted = suite.gates[0].metric if suite.gates else "pass"
    metric = next((each for each in suite.metrics if each.metric == wanted), None)
    if metric is None:
        return f"{name} not measured"
    if not suite.has_base:
        return f"{name} {metric.head:.3f} (new)"
    if all(each.difference == 0 and each.low == each.high == 0 for each in suite.metrics):
        return f"{name} unchanged"
    reach = (metric.high - metric.low) / 2
    return f"{name} {metric.base:.3f} → {metric.head:.3f} ({metric.difference:+.3f} ± {reach:.3f})"


@dataclass(frozen=True)
class Scores:
    """A suite's scores as arrays: one row a pair that both sides answered."""

    suite: SuiteResult
    has_base: bool
    pairs: tuple[CaseResult, ...]
    base: dict[str, Floats]
    """Metric -> mean over repeats, a case each; NaN where the case does not have the metric."""
    head: dict[str, Floats]
    base_errors: int
    head_errors: int

    @classmethod
    def of(cls, suite: SuiteResult) -> "Scores":
        """The arrays of a suite's results."""
        has_base = any(case.base for case in suite.cases)
        pairs = tuple(case for case in suite.cases if not _has_error(case))
        return cls(
            suite=suite,
            has_base=has_base,
            pairs=pairs,
            base=_columns([case.base for case in pairs]) if has_base else {},
            head=_columns([case.head for case in pairs]),
            base_errors=sum(any(o.answer.error for o in case.base) for case in suite.cases),
            head_errors=sum(any(o.answer.error for o in case.head) for case in suite.cases),
        )

    def paired(self, metric: str) -> tuple[Floats, Floats]:
        """Both sides' scores of a metric, for the cases that have it."""
        head = self.head[metric]
        base = self.base[metric] if self.has_base else head
        known = ~(np.isnan(head) | np.isnan(base))
        return base[known], head[known]


def _has_error(case: CaseResult) -> bool:
    return any(each.answer.error is not None for each in (*case.base, *case.head))


def _columns(rows: Sequence[tuple[Observation, ...]]) -> dict[str, Floats]:
    columns: dict[str, Floats] = {}
    for index, observations in enumerate(rows):
        for metric, value in _mean_scores(observations).items():
            if metric not in columns:
                columns[metric] = np.full(len(rows), np.nan)
            columns[metric][index] = value
    return columns


def _mean_scores(observations: tuple[Observation, ...]) -> dict[str, float]:
    if len(observations) == 1:
        return observations[0].scores
    found: dict[str, list[float]] = {}
    for each in observations:
        for metric, value in each.scores.items():
            found.setdefault(metric, []).append(value)
    return {metric: sum(values) / len(values) for metric, values in found.items()}


_Judged = tuple[tuple[MetricComparison, ...], dict[str, stats.Estimate]]


def _judge(scores: Scores, seed: int) -> _Judged:
    """Every metric compared, and for every gated one its estimate at the gate's own confidence."""
    gates = {gate.metric: gate for gate in scores.suite.gates}
    ranks = {name: rank for rank, name in enumerate(gates)}
    order = sorted(scores.head, key=lambda name: (ranks.get(name, len(ranks)), name))
    metrics = []
    estimates = {}
    for name in order:
        base, head = scores.paired(name)
        if len(head) == 0:
            continue
        gate = gates.get(name)
        estimate = _estimate(base, head, has_base=scores.has_base, gate=None, seed=seed)
        if gate is not None:
            estimates[name] = _estimate(base, head, has_base=scores.has_base, gate=gate, seed=seed)
        metrics.append(
            MetricComparison(
                metric=name,
                kind="pass_rate" if _is_binary(base, head) else "mean",
                cases=len(head),
                base=float(base.mean()),
                head=float(head.mean()),
                difference=float(head.mean() - base.mean()),
                low=estimate.low,
                high=estimate.high,
                confidence=0.95,
                detectable_drop=stats.detectable_drop(head - base) if scores.has_base else None,
            )
        )
    return tuple(metrics), estimates


def _estimate(
    base: Floats, head: Floats, *, has_base: bool, gate: Gate | None, seed: int
) -> stats.Estimate:
    confidence = gate.confidence if gate else 0.95
    margin = gate.max_drop if gate else 0.0
    binary = _is_binary(base, head)
    if not has_base and binary:
        return stats.pass_rate_estimate(head, confidence=confidence)
    if not has_base:
        return stats.mean_estimate(head, confidence=confidence, seed=seed)
    if np.array_equal(base, head):
        return stats.Estimate(value=0.0, low=0.0, high=0.0, p_drop=1.0)
    if binary:
        return stats.pass_rate_difference(base, head, margin=margin, confidence=confidence)
    return stats.mean_difference(head - base, margin=margin, confidence=confidence, seed=seed)


def _is_binary(base: Floats, head: Floats) -> bool:
    return bool(np.isin(base, (0.0, 1.0)).all() and np.isin(head, (0.0, 1.0)).all())


def _with_holm(
    tables: Sequence[Scores], judged: Sequence[_Judged]
) -> list[tuple[GateDecision, ...]]:
    """Every gate decided, with p-values corrected over all blocking gates of the run."""
    blocking = [
        (index, gate.metric)
        for index, scores in enumerate(tables)
        for gate in scores.suite.gates
        if gate.action == "block" and scores.has_base and gate.metric in judged[index][1]
    ]
    adjusted = dict(
        zip(
            blocking,
            stats.holm([judged[index][1][metric].p_drop for index, metric in blocking]),
            strict=True,
        )
    )
    return [
        tuple(
            _decide(
                scores, gate, judged[index][1].get(gate.metric), adjusted.get((index, gate.metric))
            )
            for gate in scores.suite.gates
        )
        for index, scores in enumerate(tables)
    ]


def _decide(
    scores: Scores, gate: Gate, estimate: stats.Estimate | None, adjusted: float | None
) -> GateDecision:
    verdict, reason = _gate_verdict(scores, gate, estimate, adjusted)
    if gate.minimum is not None and estimate is not None:
        floor = _floor_verdict(scores, gate)
        verdict, reason = max((verdict, reason), floor, key=lambda each: _SEVERITY[each[0]])
    return GateDecision(
        metric=gate.metric,
        action=gate.action,
        inconclusive_action=gate.inconclusive,
        max_drop=gate.max_drop,
        minimum=gate.minimum,
        confidence=gate.confidence,
        verdict=verdict,
        p_value=estimate.p_drop if estimate and scores.has_base else None,
        adjusted_p_value=adjusted,
        reason=reason,
    )


_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def _gate_verdict(
    scores: Scores, gate: Gate, estimate: stats.Estimate | None, adjusted: float | None
) -> tuple[Verdict, str]:
    """A drop larger than allowed is ruled out, evident, or neither: see docs/decisions."""
    errors = _error_reason(scores)
    if errors:
        return Verdict.INCONCLUSIVE, errors
    if estimate is None:
        return Verdict.INCONCLUSIVE, f"no case measured {gate.metric}"
    if not scores.has_base:
        return Verdict.PASS, "there is no base to compare with"
    if estimate.low >= -gate.max_drop:
        if estimate.low == estimate.high == 0:
            return Verdict.PASS, "both sides score the same on every case"
        return Verdict.PASS, f"a drop of more than {gate.max_drop:g} is ruled out"
    p_value = estimate.p_drop if adjusted is None else adjusted
    if estimate.high < -gate.max_drop and p_value < (1 - gate.confidence) / 2:
        return Verdict.FAIL, (
            f"it drops by {-estimate.value:.3f} "
            f"[{-estimate.high:.3f}, {-estimate.low:.3f}], the gate allows {gate.max_drop:g}"
        )
    return Verdict.INCONCLUSIVE, (
        f"the drop may be as large as {-estimate.low:.3f}, the gate allows {gate.max_drop:g}: "
        f"{len(scores.pairs)} cases cannot tell"
    )


def _floor_verdict(scores: Scores, gate: Gate) -> tuple[Verdict, str]:
    _, head = scores.paired(gate.metric)
    estimate = _estimate(head, head, has_base=False, gate=gate, seed=0)
    floor = gate.minimum or 0.0
    said = (
        f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}], the gate asks {floor:g}"
    )
    if estimate.low >= floor:
        return Verdict.PASS, said
    return (Verdict.FAIL if estimate.high < floor else Verdict.INCONCLUSIVE), said


def _error_reason(scores: Scores) -> str:
    total = len(scores.suite.cases)
    for side, errors in (("base", scores.base_errors), ("head", scores.head_errors)):
        if errors > scores.suite.max_error_share * total:
            return (
                f"{errors} of {total} answers of {side} are errors, more than the "
                f"{scores.suite.max_error_share:.0%} that max_error_share allows"
            )
    return ""


def _errors_are_too_many(suite: SuiteComparison) -> bool:
    return max(suite.base_errors, suite.head_errors) > suite.max_error_share * suite.cases


def _overall(suites: tuple[SuiteComparison, ...]) -> tuple[Verdict, tuple[str, ...]]:
    verdict = Verdict.PASS
    reasons = []
    for suite in suites:
        for gate in suite.gates:
            if gate.verdict is Verdict.PASS:
                continue
            word = "fails" if gate.verdict is Verdict.FAIL else "is inconclusive"
            only = "" if gate.action == "block" else " (a warning)"
            reasons.append(f"{suite.name}: {gate.metric} {word}{only}: {gate.reason}")
            if gate.action == "warn":
                continue
            hard = gate.verdict is Verdict.FAIL or gate.inconclusive_action == "block"
            found = Verdict.FAIL if hard else Verdict.INCONCLUSIVE
            verdict = max(verdict, found, key=_SEVERITY.__getitem__)
        if _errors_are_too_many(suite):
            verdict = max(verdict, Verdict.INCONCLUSIVE, key=_SEVERITY.__getitem__)
    return verdict, tuple(reasons)


def _suite(
    scores: Scores,
    metrics: tuple[MetricComparison, ...],
    gates: tuple[GateDecision, ...],
    price: Price | None,
) -> SuiteComparison:
    suite = scores.suite
    changed = list(_case_changes(scores)) if scores.has_base else []
    return SuiteComparison(
        application=suite.application,
        path=suite.path,
        name=suite.name,
        cases=len(suite.cases),
        pairs=len(scores.pairs),
        base_errors=scores.base_errors,
        head_errors=scores.head_errors,
        max_error_share=suite.max_error_share,
        flaky=tuple(case.id for case in suite.cases if _is_flaky(case)),
        metrics=metrics,
        gates=gates,
        regressed=tuple(
            sorted((c for c in changed if c.difference < 0), key=lambda c: (c.difference, c.id))
        ),
        improved=tuple(
            sorted((c for c in changed if c.difference > 0), key=lambda c: (-c.difference, c.id))
        ),
        base_usage=_usage([case.base for case in suite.cases], price) if scores.has_base else None,
        head_usage=_usage([case.head for case in suite.cases], price),
    )


def _is_flaky(case: CaseResult) -> bool:
    sides = (side for side in (case.base, case.head) if len(side) > 1)
    return any(len({each.passed for each in side}) > 1 for side in sides)


def _case_changes(scores: Scores) -> Iterator[CaseChange]:
    """A case each, by the gated metric on which it differs most; `pass` where it differs at all."""
    gated = [gate.metric for gate in scores.suite.gates if gate.metric in scores.head] or ["pass"]
    names = list(dict.fromkeys(["pass", *gated]))
    differences = np.nan_to_num(np.stack([scores.head[name] - scores.base[name] for name in names]))
    for index, case in enumerate(scores.pairs):
        column = differences[:, index]
        place = int(np.abs(column).argmax())
        if column[place] == 0:
            continue
        name = names[place]
        worse = case.head if column[place] < 0 else case.base
        yield CaseChange(
            id=case.id,
            description=case.description,
            variables=case.variables,
            metric=name,
            base_score=float(scores.base[name][index]),
            head_score=float(scores.head[name][index]),
            base_answer=case.base[0].answer.text,
            head_answer=case.head[0].answer.text,
            failed_checks=tuple(
                f"{check.metric}: {check.reason}"
                for each in worse
                for check in each.checks
                if not check.passed
            ),
        )


def _usage(sides: Sequence[tuple[Observation, ...]], price: Price | None) -> Usage:
    answers = [each.answer for side in sides for each in side]
    latencies = [answer.latency_ms for answer in answers if answer.error is None] or [0.0]
    tokens_in = sum(answer.input_tokens for answer in answers)
    tokens_out = sum(answer.output_tokens for answer in answers)
    return Usage(
        answers=len(answers),
        errors=sum(answer.error is not None for answer in answers),
        blocked=sum(answer.blocked for answer in answers),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        latency_p50_ms=float(np.percentile(latencies, 50)),
        latency_p95_ms=float(np.percentile(latencies, 95)),
        price_usd=None
        if price is None
        else price.of(input_tokens=tokens_in, output_tokens=tokens_out),
    )
