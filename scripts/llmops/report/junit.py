"""The results as JUnit XML, which test readers of every kind understand."""

import re
from xml.etree import ElementTree as ET

from llmops.decision import Comparison, Verdict
from llmops.evals.results import Observation, Results

# What XML 1.0 cannot hold at all.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Results, comparison: Comparison) -> str:
    """A testsuite a suite, a testcase a case (head's answer), and the gates as one more."""
    root = ET.Element("testsuites", name="llmops", time=f"{results.elapsed_seconds:.3f}")
    for suite in results.suites:
        name = f"{suite.application}/{suite.name}"
        element = ET.SubElement(root, "testsuite", name=name, tests=str(len(suite.cases)))
        failures = errors = 0
        for case in suite.cases:
            seconds = sum(each.answer.latency_ms for each in case.head) / 1000
            test = ET.SubElement(
                element,
                "testcase",
                classname=_text(name),
                name=_text(case.description or case.id),
                time=f"{seconds:.3f}",
            )
            error = next((o.answer.error for o in case.head if o.answer.error), None)
            reasons = [reason for each in case.head for reason in _reasons(each)]
            if error:
                errors += 1
                ET.SubElement(test, "error", message=_text(error))
            elif reasons:
                failures += 1
                failure = ET.SubElement(test, "failure", message=_text(reasons[0]))
                failure.text = _text("\n".join([*reasons, "", case.head[0].answer.text]))
        element.set("failures", str(failures))
        element.set("errors", str(errors))
    _gates(root, comparison)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _gates(root: ET.Element, comparison: Comparison) -> None:
    gates = [(suite, gate) for suite in comparison.suites for gate in suite.gates]
    failed = 0
    element = ET.SubElement(root, "testsuite", name="gates", tests=str(len(gates)))
    for suite, gate in gates:
        name = f"{suite.application}/{suite.name} {gate.metric}"
        test = ET.SubElement(element, "testcase", classname="gates", name=_text(name))
        if gate.verdict is Verdict.FAIL and gate.action == "block":
            failed += 1
            ET.SubElement(test, "failure", message=_text(gate.reason))
        elif gate.verdict is not Verdict.PASS:
            ET.SubElement(test, "system-out").text = _text(f"{gate.verdict}: {gate.reason}")
    element.set("failures", str(failed))
    element.set("errors", "0")


def _reasons(observation: Observation) -> list[str]:
    return [f"{each.metric}: {each.reason}" for each in observation.checks if not each.passed]


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
