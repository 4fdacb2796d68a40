"""What is decided, and what is said to be open."""

import numpy as np
import pytest
from llmops.compare import compare, exit_code
from llmops.config import Price
from llmops.decision import Comparison, Verdict
from llmops.errors import ExitCode
from llmops.evals.results import SuiteResult
from llmops.formats import Gate

from tests.results import case, observation, results, scored, suite

PRICES = {"small": Price(input=1.0, output=2.0)}
CHANCE = np.random.default_rng(3)
SCORES = CHANCE.uniform(0.3, 0.7, 150)


def decide(*suites: SuiteResult) -> Comparison:
    return compare(results(*suites), PRICES)


def shifted(by: float) -> list[float]:
    return list(SCORES + by + CHANCE.normal(0, 0.02, len(SCORES)))


@pytest.mark.parametrize(
    ("drop", "verdict", "code"),
    [
        (0.0, Verdict.PASS, ExitCode.PASS),
        (0.01, Verdict.PASS, ExitCode.PASS),
        (0.02, Verdict.INCONCLUSIVE, ExitCode.PASS),
        (0.06, Verdict.FAIL, ExitCode.GATE_FAILED),
    ],
)
def test_a_gate_passes_fails_or_says_that_it_cannot_tell(
    drop: float, verdict: Verdict, code: ExitCode
) -> None:
    gate = Gate(metric="f1", max_drop=0.02)

    comparison = decide(suite(scored(list(SCORES), shifted(-drop)), gate))

    assert comparison.verdict is verdict
    assert exit_code(comparison) is code
    assert len(comparison.title) <= 140
    assert comparison.title.endswith(f": {verdict}")


def test_equal_answers_are_unchanged_and_pass() -> None:
    comparison = decide(suite(scored(list(SCORES), list(SCORES)), Gate(metric="f1")))

    assert comparison.title == "quality unchanged: pass"
    assert comparison.suites[0].regressed == ()


def test_a_warning_gate_never_blocks() -> None:
    gate = Gate(metric="f1", max_drop=0.0, action="warn")

    comparison = decide(suite(scored(list(SCORES), shifted(-0.1)), gate))

    assert comparison.verdict is Verdict.PASS
    assert "a warning" in comparison.reasons[0]


def test_an_inconclusive_gate_blocks_where_it_is_told_to() -> None:
    gate = Gate(metric="f1", max_drop=0.02, inconclusive="block")

    comparison = decide(suite(scored(list(SCORES), shifted(-0.02)), gate))

    assert exit_code(comparison) is ExitCode.GATE_FAILED


def test_errors_are_never_passes() -> None:
    fine = [case(n, [observation({"ok": 1})], [observation({"ok": 1})]) for n in range(97)]
    broken = [
        case(n, [observation({"ok": 1})], [observation({}, error="503")]) for n in range(97, 100)
    ]

    comparison = decide(suite([*fine, *broken], Gate(metric="pass")))

    (found,) = comparison.suites
    assert (found.head_errors, found.pairs, found.head_usage.errors) == (3, 97, 3)
    assert not any(each.head[0].passed for each in broken)


def test_too_many_errors_decide_nothing_and_say_why() -> None:
    fine = [case(n, [observation({"ok": 1})], [observation({"ok": 1})]) for n in range(90)]
    broken = [
        case(n, [observation({"ok": 1})], [observation({}, error="503")]) for n in range(90, 100)
    ]

    comparison = decide(suite([*fine, *broken], Gate(metric="pass")))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert exit_code(comparison) is ExitCode.MACHINERY
    assert "10 of 100 answers of head are errors" in comparison.reasons[0]


def test_a_new_application_is_judged_by_its_minimum() -> None:
    cases = [case(n, [], [observation({"ok": float(n % 10 > 0)})]) for n in range(100)]

    assert decide(suite(cases, Gate(metric="ok", minimum=0.7))).verdict is Verdict.PASS
    assert decide(suite(cases, Gate(metric="ok", minimum=0.99))).verdict is Verdict.FAIL
    assert "(new)" in decide(suite(cases, Gate(metric="ok"))).title


def test_flaky_cases_are_found_by_their_repeats() -> None:
    steady = [observation({"ok": 1})] * 3
    flaky = [observation({"ok": 1}), observation({"ok": 0}), observation({"ok": 1})]

    comparison = decide(suite([case(0, steady, steady), case(1, steady, flaky)]))

    assert comparison.suites[0].flaky == ("c1",)


def test_regressed_cases_come_by_the_size_of_their_loss() -> None:
    comparison = decide(
        suite(scored([0.5, 0.5, 0.5, 0.5], [0.4, 0.1, 0.5, 0.9]), Gate(metric="f1", max_drop=1))
    )

    (found,) = comparison.suites
    assert [each.id for each in found.regressed] == ["c1", "c0"]
    assert [each.id for each in found.improved] == ["c3"]


def test_holm_keeps_one_of_many_gates_from_failing_by_chance() -> None:
    lost, gained, same = [1.0] * 14, [0.0] * 4, [1.0, 0.0] * 40
    gate = Gate(metric="ok")
    unlucky = suite(
        scored([*lost, *gained, *same], [*([0.0] * 14), *([1.0] * 4), *same], "ok"), gate
    )
    steady = [suite(scored(same, same, "ok"), gate, name=f"s{number}") for number in range(19)]

    assert decide(unlucky).verdict is Verdict.FAIL
    among_many = decide(unlucky, *steady)
    assert among_many.verdict is Verdict.INCONCLUSIVE
    assert len(among_many.title) <= 140


def test_the_price_is_of_all_answers() -> None:
    comparison = decide(suite(scored([0.5] * 10, [0.5] * 10)))

    assert comparison.suites[0].head_usage.price_usd == pytest.approx((100 * 1 + 50 * 2) / 1e6)
