"""Both releases answer the same cases; what is at hand is not asked again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops import git
from llmops.bucket import Bucket
from llmops.config import Tools
from llmops.evals import ask, score
from llmops.evals.cache import ContentCache
from llmops.evals.results import CaseResult, Observation, ReleaseUnderTest, Results, SuiteResult
from llmops.plan import Plan, base_application
from llmops.release import Release, answer_key, release_of
from llmops.resources import (
    FILE_SCHEME,
    Desired,
    LoadedCase,
    LoadedSuite,
    Resource,
    resolve_file,
    suite_name,
)
from llmops.serving.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Caches:
    """Where answers and judgements are kept."""

    folder: Path
    bucket: Callable[[], Bucket] | None = None

    @property
    def answer_folder(self) -> Path:
        """Where the answers of this machine lie."""
        return self.folder / "answers"

    @cached_property
    def answers(self) -> ContentCache[Answer]:
        """Answers by answer key."""
        return ContentCache(
            Answer, self.answer_folder, prefix="observations/answers", bucket=self.bucket
        )

    @cached_property
    def judgements(self) -> ContentCache[score.Judged]:
        """Judgements by judgement key."""
        return ContentCache(
            score.Judged,
            self.folder / "judgements",
            prefix="observations/judgements",
            bucket=self.bucket,
        )


@dataclass(frozen=True, kw_only=True)
class Shell:
    """What an evaluation needs of the world."""

    root: Path
    tools: Tools
    caches: Caches
    folder: Path
    """For promptfoo's config and output, and the suite's files at head."""
    ask: ask.Ask
    """Asks the model; called only for answers that are not at hand."""
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """One suite of one application, and the releases that answer it."""

    application: str
    prompt_path: str
    suite: Resource[LoadedSuite]
    cases: tuple[LoadedCase, ...]
    base: Release | None
    head: Release

    @property
    def repeat(self) -> int:
        return self.suite.value.suite.evaluate_options.repeat

    @property
    def releases(self) -> tuple[Release, ...]:
        return (self.head,) if self.base is None else (self.base, self.head)


def evaluate(
    shell: Shell,
    plan: Plan,
    base: Desired,
    head: Desired,
    cases: Mapping[str, tuple[LoadedCase, ...]],
) -> Results:
    """Answers and judges every evaluation of the plan, on both sides.

    `cases` has every suite of the plan by path. Raises MachineryError when the model or promptfoo
    is not there; a single call that fails is recorded as an error of its case.
    """
    started = time.perf_counter()
    sides = [
        _sides(base, head, plan.environment, evaluation.application, evaluation.suite, cases)
        for evaluation in plan.evaluations
    ]
    questions = {
        key: ask.Question(key=key, release=release, variables=case.variables)
        for each in sides
        for release in each.releases
        for case in each.cases
        for repeat in range(each.repeat)
        for key in [answer_key(release, case.variables, repeat)]
    }
    at_hand = shell.caches.answers.get_many(questions)
    asked = ask.ask_all(
        [question for key, question in questions.items() if key not in at_hand],
        shell.ask,
        shell.caches.answers,
        concurrency=max(
            (each.suite.value.suite.evaluate_options.max_concurrency for each in sides), default=1
        ),
        quiet=shell.quiet,
    )
    answers = {**at_hand, **asked.answers}
    judge = _Judge(shell, head, answers, cached=frozenset(at_hand))
    judge.run(sides)
    suites = tuple(
        SuiteResult(
            application=each.application,
            path=each.suite.path,
            name=suite_name(each.suite.path),
            gates=each.suite.value.suite.gates,
            max_error_share=each.suite.value.suite.max_error_share,
            cases=tuple(
                CaseResult(
                    id=case.id,
                    description=case.description,
                    variables=case.variables,
                    base=judge.observations(each, each.base, case),
                    head=judge.observations(each, each.head, case),
                )
                for case in each.cases
            ),
        )
        for each in sides
    )
    return Results(
        base=plan.base,
        head=plan.head,
        environment=plan.environment,
        releases=_releases(sides),
        suites=suites,
        model_calls=asked.calls,
        elapsed_seconds=round(time.perf_counter() - started, 3),
        model_seconds=round(asked.busy_seconds, 3),
        notes=_bucket_notes(shell.caches),
    )


def _sides(
    base: Desired,
    head: Desired,
    environment: str,
    name: str,
    suite: str,
    cases: Mapping[str, tuple[LoadedCase, ...]],
) -> _Sides:
    application = next(a for a in head.applications.values() if a.value.application == name)
    before = base_application(base, application)
    if before is not None and environment not in before.value.base_model:
        before = None
    return _Sides(
        application=name,
        prompt_path=application.value.prompt,
        suite=head.suites[suite],
        cases=cases[suite],
        base=None
        if before is None
        else _answering(release_of(base, before, environment), cases[suite]),
        head=release_of(head, application, environment),
    )


def _answering(release: Release, cases: tuple[LoadedCase, ...]) -> Release | None:
    """The base release, unless head's cases no longer supply what its prompt asks for."""
    answerable = all(release.variables <= case.variables.keys() for case in cases)
    return release if answerable else None


