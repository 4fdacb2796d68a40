"""What a merge would do: two desired states, compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from llmops.changes import ChangeKind, ResourceChange, ResourceKind, Rows, changes_between
from llmops.config import Price
from llmops.digest import short
from llmops.errors import UserError
from llmops.formats import Application
from llmops.release import Release, answer_key, release_of
from llmops.resources import Desired, LoadedCase, LoadedSuite, Resource, suite_name
from llmops.rollout import Goal, steps, words
from llmops.vertex.live import Live, release_label, settled


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One suite that one application must answer, and why."""

    application: str
    suite: str
    """The suite's path at head."""
    reason: str
    cases: int | None
    """None until the data is at hand."""
    model_calls: int | None
    """For both sides, before looking at what is cached."""
    cached_calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    """At the most: the limit on output tokens times the calls."""
    price_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a pull request."""

    base: str
    head: str
    environment: str
    changes: tuple[ResourceChange, ...]
    evaluations: tuple[Evaluation, ...]
    unchanged_suites: tuple[str, ...]
    data_needed: tuple[str, ...]
    """Paths of the data pointers that `llmops data pull` must bring."""
    merge: tuple[str, ...]
    """What a merge does, one sentence each."""
    notes: tuple[str, ...] = ()


# A token of English is about four characters: good to a tenth, and said to be an estimate.
_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, kw_only=True)
class AtHand:
    """What is known beside the two revisions, without asking anybody."""

    cases: Mapping[str, tuple[LoadedCase, ...] | None]
    """Head's suites by path, with all their cases; None where their data is not at hand."""
    base_rows: Rows
    head_rows: Rows
    is_cached: Callable[[str], bool] = lambda _key: False
    """Whether the answer with this key is at hand."""
    outdated: tuple[str, ...] = ()
    """What has changed since the data was built from it."""


def make_plan(base: Desired, head: Desired, environment: str, at_hand: AtHand) -> Plan:
    """What differs between base and head, what must be evaluated, what a merge does.

    Raises UserError when an application cannot run in the environment.
    """
    changes = tuple(changes_between(base, head, at_hand.base_rows, at_hand.head_rows))
    evaluations: list[Evaluation] = []
    unchanged: list[str] = []
    for application in head.applications.values():
        pairs = _release_pair(base, head, application, environment)
        for path in application.value.suites:
            label = f"{application.value.application}/{suite_name(path)}"
            reason = _why(base, head, application, path, pairs)
            if reason is None:
                unchanged.append(label)
            else:
                evaluations.append(_estimate(head, application, path, reason, pairs, at_hand))
    needed = {
        pointer.path
        for evaluation in evaluations
        for data_file in head.suites[evaluation.suite].value.data_files
        if (pointer := head.pointer_of(data_file))
    }
    return Plan(
        base=base.revision.label,
        head=head.revision.label,
        environment=environment,
        changes=changes,
        evaluations=tuple(evaluations),
        unchanged_suites=tuple(unchanged),
        data_needed=tuple(sorted(needed)),
        merge=tuple(_merge_sentences(base, head, environment)),
        notes=(*_notes(head, changes), *_outdated(at_hand.outdated)),
    )


def base_application(base: Desired, head: Resource[Application]) -> Resource[Application] | None:
    """The application of the same name at base, wherever its file was."""
    return next(
        (a for a in base.applications.values() if a.value.application == head.value.application),
        None,
    )


def _release_pair(
    base: Desired, head: Desired, application: Resource[Application], environment: str
) -> tuple[Release | None, Release]:
    before = base_application(base, application)
    if before is not None and environment not in before.value.base_model:
        before = None
    return (
        None if before is None else release_of(base, before, environment),
        release_of(head, application, environment),
    )


def _why(
    base: Desired,
    head: Desired,
    application: Resource[Application],
    path: str,
    releases: tuple[Release | None, Release],
) -> str | None:
    """Why the suite must be answered, or None when nothing that it depends on changed."""
    before = base_application(base, application)
    if releases[0] is None or before is None:
        return "the application is new"
    if releases[0].digest != releases[1].digest:
        causes = ", ".join(_release_causes(releases[0], releases[1]))
        return f"the release changes: {causes}"
    if suite_name(path) not in map(suite_name, before.value.suites):
        return "the suite is new for this application"
    old = base.suites.get(path) or _suite_named(base, before, path)
    new = head.suites[path]
    if old is None or old.digest != new.digest:
        return "the suite changed"
    for data_file in new.value.data_files:
        pointers = base.pointer_of(data_file), head.pointer_of(data_file)
        if pointers[0] is None or pointers[1] is None or pointers[0].digest != pointers[1].digest:
            return "its data changed"
    return None


def _suite_named(
    base: Desired, application: Resource[Application], path: str
) -> Resource[LoadedSuite] | None:
    names = {suite_name(each): each for each in application.value.suites}
    return base.suites.get(names.get(suite_name(path), ""))


def _release_causes(before: Release, after: Release) -> Iterator[str]:
    if before.messages != after.messages:
        yield "prompt"
    if before.generation != after.generation:
        yield "generation parameters"
    if before.safety_settings != after.safety_settings:
        yield "safety settings"
    if before.model != after.model:
        yield f"base model {before.model} -> {after.model}"
    if before.tuning != after.tuning:
        yield "tuning"


