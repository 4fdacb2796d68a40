"""What main, or a branch, says should be: all resources at one git revision, typed and digested."""

import json
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from llmops import git, yamlfile
from llmops.config import SETTINGS_FILE, Settings
from llmops.digest import digest
from llmops.errors import UserError
from llmops.formats import Application, Assertion, Case, DataPointer, Prompt, Suite
from llmops.git import Revision
from llmops.yamlfile import Written

V = TypeVar("V")
W = TypeVar("W", bound=Written)

FILE_SCHEME = "file://"


@dataclass(frozen=True, kw_only=True)
class Resource(Generic[V]):
    """One thing that git governs."""

    path: str
    value: V
    digest: str
    """Of its meaning: reordered keys, comments and a new file name change nothing."""
    source: str = field(repr=False)
    """The text as it was written, to find lines in."""

    def line_of(self, *steps: object) -> int | None:
        """The line on which the value at `steps` stands."""
        return yamlfile.locate(self.source, steps).line


@dataclass(frozen=True, kw_only=True)
class LoadedCase:
    """One case with all that its suite adds to it."""

    id: str
    description: str
    variables: dict[str, Any]
    assertions: tuple[dict[str, Any], ...]
    """promptfoo assertions, `file://` values still as written."""
    origin: str
    """The file that holds it."""


@dataclass(frozen=True, kw_only=True)
class LoadedSuite:
    """A suite with the cases that git holds, and references to those that a data pointer holds."""

    suite: Suite
    cases: tuple[LoadedCase, ...]
    data_files: tuple[str, ...]
    """Paths under a data pointer's directory: their cases are known once the data is at hand."""
    file_digests: dict[str, str]
    """`file://…` as an assertion writes it -> git's object name of that file's content."""

    def assertion_digest(self, case: LoadedCase) -> str:
        """Of the assertions of a case and of the files that they name."""
        return digest([self._resolved(assertion) for assertion in case.assertions])

    def _resolved(self, assertion: dict[str, Any]) -> dict[str, Any]:
        value = assertion.get("value")
        if isinstance(value, str) and value in self.file_digests:
            return {**assertion, "value": self.file_digests[value]}
        return assertion


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The desired state: every resource at one revision, by path."""

    revision: Revision
    prompts: dict[str, Resource[Prompt]]
    applications: dict[str, Resource[Application]]
    suites: dict[str, Resource[LoadedSuite]]
    pointers: dict[str, Resource[DataPointer]]
    settings: Resource[Settings] | None

    def pointer_of(self, path: str) -> Resource[DataPointer] | None:
        """The data pointer whose directory holds `path`."""
        for pointer in self.pointers.values():
            root = data_root(pointer)
            if path == root or path.startswith(root + "/"):
                return pointer
        return None


def data_root(pointer: Resource[DataPointer]) -> str:
    """The directory that the pointer stands for, from the repository's root."""
    folder = posixpath.dirname(pointer.path)
    return posixpath.normpath(posixpath.join(folder, pointer.value.wdir, pointer.value.output.path))


class Reader:
    """Reads desired states out of git objects; a file that two revisions share is parsed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parsed: dict[tuple[str, str, type], Any] = {}

    def read(self, revision: Revision) -> Desired:
        """All resources at the revision.

        Raises UserError, with file and line, for the first thing that is wrong in or between them.
        """
        files = git.list_files(self._root, revision)
        wanted = {path: oid for path, oid in files.items() if _is_read(path)}
        blobs = git.read_blobs(self._root, wanted.values())
        tree = _Tree(files=files, wanted=wanted, blobs=blobs, parsed=self._parsed)

        prompts = {path: tree.resource(path, Prompt) for path in wanted if is_prompt(path)}
        applications = {path: tree.resource(path, Application) for path in wanted if is_model(path)}
        pointers = {path: tree.resource(path, DataPointer) for path in wanted if is_pointer(path)}
        settings = tree.resource(SETTINGS_FILE, Settings) if SETTINGS_FILE in wanted else None
        desired = Desired(
            revision=revision,
            prompts=prompts,
            applications=applications,
            suites={},
            pointers=pointers,
            settings=settings,
        )
        for path in wanted:
            if is_suite(path):
                desired.suites[path] = _load_suite(tree, desired, path)
        _check_references(desired)
        return desired


def is_prompt(path: str) -> bool:
    """Whether the path is a prompt's."""
    return path.startswith("prompts/") and path.endswith((".prompt.yml", ".prompt.yaml"))


def is_model(path: str) -> bool:
    """Whether the path is a model config's."""
    return path.startswith("models/") and path.endswith((".yaml", ".yml"))


def is_suite(path: str) -> bool:
    """Whether the path is a suite's: evals/ itself, not the folders of cases within."""
    return posixpath.dirname(path) == "evals" and path.endswith((".yaml", ".yml"))


def is_pointer(path: str) -> bool:
    """Whether the path is a data pointer's."""
    return path.endswith(".dvc")


def _is_read(path: str) -> bool:
    return (
        path == SETTINGS_FILE
        or path.startswith("evals/")
        or is_prompt(path)
        or is_model(path)
        or is_pointer(path)
    )


