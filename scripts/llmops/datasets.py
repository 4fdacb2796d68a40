"""The data set of a repository: built by DVC's pipeline, put where its pointer says, compared."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from llmops import config, git, jsonfile, process, wholefile, yamlfile
from llmops.config import Environment
from llmops.data import build, contract, diff, distributed, remote
from llmops.data import params as data_params
from llmops.data.bigquery import BigQueryTables
from llmops.data.objects import ObjectCache
from llmops.data.pointer import FOLDER, PATH, directory_md5, directory_object, pointer
from llmops.data.retrieve import LocalTables
from llmops.data.rows import Row, read_rows
from llmops.errors import ExitCode, LlmopsError, MachineryError, UserError
from llmops.formats import DataPointer
from llmops.git import Revision
from llmops.resources import Desired, Reader, Resource
from llmops.workspace import Workspace, pull_pointers

TABLES = Path(__file__).parent / "localcloud" / "bigquery"
"""Where the shipped tables lie: they stand for bigquery-public-data.stackoverflow."""
WORK = "build/data"
"""Where the steps of dvc.yaml leave what they make."""
PIPELINE = "dvc.yaml"
_BEAM = "LLMOPS_BEAM"
"""What `llmops data build --beam` tells its step: an environment variable, past DVC."""
Step = Literal["source", "retrieve", "clean", "select", "check"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """What `llmops data build` made."""

    dataset: build.Dataset
    md5: str
    changed: bool
    """Whether the pointer names other data than the one that was there."""


# --- building -------------------------------------------------------------------------------------


def bigquery(root: Path, environment: str | None) -> BigQueryTables | None:
    """BigQuery's tables as the environment asks for them; None where the shipped ones are read."""
    chosen = config.source(root, environment)
    if chosen.local and not chosen.endpoints.bigquery:
        return None
    return BigQueryTables(environment=chosen, wanted=data_params.load(root).retrieve)


def rebuild(
    root: Path, environment: str | None, say: Callable[[str], None], *, beam: str | None = None
) -> Built:
    """Runs the steps that are not up to date, then writes data/ and data.dvc.

    With `beam`, its pipeline options, that is what cleans.

    Raises what a step raised; the data and the pointer are then as they were.
    """
    data_params.load(root)
    if not (root / PIPELINE).exists():
        raise UserError("this file is missing", path=PIPELINE, fix=f"git checkout {PIPELINE}")
    failure = config.run_folder(root) / config.FAILURE_FILE
    failure.unlink(missing_ok=True)
    env = dict(os.environ)
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    if environment:
        env["LLMOPS_ENV"] = environment
    env.pop(_BEAM, None)
    if beam is not None:
        env[_BEAM] = beam
    try:
        process.run(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=root,
            env=env,
            on_line=_Heard(say),
        )
    except MachineryError:
        # A step keeps what it raised; DVC itself only says that it did.
        if failure.exists():
            raise _error(json.loads(failure.read_text(encoding="utf-8"))) from None
        raise
    made = build.load(root / WORK)
    keep(made, cache(root))
    build.install(made, root / FOLDER)
    md5 = directory_md5(made.md5s)
    changed = _pointed_at(root) != md5
    if changed:
        wholefile.write_text(root / PATH, pointer(made))
    return Built(dataset=made, md5=md5, changed=changed)


def run_step(root: Path, step: Step, say: Callable[[str], None]) -> None:
    """One step of dvc.yaml. Raises UserError where the data cannot be what params.yaml says."""
    params, folder = data_params.load(root), root / WORK
    if step == "source":
        with _source(root) as source:
            jsonfile.dump(source.origin(), folder / "source.json")
    elif step == "retrieve":
        with _source(root) as source:
            build.retrieve_posts(source, params.retrieve, folder, say)
    elif step == "clean":
        _clean(root, params, folder, say)
    elif step == "select":
        build.select_rows(params, folder, say)
    else:
        text = (root / data_params.PATH).read_text(encoding="utf-8")
        measured = contract.check(folder / build.MADE, params.contract, text)
        jsonfile.dump(measured, folder / "contract.json")


