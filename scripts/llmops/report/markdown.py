"""The comment that a reviewer reads: verdict, evidence, uncertainty, before they scroll."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops.changes import ResourceChange
from llmops.decision import (
    CaseChange,
    Comparison,
    GateDecision,
    MetricComparison,
    SuiteComparison,
    Verdict,
)
from llmops.plan import Plan

MARKER = "<!-- llmops:report -->"
"""By which the comment is found again, whoever wrote it."""
LONGEST = 65_536
"""GitHub refuses a comment of more characters."""

_ICONS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⚠️"}
_LONGEST_ANSWER = 600
_CASE_STEPS = (20, 10, 5, 3, 1, 0)


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where the report stands."""

    commit: str
    run_url: str = ""
    report_url: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why there is no decision: the change is invalid, or the machinery failed."""

    message: str
    path: str | None
    line: int | None
    fix: str | None
    exit_code: int

    @property
    def title(self) -> str:
        """For the check: at most 140 characters."""
        place = f"{self.path}:{self.line}: " if self.path and self.line else ""
        word = "invalid" if self.exit_code == 2 else "the machinery failed"
        text = f"{word}: {place}{self.message.splitlines()[0]}"
        return text if len(text) <= 140 else text[:139] + "…"


def comment(plan: Plan, comparison: Comparison | None, context: Context, *, data: str = "") -> str:
    """The whole comment; `comparison` is None where nothing had to be evaluated.

    `data` is what changed in the data, as Markdown. Where it would be longer than GitHub takes, the
    lists of cases are cut, then the texts of the change, and each cut says how much it left out;
    of long data the samples.
    """
    text = ""
    if len(data) > LONGEST // 3:
        summary = data.split("<details>", maxsplit=1)[0]
        data = f"{summary}*Samples of the rows: see `llmops data diff`.*\n"
    for cases in _CASE_STEPS:
        for width in (_LONGEST_ANSWER, 200):
            text = _assemble(plan, comparison, context, data, cases=cases, width=width)
            if len(text) <= LONGEST:
                return text
    note = "\n\n*The rest is left out: it is longer than a comment may be. See the full report.*\n"
    head = _headline(plan, comparison)
    return f"{head[: LONGEST - len(note) - len(MARKER) - 2]}{note}{MARKER}\n"


def failure(problem: Failure, context: Context) -> str:
    """The comment for a change that could not be judged."""
    invalid = problem.exit_code == 2
    title = "this change is invalid" if invalid else "the machinery failed, not the change"
    place = f"{problem.path}:{problem.line}" if problem.line else problem.path or ""
    lines = [f"## ❌ llmops: {title}", ""]
    if place:
        lines += [f"At {as_code(place)}:", ""]
    lines += [fence(problem.message[:4_000]), ""]
    if problem.fix:
        lines += ["**What to do:**", "", fence(problem.fix[:4_000]), ""]
    return "\n".join([*lines, _footer(context), MARKER, ""])


def as_code(text: str) -> str:
    """Inline code that its content cannot leave."""
    flat = " ".join(text.split()).replace("`", "ˋ").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def fence(text: str, language: str = "text") -> str:
    """A code block that its content cannot leave: its fence is longer than any within."""
    # Not even as text: a comment is found again by a hidden marker.
    text = text.replace("<!--", "<! --")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _assemble(
    plan: Plan,
    comparison: Comparison | None,
    context: Context,
    data: str,
    *,
    cases: int,
    width: int,
) -> str:
    parts = [_headline(plan, comparison)]
    if comparison is not None:
        parts += [_table(suite) for suite in comparison.suites]
        parts += list(_evidence(comparison, cases, width))
    parts += [data.strip(), _changes(plan.changes, width), _merge(plan), _notes(plan)]
    if comparison is not None:
        parts += [_cost(comparison), _uncertainty(comparison)]
    parts += [_footer(context), MARKER]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(plan: Plan, comparison: Comparison | None) -> str:
    if comparison is None:
        what = "nothing to evaluate" if plan.changes else "nothing changes in meaning"
        return f"## ✅ llmops: {what}: pass"
    icon = _ICONS[comparison.verdict]
    lines = [f"## {icon} {comparison.verdict}", "", f"**{as_words(comparison.title)}**"]
    lines += ["", *(f"- {as_words(reason)}" for reason in comparison.reasons)]
    return "\n".join(lines).strip()


def _table(suite: SuiteComparison) -> str:
    gates = {gate.metric: gate for gate in suite.gates}
    name = f"{suite.application} / {suite.name}"
    head = f"### {as_words(name)}: {_count(suite.pairs, 'case')}" + (
        "" if suite.has_base else ", new: there is no base to compare with"
    )
    rows = [_row(metric, gates.get(metric.metric), suite) for metric in suite.metrics]
    title = (
        "| metric | base | head | difference (95% interval) | gate | |\n"
        "|---|---:|---:|---:|---|---|"
    )
    return "\n".join([head, "", title, *rows])


def _row(metric: MetricComparison, gate: GateDecision | None, suite: SuiteComparison) -> str:
    base = _number(metric.base) if suite.has_base else "–"
    if suite.has_base and metric.difference == metric.low == metric.high == 0:
        change = "unchanged"
    elif suite.has_base:
        change = f"{_signed(metric.difference)} ({_signed(metric.low)} … {_signed(metric.high)})"
    else:
        change = f"({_number(metric.low)} … {_number(metric.high)})"
    rule = verdict = ""
    if gate is not None:
        rule = f"drop ≤ {gate.max_drop:g}" + ("" if gate.action == "block" else ", warns")
        verdict = f"{_ICONS[gate.verdict]} {gate.verdict}"
    name = as_code(metric.metric)
    return f"| {name} | {base} | {_number(metric.head)} | {change} | {rule} | {verdict} |"


def _evidence(comparison: Comparison, cases: int, width: int) -> Sequence[str]:
    found = []
    for suite in comparison.suites:
        for word, changes in (("regressed", suite.regressed), ("improved", suite.improved)):
            if not changes:
                continue
            opened = word == "regressed" and comparison.verdict is Verdict.FAIL
            shown = [_case(change, width) for change in changes[:cases]]
            hidden = len(changes) - len(shown)
            if hidden:
                more = _count(hidden, f"more {word} case")
                shown.append(f"*{more}: see the full report.*")
            title = f"{suite.name}: {_count(len(changes), 'case')} {word}"
            found.append(_fold(title, "\n\n".join(shown), opened=opened))
    return found


def _case(change: CaseChange, width: int) -> str:
    scores = f"{_number(change.base_score)} → {_number(change.head_score)}"
    lines = [
        f"**{as_words(change.description or change.id)}** — {as_code(change.metric)} {scores}",
        "",
    ]
    lines += [
        f"- {side}: {as_words(_cut(text, width))}"
        for side, text in (("base", change.base_answer), ("head", change.head_answer))
    ]
    lines += [f"- ✕ {as_words(_cut(reason, 300))}" for reason in change.failed_checks[:4]]
    return "\n".join(lines)


def _changes(changes: Sequence[ResourceChange], width: int) -> str:
    if not changes:
        return ""
    lines = []
    for change in changes:
        where = f"{as_code(change.old_path)} → " if change.old_path else ""
        touches = ", ".join(map(as_words, change.touches)) or "nothing"
        lines.append(
            f"- {change.kind} {where}{as_code(change.path)}: {change.change}; touches {touches}"
        )
        diff = []
        for field in change.fields[:40]:
            diff.append(f"@ {field.field}")
            diff += [f"- {_cut(line, width)}" for line in (field.before or "").splitlines()[:20]]
            diff += [f"+ {_cut(line, width)}" for line in (field.after or "").splitlines()[:20]]
        if len(change.fields) > 40:
            diff.append(f"@ and {_count(len(change.fields) - 40, 'more field')}")
        if diff:
            lines += ["", fence("\n".join(diff), "diff"), ""]
    return _fold(f"What changed: {_count(len(changes), 'resource')}", "\n".join(lines).strip())


def _merge(plan: Plan) -> str:
    if not plan.merge:
        return "**What a merge does:** no release changes."
    return "**What a merge does**\n\n" + "\n".join(f"- {as_words(each)}" for each in plan.merge)


def _notes(plan: Plan) -> str:
    return "\n".join(f"> **Note:** {as_words(note)}\n" for note in plan.notes).strip()


def _cost(comparison: Comparison) -> str:
    rows = []
    for suite in comparison.suites:
        for side, usage in (("base", suite.base_usage), ("head", suite.head_usage)):
            if usage is None:
                continue
            price = "not listed" if usage.price_usd is None else f"${usage.price_usd:.4f}"
            rows.append(
                f"| {as_words(suite.name)} | {side} | {usage.answers} | {usage.errors} "
                f"| {usage.blocked} | {usage.input_tokens:,} | {usage.output_tokens:,} "
                f"| {usage.latency_p50_ms:,.0f} / {usage.latency_p95_ms:,.0f} ms | {price} |"
            )
    head = (
        "| suite | side | answers | errors | blocked | tokens in | tokens out "
        "| latency 50% / 95% | price |\n|---|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    asked = f"{comparison.answers} answers, {comparison.model_calls} of them asked for this run."
    return _fold("Tokens, latency, price", "\n".join([head, *rows, "", asked]))


def _uncertainty(comparison: Comparison) -> str:
    lines = []
    for suite in comparison.suites:
        for gate in suite.gates:
            metric = next((each for each in suite.metrics if each.metric == gate.metric), None)
            if metric is not None and metric.detectable_drop is not None:
                drop = f"{as_code(gate.metric)} of {metric.detectable_drop:.3f}"
                lines.append(
                    f"- {as_words(suite.name)}: {metric.cases} cases find a true drop of {drop} "
                    "four times out of five."
                )
        if suite.flaky:
            lines.append(
                f"- {as_words(suite.name)}: {_count(len(suite.flaky), 'flaky case')}, "
                "whose repeats disagree: " + ", ".join(map(as_code, suite.flaky[:10]))
            )
        if suite.base_errors or suite.head_errors:
            lines.append(
                f"- {as_words(suite.name)}: {suite.base_errors} errors on base, "
                f"{suite.head_errors} on head; such cases are left out of the comparison "
                "and count as no pass."
            )
    return _fold("How sure this is", "\n".join(lines)) if lines else ""


def _footer(context: Context) -> str:
    links = [f"commit {as_code(context.commit[:12])}"] if context.commit else []
    links += [f"[full report]({context.report_url})"] if context.report_url else []
    links += [f"[run]({context.run_url})"] if context.run_url else []
    links += ["on your machine: `llmops pr`"]
    return f"<sub>{' · '.join(links)}</sub>"


def _fold(title: str, body: str, *, opened: bool = False) -> str:
    attribute = " open" if opened else ""
    return f"<details{attribute}><summary>{as_words(title)}</summary>\n\n{body}\n\n</details>"


def as_words(text: str) -> str:
    """Text as text: nothing in it is taken for Markdown, HTML, a mention or a link."""
    flat = " ".join(text.split())
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", flat)
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width joiner keeps @names from being called and bare addresses from being linked.
    return re.sub(r"@(?=\w)|(?<=http)(?=s?:)|(?<=www)(?=\.)", lambda m: m[0] + "\u200d", escaped)


def _cut(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