class _Judge:
    """Looks up, or has made, the judgement of every answer."""

    def __init__(
        self, shell: Shell, head: Desired, answers: dict[str, Answer], cached: frozenset[str]
    ) -> None:
        self._shell = shell
        self._head = head
        self._answers = answers
        self._cached = cached
        self._judged: dict[str, score.Judged] = {}
        self._scorer = score.scorer_version(shell.tools)

    def run(self, sides: list[_Sides]) -> None:
        """Judges what is not judged yet, by one run of promptfoo."""
        papers = {
            paper.key: paper
            for each in sides
            for release in each.releases
            for case in each.cases
            for repeat in range(each.repeat)
            for paper in [self._paper(each, release, case, repeat)]
            if paper is not None
        }
        cache = self._shell.caches.judgements
        self._judged = cache.get_many(papers)
        missing = [paper for key, paper in papers.items() if key not in self._judged]
        if missing:
            self._export_suite_files()
        made = score.judge_all(
            missing,
            self._shell.tools,
            self._shell.folder,
            self._shell.caches.answer_folder,
            quiet=self._shell.quiet,
        )
        for key, judged in made.items():
            cache.put(key, judged)
        self._judged |= made

    def observations(
        self, sides: _Sides, release: Release | None, case: LoadedCase
    ) -> tuple[Observation, ...]:
        """The observations of one case by one release, a repeat each."""
        if release is None:
            return ()
        found = []
        for repeat in range(sides.repeat):
            key = answer_key(release, case.variables, repeat)
            paper = self._paper(sides, release, case, repeat)
            checks = () if paper is None else self._judged[paper.key].checks
            found.append(
                Observation(
                    answer=self._answers[key],
                    checks=checks,
                    repeat=repeat,
                    cached=key in self._cached,
                )
            )
        return tuple(found)

    def _paper(
        self, sides: _Sides, release: Release, case: LoadedCase, repeat: int
    ) -> score.Paper | None:
        key = answer_key(release, case.variables, repeat)
        answer = self._answers[key]
        if answer.error is not None:
            return None
        suite = sides.suite.value
        return score.Paper(
            key=score.judgement_key(
                key, answer, case.variables, suite.assertion_digest(case), self._scorer
            ),
            answer_key=key,
            variables=case.variables,
            assertions=tuple(self._placed(sides.suite.path, each) for each in case.assertions),
        )

    def _placed(self, suite_path: str, assertion: dict[str, Any]) -> dict[str, Any]:
        """The assertion with its file where `_export_suite_files` puts it."""
        value = assertion.get("value")
        if isinstance(value, str) and value.startswith(FILE_SCHEME):
            target = self._shell.folder / "head" / resolve_file(suite_path, value)
            _, colon, function = value.removeprefix(FILE_SCHEME).partition(":")
            return {**assertion, "value": f"{FILE_SCHEME}{target}{colon}{function}"}
        return assertion

    def _export_suite_files(self) -> None:
        """Writes the files that assertions name, as they are at head, checked out or not."""
        wanted = {
            resolve_file(suite.path, reference): oid
            for suite in self._head.suites.values()
            for reference, oid in suite.value.file_digests.items()
        }
        blobs = git.read_blobs(self._shell.root, wanted.values())
        for path, oid in wanted.items():
            target = self._shell.folder / "head" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(blobs[oid])


def _releases(sides: list[_Sides]) -> tuple[ReleaseUnderTest, ...]:
    found = {
        each.application: ReleaseUnderTest(
            application=each.application,
            base=None if each.base is None else each.base.digest,
            head=each.head.digest,
            model=each.head.model,
            prompt_path=each.prompt_path,
        )
        for each in sides
    }
    return tuple(found.values())


def _bucket_notes(caches: Caches) -> tuple[str, ...]:
    failed = caches.answers.failed_writes + caches.judgements.failed_writes
    if not failed:
        return ()
    return (f"{len(failed)} observations are on this machine only: {failed[0]}",)