def _clean(
    root: Path, params: data_params.DataParams, folder: Path, say: Callable[[str], None]
) -> None:
    cases, options = eval_cases(root), os.environ.get(_BEAM)
    if options is None:
        build.clean_posts(params, folder, cases=cases, progress=say)
        return
    distributed.clean_posts(
        params,
        folder,
        cases=cases,
        environment=config.source(root),
        tools=config.tools(root),
        options=options,
        progress=say,
    )


@dataclass
class _Heard:
    """Says what DVC and the steps print, without DVC's advice about Git and its own remote.

    Nor the error of a step, and what DVC adds to it: whoever started DVC says it, once.
    """

    say: Callable[[str], None]
    failed: bool = False

    def __call__(self, line: str) -> None:
        self.failed = self.failed or line.startswith("error: ")
        if line and not self.failed and not line.startswith(_ADVICE):
            self.say(line)


_ADVICE = ("> ", "\t", "To ", "Use `dvc push`", "Generating lock", "Updating lock", "Having any")


def _error(described: dict[str, Any]) -> LlmopsError:
    message, fix = described["message"], described["fix"]
    if described["exit_code"] == ExitCode.INVALID:
        return UserError(message, path=described["path"], line=described["line"], fix=fix)
    return MachineryError(message, fix=fix)


def _pointed_at(root: Path) -> str | None:
    """The MD5 that data.dvc names; None where there is none, or none that can be read."""
    try:
        text = (root / PATH).read_text(encoding="utf-8")
        return yamlfile.parse(text, PATH, DataPointer).output.md5
    except (FileNotFoundError, UserError):
        return None


@contextmanager
def _source(root: Path) -> Iterator[build.Source]:
    asked = bigquery(root, None)
    if asked:
        yield asked
    else:
        with closing(LocalTables(TABLES)) as tables:
            yield tables


@contextmanager
def dataset(
    root: Path, source: build.Source | None = None, *, revision: Revision | None = None
) -> Iterator[build.Dataset]:
    """The data that a source gives, else the shipped tables, apart from DVC's pipeline.

    With the parameters and cases of a revision, else of the working tree. Its folder is gone
    afterwards.
    """
    revision = revision or git.working_tree(root)
    home = config.home(root)
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="data-", dir=home))
        tables = source or stack.enter_context(closing(LocalTables(TABLES)))
        cases = eval_cases(root, revision)
        yield build.build(tables, _params_at(root, revision), Path(name) / "made", cases=cases)


def _params_at(root: Path, revision: Revision) -> data_params.DataParams:
    oid = git.list_files(root, revision).get(data_params.PATH)
    if oid is None:
        raise UserError(f"this file is missing at {revision.label}", path=data_params.PATH)
    return data_params.parse(git.read_blobs(root, [oid])[oid].decode("utf-8", "replace"))


def cache(root: Path) -> ObjectCache:
    """DVC's cache of this checkout."""
    return ObjectCache(folder=config.home(root) / "dvc")


def keep(made: build.Dataset, objects: ObjectCache) -> None:
    """Puts the files into DVC's cache, under the names that DVC gives them."""
    for name, md5 in made.md5s.items():
        if not objects.path(md5).exists():
            build.copy(made.folder / name, objects.path(md5))
    with wholefile.replacing(objects.path(directory_md5(made.md5s))) as partial:
        partial.write_bytes(directory_object(made.md5s))


def eval_cases(root: Path, revision: Revision | None = None) -> list[str]:
    """What the eval suites ask and expect, now or at a revision: training must not come near it."""
    suites = Reader(root).read(revision or git.working_tree(root)).suites.values()
    return [
        text
        for suite in suites
        for case in suite.value.cases
        for text in case.variables.values()
        if isinstance(text, str)
    ]


# --- sharing and comparing ------------------------------------------------------------------------


