"""The data card: what is in data/, where it came from, what was left out and why."""

from collections import Counter
from collections.abc import Mapping, Sequence

_TOPICS = 15


def render(
    *,
    retrieved: int,
    dropped: Mapping[str, int],
    rows: Mapping[str, int],
    topics: Sequence[str],
    lengths: Sequence[int],
) -> str:
    """The card as Markdown. `topics` and `lengths` (in words) have an entry for each row kept."""
    ordered = sorted(lengths)
    middle, long = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
    common = Counter(topics).most_common(_TOPICS)
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
            f"| train | {rows['train']} | Vertex AI supervised tuning |",
            f"| validation | {rows['validation']} | Vertex AI supervised tuning |",
            f"| test | {rows['test']} | promptfoo cases |",
            "",
            f"Of {retrieved} questions, the accepted answer or else the best one. A row's split is",
            "decided by the MD5 of its subject, so that it never changes as the data grows.",
            "",
            "| left out | questions |",
            "|---|---|",
            *(f"| {reason} | {count} |" for reason, count in dropped.items()),
            "",
            "| topic | rows |",
            "|---|---|",
            *(f"| {topic} | {count} |" for topic, count in common),
            "",
            f"Words an answer: {middle} in the middle, {long} at the 95th percentile.",
            "",
            "Known limits: one right answer for each question; English only; what a docstring does",
            "not say in its first sentence is not in here.",
            "",
        ]
    )