def suite_name(path: str) -> str:
    """`evals/quality.yaml` -> `quality`."""
    return posixpath.splitext(posixpath.basename(path))[0]


@dataclass(frozen=True, kw_only=True)
class _Tree:
    files: dict[str, str]
    wanted: dict[str, str]
    blobs: dict[str, bytes]
    parsed: dict[tuple[str, str, type], Any]

    def text(self, path: str) -> str:
        try:
            return self.blobs[self.wanted[path]].decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.blobs[self.wanted[path]][: error.start].count(b"\n") + 1
            message = "this is not UTF-8 text"
            raise UserError(message, path=path, line=line, fix="save it as UTF-8") from None

    def resource(self, path: str, model: type[W]) -> Resource[W]:
        value = self._once(path, model, lambda text: yamlfile.parse(text, path, model))
        return Resource(path=path, value=value, digest=_meaning(value), source=self.text(path))

    def cases(self, path: str) -> tuple[Case, ...]:
        return self._once(path, Case, lambda text: parse_cases(text, path))

    def _once(self, path: str, model: type, parse: Callable[[str], V]) -> V:
        key = (path, self.wanted[path], model)
        if key not in self.parsed:
            self.parsed[key] = parse(self.text(path))
        return self.parsed[key]  # type: ignore[no-any-return]


def parse_cases(text: str, path: str) -> tuple[Case, ...]:
    """The cases in a file: a YAML or JSON list, or JSON lines.

    Raises UserError with the line for anything else.
    """
    if not path.endswith(".jsonl"):
        return yamlfile.parse_list(text, path, Case)
    cases = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            message = f"this line is not JSON: {error.msg}"
            raise UserError(message, path=path, line=number) from None
        try:
            cases.append(yamlfile.check(value, Case, text=line, path=path))
        except UserError as error:
            raise UserError(error.message, path=path, line=number, fix=error.fix) from None
    return tuple(cases)


def load_cases(suite: Suite, cases: tuple[Case, ...], origin: str) -> Iterator[LoadedCase]:
    """The cases with the suite's defaults applied, as promptfoo applies them."""
    for case in cases:
        variables = {**suite.default_test.vars, **case.vars}
        metadata = {**suite.default_test.metadata, **case.metadata}
        yield LoadedCase(
            id=str(metadata.get("id") or digest(variables)[:12]),
            description=case.description,
            variables=variables,
            assertions=tuple(
                _written(assertion)
                for assertion in (*suite.default_test.assertions, *case.assertions)
            ),
            origin=origin,
        )


def resolve_file(suite_path: str, reference: str) -> str:
    """`file://cases/x.yaml` in `evals/a.yaml` -> `evals/cases/x.yaml`."""
    relative = reference.removeprefix(FILE_SCHEME).partition(":")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(suite_path), relative))


def _load_suite(tree: _Tree, desired: Desired, path: str) -> Resource[LoadedSuite]:
    written = tree.resource(path, Suite)
    suite = written.value
    entries = (suite.tests,) if isinstance(suite.tests, str) else suite.tests
    cases: list[LoadedCase] = []
    data_files: list[str] = []
    for index, entry in enumerate(entries):
        steps = ("tests",) if isinstance(suite.tests, str) else ("tests", index)
        if isinstance(entry, Case):
            cases.extend(load_cases(suite, (entry,), path))
            continue
        line = written.line_of(*steps)
        target = _case_file(path, entry, line)
        if target in tree.wanted:
            cases.extend(load_cases(suite, tree.cases(target), target))
        elif desired.pointer_of(target):
            data_files.append(target)
        else:
            message = f"tests: there is no file {target} at {desired.revision.label}"
            fix = "add the file to git, or to a directory that a .dvc file points to"
            raise UserError(message, path=path, line=line, fix=fix)
    if not cases and not data_files:
        fix = "add cases under `tests:`, or remove the suite"
        raise UserError("this suite has no case", path=path, line=written.line_of("tests"), fix=fix)
    loaded = LoadedSuite(
        suite=suite,
        cases=tuple(cases),
        data_files=tuple(data_files),
        file_digests=_file_digests(tree, written),
    )
    check_cases(path, written.source, loaded, loaded.cases, complete=not data_files)
    return Resource(path=path, value=loaded, digest=_suite_meaning(loaded), source=written.source)


def check_cases(
    path: str, source: str, suite: LoadedSuite, cases: tuple[LoadedCase, ...], *, complete: bool
) -> None:
    """That ids are unique and, where all cases are `complete`ly known, every gate has its metric.

    Raises UserError.
    """
    seen: dict[str, LoadedCase] = {}
    for case in cases:
        if case.id in seen:
            message = f"two cases have the id {case.id!r} (the other is in {seen[case.id].origin})"
            fix = "give each case a metadata.id of its own"
            raise UserError(message, path=case.origin, fix=fix)
        seen[case.id] = case
    produced = {"pass"} | {
        assertion.get("metric") or assertion["type"]
        for case in cases
        for assertion in case.assertions
    }
    for index, gate in enumerate(suite.suite.gates if complete else ()):
        if gate.metric not in produced:
            raise UserError(
                f"gates.{index}: no assertion of this suite produces the metric {gate.metric!r}",
                path=path,
                line=yamlfile.locate(source, ("gates", index, "metric")).line,
                fix=f"metrics produced here: {', '.join(sorted(produced))}",
            )


