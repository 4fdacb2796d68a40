"""The change of a data pointer, as a reviewer reads it."""

from llmops.data.diff import Change, DataDiff, Distribution, Finding, Kind, TuningCost
from llmops.data.drift import Drift
from llmops.data.rows import Row
from llmops.report.markdown import as_words

_TOPICS = 8
_BARS = "·▁▂▃▄▅▆▇█"


def data_markdown(path: str, found: DataDiff | str) -> str:
    """The difference, or why there is none, as Markdown."""
    if isinstance(found, str):
        return f"### Data: {as_words(path)}\n\nCannot be compared: {as_words(found)}\n"
    before, after = found.training_tokens
    missing = found.without_base
    lines = [
        f"### Data: {as_words(path)}",
        "",
        *([f"⚠️ The data before cannot be had: {as_words(missing)}", ""] if missing else []),
        "| split | before | after | added | removed | changed |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {split} | | {new} | | | |"
            if missing
            else f"| {split} | {old} | {new} | "
            + " | ".join(
                str(kind.by_split.get(split, 0))
                for kind in (found.added, found.removed, found.changed)
            )
            + " |"
            for split, (old, new) in found.rows.items()
        ),
        "",
        *([] if missing else _drift("Words an answer", found.words)),
        *_shape(found.words_of),
        *([] if missing else _drift("Topics", found.topics)),
        f"- Training tokens an epoch: {'' if missing else f'{before:,} → '}{after:,}"
        + (f" ({(after - before) / before:+.1%})" if before else ""),
        *(_cost(each) for each in found.tuning),
        *_finding("rows whose answer another row has", found.duplicates),
        *_finding("training rows near a test or validation row", found.leaks),
        *_finding("rows with personal data", found.personal_data),
    ]
    if found.moved.rows:
        lines.append(f"- ❌ {found.moved.rows} rows moved to another split")
    for name, kind in (
        ()
        if missing
        else (
            ("added", found.added),
            ("removed", found.removed),
            ("changed", found.changed),
            ("moved", found.moved),
        )
    ):
        lines += _samples(name, kind)
    return "\n".join(lines) + "\n"


def _shape(lengths: Distribution) -> list[str]:
    """The lengths as bars of text, which a comment and a terminal show alike."""
    shown = [
        f"`{_bars(counts)}` {side}"
        for side, counts in (("before", lengths.before), ("after", lengths.after))
        if any(counts)
    ]
    return [f"  {', '.join(shown)}: {lengths.bins[0]} to {lengths.bins[-1]} words"] if shown else []


def _bars(counts: tuple[int, ...]) -> str:
    most = max(counts)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)


def _cost(cost: TuningCost) -> str:
    who = cost.who
    what = (
        f"Tuning {as_words(who.application)}, {who.epochs} epochs"
        if who.application
        else "Nobody is tuned on it; an epoch would cost"
    )
    return f"- {what} on {as_words(who.model)}: ${cost.before:,.4f} → ${cost.after:,.4f}"


def _drift(name: str, drift: Drift | None) -> list[str]:
    if drift is None:
        return [f"- {name}: one side has no row, so nothing can be compared"]
    word = "more than chance" if drift.seen else "no more than chance"
    distance = f"{drift.distance:.3f} ({drift.low:.3f} … {drift.high:.3f})"
    return [f"- {name}: distance {distance}, {word} (up to {drift.by_chance:.3f})"]


def _finding(what: str, finding: Finding) -> list[str]:
    if not finding.before and not finding.after:
        return [f"- ✅ no {what}"]
    icon = "❌" if finding.samples else "✅"
    new = f", new: {_row(finding.samples[0])}" if finding.samples else ", none of them new"
    return [f"- {icon} {what}: {finding.before} → {finding.after}{new}"]


def _samples(name: str, kind: Kind) -> list[str]:
    if not kind.rows:
        return []
    topics = ", ".join(f"{topic} {rows}" for topic, rows in list(kind.by_topic.items())[:_TOPICS])
    more = "" if len(kind.by_topic) <= _TOPICS else f" and {len(kind.by_topic) - _TOPICS} more"
    return [
        "",
        f"<details><summary>{kind.rows} rows {name}: {as_words(topics)}{more}</summary>",
        "",
        *(f"- {_change(change)}" for change in kind.samples),
        "",
        "</details>",
    ]


def _change(change: Change) -> str:
    before, after = change.before, change.after
    if before and after and (before.question, before.answer) != (after.question, after.answer):
        return f"{_row(before)} → {as_words(after.answer)}"
    if before and after:
        return f"{_row(before)} → {after.split}"
    row = before or after
    return _row(row) if row else ""


def _row(row: Row) -> str:
    return f"*{row.split}* **{as_words(row.question)}** {as_words(row.answer)}"
