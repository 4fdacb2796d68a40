"""A plan, a comparison, a list of services, as a terminal shows them."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from llmops.changes import FieldChange
from llmops.decision import Comparison, Verdict
from llmops.plan import Evaluation, Plan

_WIDEST_VALUE = 60
_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table: numbers are the caller's to align."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def show_plan(plan: Plan, console: Console) -> None:
    """Prints the plan: what changed, what is evaluated, what a merge does."""
    console.print(f"Plan for {plan.environment}: {plan.base} -> {plan.head}", highlight=False)
    if not plan.changes:
        console.print("\nNothing changes in meaning: nothing to evaluate, a merge deploys nothing.")
    else:
        _show_changes(plan, console)
    for note in plan.notes:
        console.print(f"note: {note}", highlight=False, markup=False)


def _show_changes(plan: Plan, console: Console) -> None:
    console.print()
    console.print(
        table(
            "Changes",
            ("resource", "", "path", "touches"),
            (
                (
                    change.kind,
                    change.change,
                    f"{change.old_path} -> {change.path}" if change.old_path else change.path,
                    ", ".join(change.touches) or "nothing",
                )
                for change in plan.changes
            ),
        )
    )
    for change in plan.changes:
        for each in change.fields:
            console.print(f"  {change.path}: {_in_words(each)}", highlight=False, markup=False)
    console.print()
    if plan.evaluations:
        columns = ("suite", "why", "cases", "calls", "at hand", "tokens", "price")
        console.print(table("To evaluate", columns, map(_evaluation_row, plan.evaluations)))
    else:
        console.print("Nothing to evaluate.")
    if plan.merge:
        console.print("\n[bold]What a merge does[/bold]")
        for sentence in plan.merge:
            console.print(f"  {sentence}", highlight=False, markup=False)


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the decision and the table of metrics and gates."""
    style = _STYLES[comparison.verdict]
    console.print(f"[{style} bold]{comparison.verdict}[/]  {comparison.title}", highlight=False)
    rows = []
    for suite in comparison.suites:
        gates = {gate.metric: gate for gate in suite.gates}
        for metric in suite.metrics:
            gate = gates.get(metric.metric)
            rows.append(
                (
                    f"{suite.application}/{suite.name}",
                    metric.metric,
                    f"{metric.base:.3f}" if suite.has_base else "—",
                    f"{metric.head:.3f}",
                    f"{metric.difference:+.3f} [{metric.low:+.3f}, {metric.high:+.3f}]"
                    if suite.has_base
                    else f"[{metric.low:.3f}, {metric.high:.3f}]",
                    "" if gate is None else f"{gate.verdict} ({gate.action})",
                )
            )
    columns = ("suite", "metric", "base", "head", "difference, 95%", "gate")
    console.print(table("", columns, rows))
    for reason in comparison.reasons:
        console.print(f"  {reason}", highlight=False, markup=False)
    console.print(
        f"{comparison.answers} answers, {comparison.model_calls} asked now, "
        f"{comparison.elapsed_seconds:.1f} s",
        highlight=False,
    )


def _evaluation_row(evaluation: Evaluation) -> tuple[str, ...]:
    if evaluation.model_calls is None:
        unknown = ("?", "?", "?", "after `llmops data pull`", "?")
        return (f"{evaluation.application}/{evaluation.suite}", evaluation.reason, *unknown)
    price = "not listed" if evaluation.price_usd is None else f"<= ${evaluation.price_usd:.4f}"
    return (
        f"{evaluation.application}: {evaluation.suite}",
        evaluation.reason,
        str(evaluation.cases),
        str(evaluation.model_calls - evaluation.cached_calls),
        str(evaluation.cached_calls),
        f"~{evaluation.input_tokens:,} in, <= {evaluation.output_tokens:,} out",
        price,
    )


def _in_words(change: FieldChange) -> str:
    before, after = _cut(change.before), _cut(change.after)
    if change.before is None:
        return f"{change.field}: {after}"
    if change.after is None:
        return f"{change.field}: no longer {before}"
    return f"{change.field}: {before} -> {after}"


def _cut(value: str | None) -> str:
    text = " ".join((value or "").split())
    return text if len(text) <= _WIDEST_VALUE else text[: _WIDEST_VALUE - 1] + "…"