def _case_file(path: str, reference: str, line: int | None) -> str:
    target = resolve_file(path, reference)
    if not reference.startswith(FILE_SCHEME) or not target.endswith(
        (".yaml", ".yml", ".json", ".jsonl")
    ):
        message = f"tests: cannot read cases from {reference!r}"
        fix = "name a file as file://PATH.yaml, .json or .jsonl, or write the cases here"
        raise UserError(message, path=path, line=line, fix=fix)
    return target


def _file_digests(tree: _Tree, written: Resource[Suite]) -> dict[str, str]:
    assertions = list(written.value.default_test.assertions)
    if not isinstance(written.value.tests, str):
        for case in written.value.tests:
            if isinstance(case, Case):
                assertions.extend(case.assertions)
            elif resolve_file(written.path, case) in tree.wanted:
                for inner in tree.cases(resolve_file(written.path, case)):
                    assertions.extend(inner.assertions)
    elif resolve_file(written.path, written.value.tests) in tree.wanted:
        for inner in tree.cases(resolve_file(written.path, written.value.tests)):
            assertions.extend(inner.assertions)
    digests = {}
    for assertion in assertions:
        value = assertion.value
        if isinstance(value, str) and value.startswith(FILE_SCHEME) and value not in digests:
            target = resolve_file(written.path, value)
            if target not in tree.files:
                line = next(
                    (n for n, text in enumerate(written.source.splitlines(), 1) if value in text),
                    None,
                )
                message = f"an assertion names {value}, and there is no file {target}"
                raise UserError(
                    message, path=written.path, line=line, fix="add it, or mend the name"
                )
            digests[value] = tree.files[target]
    return digests


def _check_references(desired: Desired) -> None:
    names: dict[str, str] = {}
    for application in desired.applications.values():
        other = names.setdefault(application.value.application, application.path)
        if other != application.path:
            message = f"the application {application.value.application!r} stands in {other} too"
            line = application.line_of("application")
            raise UserError(message, path=application.path, line=line, fix="rename one of them")
        _check_application(desired, application)


def _check_application(desired: Desired, application: Resource[Application]) -> None:
    def missing(what: str, name: str, known: object, *steps: object) -> UserError:
        message = f"{what}: there is no {name} at {desired.revision.label}"
        fix = f"known: {', '.join(sorted(map(str, known))) or 'none'}"  # type: ignore[call-overload]
        return UserError(message, path=application.path, line=application.line_of(*steps), fix=fix)

    value = application.value
    if value.prompt not in desired.prompts:
        raise missing("prompt", value.prompt, desired.prompts, "prompt")
    for index, path in enumerate(value.suites):
        if path not in desired.suites:
            raise missing("suites", path, desired.suites, "suites", index)
    if value.tuning and value.tuning.data not in desired.pointers:
        raise missing("tuning.data", value.tuning.data, desired.pointers, "tuning", "data")
    environments = desired.settings.value.environments if desired.settings else {}
    for name in value.base_model:
        if environments and name not in environments:
            raise missing("base_model", f"environment {name}", environments, "base_model", name)
    prompt = desired.prompts[value.prompt]
    for path in value.suites:
        check_variables(prompt, path, desired.suites[path].value.cases)


def check_variables(
    prompt: Resource[Prompt], suite_path: str, cases: tuple[LoadedCase, ...]
) -> None:
    """That every case supplies every variable of the prompt.

    Raises UserError at the prompt's line that first uses the variable.
    """
    for case in cases:
        for name in sorted(prompt.value.variables - case.variables.keys()):
            line = next(
                (n for n, text in enumerate(prompt.source.splitlines(), 1) if name in text), None
            )
            supplied = ", ".join(sorted(case.variables)) or "nothing"
            raise UserError(
                f"the variable {{{{{name}}}}} is not supplied by the case "
                f"{case.id!r} of {suite_path}",
                path=prompt.path,
                line=line,
                fix=f"that case supplies: {supplied}; rename the variable, or add it to the cases",
            )


def _written(assertion: Assertion) -> dict[str, Any]:
    return assertion.model_dump(by_alias=True, exclude_none=True)


def _meaning(value: Written) -> str:
    return digest(value.model_dump(mode="json", by_alias=True))


def _suite_meaning(loaded: LoadedSuite) -> str:
    return digest(
        {
            "cases": sorted(
                [case.id, digest(case.variables), loaded.assertion_digest(case)]
                for case in loaded.cases
            ),
            "data": sorted(loaded.data_files),
            "default": digest(loaded.suite.default_test.model_dump(mode="json", by_alias=True)),
            "files": sorted(loaded.file_digests.values()),
            "repeat": loaded.suite.evaluate_options.repeat,
            "gates": sorted(digest(gate.model_dump(mode="json")) for gate in loaded.suite.gates),
            "max_error_share": loaded.suite.max_error_share,
        }
    )
