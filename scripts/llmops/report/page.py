"""The full report: one HTML file that needs no network."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from llmops.data.diff import DataDiff
from llmops.decision import Comparison
from llmops.errors import MachineryError
from llmops.evals.results import CaseResult, Observation, Results
from llmops.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Assets:
    """The plotting library, as text to be put into the page."""

    d3: str
    plot: str


def load_assets(node_modules: Path) -> Assets:
    """The plotting library out of node_modules. Raises MachineryError when it is not there."""
    try:
        return Assets(
            d3=(node_modules / "d3/dist/d3.min.js").read_text(encoding="utf-8"),
            plot=(node_modules / "@observablehq/plot/dist/plot.umd.min.js").read_text(
                encoding="utf-8"
            ),
        )
    except FileNotFoundError as error:
        message = f"the report's plots are not installed: {error.filename}"
        raise MachineryError(message, fix="make setup") from None


def page(
    plan: Plan,
    results: Results,
    comparison: Comparison,
    changed: Mapping[str, DataDiff | str],
    assets: Assets,
) -> str:
    """The page. What models said reaches it as data, and its script shows data as text only."""
    templates = Environment(loader=PackageLoader("llmops.report", "."), autoescape=True)
    source = files("llmops.report")
    return templates.get_template("page.html").render(
        title=comparison.title,
        plan=plan,
        comparison=comparison,
        changed=changed,
        style=Markup((source / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
        script=Markup((source / "page.js").read_text(encoding="utf-8")),  # noqa: S704 - our own
        d3=Markup(assets.d3),  # noqa: S704 - pinned and hashed
        plot=Markup(assets.plot),  # noqa: S704 - pinned and hashed
        data=Markup(_embedded(_data(results, comparison, changed))),  # noqa: S704 - escaped there
    )


def _embedded(value: object) -> str:
    """JSON that no `</script>` or `<!--` within it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data(
    results: Results, comparison: Comparison, changed: Mapping[str, DataDiff | str]
) -> dict[str, Any]:
    return {
        "pointers": [
            {"path": path, "words": asdict(found.words_of), "topics": asdict(found.topics_of)}
            for path, found in changed.items()
            if not isinstance(found, str)
        ],
        "suites": [
            {
                "id": f"{suite.application}/{suite.name}",
                "hasBase": suite.has_base,
                "metrics": [asdict(metric) for metric in suite.metrics],
                "gates": [asdict(gate) for gate in suite.gates],
                "flaky": list(suite.flaky),
            }
            for suite in comparison.suites
        ],
        "cases": [
            _case(f"{suite.application}/{suite.name}", case)
            for suite in results.suites
            for case in suite.cases
        ],
    }


def _case(suite: str, case: CaseResult) -> dict[str, Any]:
    return {
        "suite": suite,
        "id": case.id,
        "title": case.description or case.id,
        "variables": {name: str(value) for name, value in case.variables.items()},
        "base": [_side(each) for each in case.base],
        "head": [_side(each) for each in case.head],
    }


def _side(observation: Observation) -> dict[str, Any]:
    return {
        "text": observation.answer.text,
        "error": observation.answer.error,
        "passed": observation.passed,
        "scores": observation.scores,
        "ms": observation.answer.latency_ms,
        "checks": [
            [check.metric, check.passed, check.score, check.reason] for check in observation.checks
        ],
    }
