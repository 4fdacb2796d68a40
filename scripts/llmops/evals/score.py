"""Judging answers by their assertions: promptfoo runs them, each verdict is kept by content."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmops import process, progress
from llmops.config import Tools
from llmops.digest import digest
from llmops.errors import MachineryError
from llmops.evals.results import Check
from llmops.serving.answer import Answer

# promptfoo says with this code that an assertion does not hold: a result, not a failure.
_ASSERTION_FAILED = 100


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the assertions say of one answer."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One answer to be judged."""

    key: str
    """Of the judgement: the digest of all that determines it."""
    answer_key: str
    variables: dict[str, Any]
    assertions: tuple[dict[str, Any], ...]
    """`file://` values as paths that exist."""


def judgement_key(
    answer_key: str, answer: Answer, variables: dict[str, Any], assertions: str, scorer: str
) -> str:
    """The digest of the answer, the variables, the assertions' digest and promptfoo's version."""
    return digest([answer_key, answer.text, variables, assertions, scorer])


@cache
def scorer_version(tools: Tools) -> str:
    """Promptfoo's version. Raises MachineryError when it is not installed."""
    manifest = tools.node_modules / "promptfoo" / "package.json"
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        raise MachineryError(f"promptfoo is not installed: {manifest}", fix="make setup") from None


def judge_all(
    papers: Sequence[Paper], tools: Tools, folder: Path, answers: Path, *, quiet: bool = False
) -> dict[str, Judged]:
    """Judgement key -> judgement, by one run of promptfoo over all papers.

    `folder` keeps promptfoo's config and output; `answers` is the folder of the answer cache,
    which the provider reads. Raises MachineryError when promptfoo fails.
    """
    if not papers:
        return {}
    progress.say(f"judging {len(papers)} answers with promptfoo", quiet=quiet)
    folder.mkdir(parents=True, exist_ok=True)
    config, output = folder / "promptfooconfig.json", folder / "promptfoo-output.json"
    config.write_text(json.dumps(_config(papers, answers), ensure_ascii=False), encoding="utf-8")
    output.unlink(missing_ok=True)
    said = process.run(
        [
            str(Path(sys.executable).with_name("promptfoo")),
            *("eval", "--config", str(config), "--output", str(output)),
            *("--no-cache", "--no-write", "--no-table", "--no-progress-bar"),
        ],
        cwd=folder,
        env=environment(tools),
        accepted=frozenset({0, _ASSERTION_FAILED}),
    )
    try:
        rows = json.loads(output.read_text(encoding="utf-8"))["results"]["results"]
    except (OSError, ValueError, KeyError):
        tail = "\n".join(said.splitlines()[-5:])
        raise MachineryError(f"promptfoo left no results in {output}:\n{tail}") from None
    judged = {}
    for row in rows:
        # By its place: promptfoo blacks out long digests in its output, taking them for secrets.
        key = papers[row["testIdx"]].key
        if row.get("error") and not row.get("gradingResult"):
            raise MachineryError(f"promptfoo could not judge an answer: {row['error']}")
        judged[key] = Judged(checks=tuple(_checks(row)))
    missing = len({paper.key for paper in papers} - judged.keys())
    if missing:
        raise MachineryError(f"promptfoo judged {len(judged)} answers and left out {missing}")
    return judged


def environment(tools: Tools) -> Mapping[str, str]:
    """The process environment for promptfoo: offline, quiet, its own state kept."""
    package_root = Path(__file__).resolve().parents[2]
    inherited = tools.inherited
    return {
        **inherited,
        # Its own node_modules first: the Python wrapper runs the promptfoo that it finds there.
        "PATH": f"{tools.node_modules / '.bin'}:{Path(sys.executable).parent}:{inherited['PATH']}",
        "NODE_PATH": str(tools.node_modules),
        "NODE_NO_WARNINGS": "1",
        "PYTHONPATH": str(package_root),
        "PROMPTFOO_PYTHON": sys.executable,
        "PROMPTFOO_CONFIG_DIR": str(tools.promptfoo_home),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
        "NO_COLOR": "1",
    }


def _config(papers: Sequence[Paper], answers: Path) -> dict[str, Any]:
    provider = Path(__file__).with_name("provider.py")
    return {
        "description": "llmops: answers at hand, to be judged",
        "prompts": ["answers at hand"],
        "providers": [{"id": f"file://{provider}", "config": {"answers": str(answers)}}],
        "evaluateOptions": {"maxConcurrency": 4},
        "tests": [
            {
                "vars": paper.variables,
                "assert": list(paper.assertions),
                "metadata": {"llmops": {"answer": paper.answer_key}},
                # promptfoo would run a list variable once for each of its items.
                "options": {"disableVarExpansion": True},
            }
            for paper in papers
        ],
    }


def _checks(row: dict[str, Any]) -> list[Check]:
    components = (row.get("gradingResult") or {}).get("componentResults") or []
    return [
        Check(
            metric=assertion.get("metric") or assertion.get("type", "pass"),
            type=assertion.get("type", ""),
            passed=bool(component["pass"]),
            score=float(component["score"]),
            reason=str(component.get("reason") or ""),
        )
        for component in components
        for assertion in [component.get("assertion") or {}]
    ]