def _estimate(
    head: Desired,
    application: Resource[Application],
    path: str,
    reason: str,
    releases: tuple[Release | None, Release],
    at_hand: AtHand,
) -> Evaluation:
    evaluation = Evaluation(
        application=application.value.application,
        suite=path,
        reason=reason,
        cases=None,
        model_calls=None,
    )
    cases = at_hand.cases.get(path)
    if cases is None:
        return evaluation
    repeat = head.suites[path].value.suite.evaluate_options.repeat
    asked: dict[str, int] = {}
    for release in filter(None, releases):
        for case in cases:
            size = sum(len(message.content) for message in release.render(case.variables))
            for number in range(repeat):
                asked[answer_key(release, case.variables, number)] = size // _CHARACTERS_A_TOKEN
    missing = {key: size for key, size in asked.items() if not at_hand.is_cached(key)}
    output = len(missing) * releases[1].generation.max_output_tokens
    price = _price(head, releases[1].model)
    return replace(
        evaluation,
        cases=len(cases),
        model_calls=len(asked),
        cached_calls=len(asked) - len(missing),
        input_tokens=sum(missing.values()),
        output_tokens=output,
        price_usd=None
        if price is None
        else price.of(input_tokens=sum(missing.values()), output_tokens=output),
    )


def _price(desired: Desired, model: str) -> Price | None:
    return desired.settings.value.prices.get(model) if desired.settings else None


# --- what a merge does ------------------------------------------------------------------------


def _merge_sentences(base: Desired, head: Desired, environment: str) -> Iterator[str]:
    names = {application.value.application for application in head.applications.values()}
    for application in head.applications.values():
        yield from _application_sentences(base, head, application)
    for old in base.applications.values():
        if old.value.application not in names:
            yield f"{old.value.application} is no longer governed by main; what runs goes on."
    if environment not in {name for a in head.applications.values() for name in a.value.base_model}:
        yield f"No application has a base model for {environment}."


def _application_sentences(
    base: Desired, head: Desired, application: Resource[Application]
) -> Iterator[str]:
    name = application.value.application
    before = base_application(base, application)
    rising = []
    for environment in application.value.base_model:
        new = release_of(head, application, environment)
        old = (
            release_of(base, before, environment)
            if before is not None and environment in before.value.base_model
            else None
        )
        if old is None or old.digest != new.digest:
            was = "" if old is None else f", in place of {short(old.digest)}"
            rising.append(f"{environment}: release {short(new.digest)} on {new.model}{was}")
            if new.tuning and (old is None or old.tuning != new.tuning):
                yield _tuning_sentence(name, environment, application)
    canary = application.value.canary
    if rising:
        yield f"{name} becomes a new release. {'; '.join(rising)}."
        for environment, taken in _rollouts(base, head, application, before):
            yield f"{environment}: {'; '.join(taken)}."
        yield (
            f"{name} goes back when errors rise by more than {canary.max_error_rate_increase:.1%}, "
            f"the 95th percentile of latency by more than x{canary.max_latency_p95_ratio:g}, or "
            f"blocked answers by more than {canary.max_blocked_share_increase:.1%}."
        )
    elif before is not None and before.value.serving != application.value.serving:
        yield f"{name} is redeployed with other machines or limits; its answers stay the same."
    elif before is not None and before.value.canary != canary:
        yield f"{name}: the next release is rolled out by the new canary rules; nothing runs now."


def _rollouts(
    base: Desired,
    head: Desired,
    application: Resource[Application],
    before: Resource[Application] | None,
) -> Iterator[tuple[str, list[str]]]:
    """Environment -> the steps that `llmops deploy` takes where live is what base says.

    One step's words are those of the dry run: it is the same function.
    """
    local = (
        {name for name, entry in head.settings.value.environments.items() if entry.local}
        if head.settings
        else set()
    )
    for environment in application.value.base_model:
        new = release_of(head, application, environment)
        old = (
            release_of(base, before, environment)
            if before is not None and environment in before.value.base_model
            else None
        )
        if environment in local or (old is not None and old.digest == new.digest):
            continue
        goal = Goal(
            application=new.application,
            environment=environment,
            digest=new.digest,
            release=release_label(new.digest),
            commit="",
            model=new.model,
            rules=application.value.canary,
            tuning=new.tuning,
        )
        live = Live(endpoint=None) if old is None else settled(release_label(old.digest))
        yield environment, [words(step) for step in steps(goal, live, now=0.0)]


def _tuning_sentence(name: str, environment: str, application: Resource[Application]) -> str:
    tuning = application.value.tuning
    if tuning is None:
        raise UserError(f"{name} is not tuned", path=application.path)
    return (
        f"{name} is tuned for {environment} first: {tuning.epochs} epochs on {tuning.data}, "
        f"adapter size {tuning.adapter_size}. The same tuning is never run twice."
    )


def _notes(head: Desired, changes: tuple[ResourceChange, ...]) -> Iterator[str]:
    used = {application.value.prompt for application in head.applications.values()}
    suites = {
        path for application in head.applications.values() for path in application.value.suites
    }
    for change in changes:
        if change.change is ChangeKind.REMOVED or change.kind is ResourceKind.SETTINGS:
            continue
        if change.kind is ResourceKind.PROMPT and change.path not in used:
            yield f"{change.path} is used by no application: nothing evaluates it."
        if change.kind is ResourceKind.SUITE and change.path not in suites:
            yield f"{change.path} is named by no application: nothing runs it."


def _outdated(changed: tuple[str, ...]) -> Iterator[str]:
    if changed:
        yield (
            f"the data was built before these changed: {', '.join(changed)}. "
            "To build it anew: llmops data build"
        )
