"""One checkout and one environment, and the verbs' common ground: what is planned on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from llmops import config, git
from llmops.bucket import connect
from llmops.config import Environment, Tools
from llmops.data import lock, remote
from llmops.data.objects import ObjectCache, row_counts, suite_cases
from llmops.errors import UserError
from llmops.evals.run import Caches, Shell
from llmops.formats import DataPointer
from llmops.git import Revision
from llmops.plan import AtHand, Plan, make_plan
from llmops.resources import Desired, LoadedCase, Reader, Resource
from llmops.serving.model import Model, model_of


@dataclass(frozen=True)
class Workspace:
    """Where the verbs work."""

    root: Path
    chosen: str | None = None
    """The environment's name as given with --env; None leaves it to LLMOPS_ENV and llmops.yaml."""

    @cached_property
    def environment_name(self) -> str:
        """The environment's name."""
        return config.environment_name(config.settings(self.root), self.chosen)

    @cached_property
    def environment(self) -> Environment:
        """The environment with its addresses: needs the local cloud to run where it is local."""
        return config.environment(self.root, self.chosen)

    @cached_property
    def tools(self) -> Tools:
        """The programs that `make setup` installed."""
        return config.tools(self.root)

    @cached_property
    def objects(self) -> ObjectCache:
        """The data that is at hand."""
        return ObjectCache(folder=config.home(self.root) / "dvc")

    @cached_property
    def caches(self) -> Caches:
        """The observations that are at hand, and those in the bucket."""
        return Caches(
            folder=config.home(self.root) / "cache", bucket=lambda: connect(self.environment)
        )

    @property
    def run_folder(self) -> Path:
        """Where the verbs leave their results for one another."""
        return config.run_folder(self.root)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan and the two desired states that it compares."""

    plan: Plan
    base: Desired
    head: Desired
    cases: Mapping[str, tuple[LoadedCase, ...] | None]
    """Head's suites that some application names; None where their data is not at hand."""


def plan_between(workspace: Workspace, base: Revision, head: Revision) -> Planned:
    """The plan from base to head.

    Raises UserError, with file and line, for anything wrong at either revision.
    """
    reader = Reader(workspace.root)
    desired_head = reader.read(head)
    desired_base = reader.read(base)
    named = {path for each in desired_head.applications.values() for path in each.value.suites}
    cases = {
        path: suite_cases(desired_head.suites[path], desired_head, workspace.objects)
        for path in sorted(named)
    }
    plan = make_plan(
        desired_base,
        desired_head,
        workspace.environment_name,
        AtHand(
            cases=cases,
            base_rows=_rows(desired_base, workspace.objects),
            head_rows=_rows(desired_head, workspace.objects),
            is_cached=workspace.caches.answers.holds,
            outdated=_outdated(workspace.root, head),
        ),
    )
    return Planned(plan=plan, base=desired_base, head=desired_head, cases=cases)


def _outdated(root: Path, head: Revision) -> tuple[str, ...]:
    """What the data was built from and has changed since, as far as git has it."""
    listed = git.list_files(root, head)
    if lock.PATH not in listed:
        return ()
    text = git.read_blobs(root, [listed[lock.PATH]])[listed[lock.PATH]]
    read = lock.inputs(text)
    wanted = {
        path: oid
        for path, oid in listed.items()
        if path in read or any(path.startswith(f"{folder}/") for folder in read)
    }
    blobs = git.read_blobs(root, wanted.values())
    return tuple(lock.outdated(text, {path: blobs[oid] for path, oid in wanted.items()}))


def revisions(workspace: Workspace, base: str, head: str | None) -> tuple[Revision, Revision]:
    """Both revisions by name; without `head`, the working tree and where it left `base`."""
    if head is not None:
        return git.resolve(workspace.root, base), git.resolve(workspace.root, head)
    now = git.working_tree(workspace.root)
    return git.merge_base(workspace.root, git.resolve(workspace.root, base), now), now


def pull_data(workspace: Workspace, planned: Planned) -> tuple[str, ...]:
    """Brings what the plan needs and is not at hand; returns the pointers that were fetched."""
    return pull_pointers(
        workspace, [planned.head.pointers[path] for path in planned.plan.data_needed]
    )


def pull_pointers(
    workspace: Workspace, pointers: Sequence[Resource[DataPointer]]
) -> tuple[str, ...]:
    """Brings what is not at hand of these; returns the pointers that were fetched."""
    missing = [each for each in pointers if not workspace.objects.holds(each.value)]
    if missing:
        remote.fetch(missing, workspace.environment, workspace.tools, workspace.objects)
    return tuple(each.path for each in missing)


def cases_at_hand(workspace: Workspace, planned: Planned) -> dict[str, tuple[LoadedCase, ...]]:
    """All cases of the planned suites. Raises UserError when their data is not at hand."""
    found = {}
    for evaluation in planned.plan.evaluations:
        suite = planned.head.suites[evaluation.suite]
        cases = suite_cases(suite, planned.head, workspace.objects)
        if cases is None:
            message = f"the data of {evaluation.suite} is not at hand"
            raise UserError(message, path=evaluation.suite, fix="llmops data pull")
        found[evaluation.suite] = cases
    return found


def evaluation_shell(workspace: Workspace, *, quiet: bool = False) -> Shell:
    """What an evaluation needs; the model's client is made at the first question."""
    clients: list[Model] = []

    def model() -> Model:
        if not clients:
            clients.append(model_of(workspace.environment))
        return clients[0]

    return Shell(
        root=workspace.root,
        tools=workspace.tools,
        caches=workspace.caches,
        folder=workspace.run_folder / "promptfoo",
        ask=lambda release, variables: model().answer(release, variables),
        quiet=quiet,
    )


def _rows(desired: Desired, objects: ObjectCache) -> dict[str, dict[str, int]]:
    counted = {path: row_counts(each, objects) for path, each in desired.pointers.items()}
    return {path: rows for path, rows in counted.items() if rows}
