"""The data card: what is in data/, where it came from, what was left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops.data.params import DataParams

_SAMPLES = 2
_FORMATS = {
    "train": "Vertex AI supervised tuning",
    "validation": "Vertex AI supervised tuning",
    "test": "promptfoo cases",
}


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """What one step left out, for one reason."""

    rows: int
    samples: list[str]
    """Questions: the same ones every time."""


def render(
    *,
    rows: Mapping[str, int],
    dropped: Mapping[str, Dropped],
    summary: Mapping[str, Any],
    params: DataParams,
) -> str:
    """The card as Markdown. `summary` is that of `Selection.summary`."""
    asked = sum(rows.values()) + sum(each.rows for each in dropped.values())
    middle, long = summary["words"]
    since, until = params.retrieve.since, params.retrieve.until
    return "\n".join(
        [
            "# Data card: questions about the Python standard library",
            "",
            "Questions with one-sentence answers, in the shape of Stack Overflow's Python",
            "questions in BigQuery. The answers are first sentences of CPython's docstrings (PSF",
            "licence); titles, scores, dates and noise are made up.",
            "",
            "| split | rows | format |",
            "|---|---|---|",
            *(f"| {split} | {count} | {_FORMATS[split]} |" for split, count in rows.items()),
            "",
            f"Of {asked} questions, those asked from {since} to before {until}, each with its",
            "accepted answer or else the best one. A row's split is decided by the MD5 of its",
            "subject, so that it never changes as the data grows.",
            "",
            "| left out | questions | such as |",
            "|---|---|---|",
            *(
                f"| {reason} | {each.rows} | {_cell(each.samples)} |"
                for reason, each in dropped.items()
            ),
            "",
            "| topic | rows |",
            "|---|---|",
            *(f"| {topic} | {count} |" for topic, count in summary["topics"]),
            "",
            f"Words an answer: {middle} in the middle, {long} at the 95th percentile.",
            f"Personal data masked: {summary['masked']} times.",
            f"Looked for: {', '.join(params.clean.personal_data) or 'nothing'}.",
            "",
            "Known limits: one right answer for each question; English only; what a docstring does",
            "not say in its first sentence is not in here; names of people are not looked for.",
            "",
        ]
    )


def _cell(samples: list[str]) -> str:
    return "; ".join(text.replace("|", "\\|") for text in samples[:_SAMPLES])