def pointer_of(root: Path, path: str = PATH) -> Resource[DataPointer]:
    """The pointer of the working tree. Raises UserError where there is none."""
    found = Reader(root).read(git.working_tree(root)).pointers.get(path)
    if found is None:
        raise UserError("there is no such pointer", path=path, fix="llmops data build")
    return found


def push(root: Path, found: Resource[DataPointer], target: Environment) -> None:
    """Brings the content of the pointer to the environment's remote.

    Raises UserError where the content is not at hand, MachineryError where the remote refuses it.
    """
    objects = cache(root)
    if not objects.holds(found.value):
        raise UserError(
            f"the data {found.value.output.md5} is not at hand",
            path=found.path,
            line=found.line_of("outs", 0, "md5"),
            fix="llmops data build; or where the data was made: llmops data push",
        )
    remote.push([found], target, config.tools(root), objects)


def card(found: Resource[DataPointer], objects: ObjectCache) -> str:
    """The data card behind a pointer; the empty string where it is not at hand, or has none."""
    return _file_of(found, objects, build.CARD)


def record(found: Resource[DataPointer], objects: ObjectCache) -> build.Record | None:
    """How the data behind a pointer was made; None where it is not at hand, or does not say."""
    text = _file_of(found, objects, build.RECORD)
    try:
        return TypeAdapter(build.Record).validate_json(text) if text else None
    except ValidationError:
        return None


def _file_of(found: Resource[DataPointer], objects: ObjectCache, name: str) -> str:
    md5 = (objects.manifest(found.value.output.md5) or {}).get(name)
    return ((objects.read(md5) if md5 else None) or b"").decode("utf-8")


Side = Resource[DataPointer] | None


def moved(base: Desired, head: Desired) -> list[tuple[str, Side, Side]]:
    """The pointers that name other data at head than at base: path, base's, head's."""
    return [
        (path, old, new)
        for path in sorted({*base.pointers, *head.pointers})
        for old, new in ((base.pointers.get(path), head.pointers.get(path)),)
        if not (old and new and old.value.output.md5 == new.value.output.md5)
    ]


def differences(
    workspace: Workspace, base: Desired, head: Desired
) -> dict[str, diff.DataDiff | str]:
    """Pointer -> what changed in the data behind it, or why nothing can be said of it.

    Where only base's data cannot be had, head's is described, with the reason.
    """
    found: dict[str, diff.DataDiff | str] = {}
    between = moved(base, head)
    if not between:  # A repository need not build data to have prompts judged.
        return found
    params = data_params.load(workspace.root)
    for path, old, new in between:
        after = _rows(workspace, new)
        if isinstance(after, str):
            found[path] = after
            continue
        before = _rows(workspace, old)
        tuned = _tuned_on(head, path)
        if isinstance(before, str):
            found[path] = replace(diff.diff({}, after, params, tuned), without_base=before)
        else:
            found[path] = diff.diff(before, after, params, tuned)
    return found


def _tuned_on(desired: Desired, path: str) -> list[diff.TunedOn]:
    """Who is tuned on a pointer's data where tuning has a price; else whoever could be, once."""
    prices = desired.settings.value.prices if desired.settings else {}
    found = {
        diff.TunedOn(
            application=application.value.application if tuning and tuning.data == path else "",
            model=model,
            epochs=tuning.epochs if tuning and tuning.data == path else 1,
            usd_per_million=price.tuning,
        )
        for application in desired.applications.values()
        for tuning in (application.value.tuning,)
        for model in application.value.base_model.values()
        for price in (prices.get(model),)
        if price and price.tuning
    }
    tuned = {each for each in found if each.application}
    return sorted(tuned or found, key=lambda each: (each.application, each.model))


def _rows(workspace: Workspace, side: Side) -> dict[str, Row] | str:
    """What the pointer names, pulled where it is not at hand; or why it cannot be had."""
    if side is None:
        return {}
    try:
        pull_pointers(workspace, [side])
    except LlmopsError as error:
        return str(error)
    return read_rows(side, workspace.objects) or {}
