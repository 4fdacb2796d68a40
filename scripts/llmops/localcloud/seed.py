"""What a fresh clone's bucket is filled with: the data, rebuilt from the shipped tables."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmops import config, git, wholefile, yamlfile
from llmops.data import params as data_params
from llmops.data import remote
from llmops.data.build import (
    Dataset,
    Progress,
    Source,
    build,
    copy,
    directory_md5,
    directory_object,
    install,
    pointer,
)
from llmops.data.card import Dropped
from llmops.data.objects import ObjectCache
from llmops.data.retrieve import LocalTables
from llmops.errors import LlmopsError
from llmops.formats import DataPointer
from llmops.resources import Reader

POINTER = "data.dvc"
TABLES = Path(__file__).parent / "bigquery"
"""Where the shipped tables lie: they stand for bigquery-public-data.stackoverflow."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What `llmops data build` made."""

    md5: str
    rows: dict[str, int]
    dropped: dict[str, Dropped]
    changed: bool
    """Whether the pointer differs from the one that was there."""


@contextmanager
def dataset(
    root: Path, source: Source | None = None, progress: Progress = lambda _: None
) -> Iterator[Dataset]:
    """The data that a source gives, else the shipped tables; its folder is gone afterwards."""
    params = data_params.load(root)
    suites = Reader(root).read(git.working_tree(root)).suites.values()
    cases = [
        text
        for suite in suites
        for case in suite.value.cases
        for text in case.variables.values()
        if isinstance(text, str)
    ]
    home = config.home(root)
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="data-", dir=home))
        tables = source or stack.enter_context(closing(LocalTables(TABLES)))
        yield build(tables, params, Path(name) / "made", cases=cases, progress=progress)


def build_data(root: Path, source: Source | None, progress: Progress) -> Built:
    """Writes data/ and data.dvc: what the source gives, else the shipped tables."""
    with dataset(root, source, progress) as made:
        _keep(made, _cache(root))
        install(made, root / "data")
        path, text = root / POINTER, pointer(made)
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            wholefile.write_text(path, text)
        return Built(
            md5=directory_md5(made.md5s), rows=made.rows, dropped=made.dropped, changed=changed
        )


def fill_bucket(root: Path, progress: Callable[[str], None]) -> None:
    """Pushes the data to the local bucket, unless it is there, or the pointer is another's.

    Only the shipped tables' own data can be made here: another pointer's data must be pushed by
    whoever made it.
    """
    path = root / POINTER
    done = config.home(root) / "local" / "seeded"
    if not path.exists() or not (root / data_params.PATH).exists():
        return
    try:
        wanted = yamlfile.parse(path.read_text(encoding="utf-8"), POINTER, DataPointer)
    except LlmopsError:
        return  # what is wrong with it is for the plan to say
    md5 = wanted.output.md5
    targets = [config.environment(root, name) for name in config.settings(root).environments]
    targets = [each for each in targets if each.local]
    filled = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    targets = [each for each in targets if f"{md5} {each.bucket}" not in filled]
    if not targets:
        return
    cache = _cache(root)
    with dataset(root) as made:
        if directory_md5(made.md5s) != md5:
            return
        progress("filling the local bucket with the data of data.dvc")
        _keep(made, cache)
    resource = Reader(root).read(git.working_tree(root)).pointers[POINTER]
    for target in targets:
        remote.push([resource], target, config.tools(root), cache)
        with done.open("a", encoding="utf-8") as file:
            file.write(f"{md5} {target.bucket}\n")


def _cache(root: Path) -> ObjectCache:
    return ObjectCache(folder=config.home(root) / "dvc")


def _keep(made: Dataset, cache: ObjectCache) -> None:
    """Puts the files into DVC's cache, under the names that DVC gives them."""
    for name, md5 in made.md5s.items():
        if not cache.path(md5).exists():
            copy(made.folder / name, cache.path(md5))
    manifest = made.folder.with_name("manifest")
    manifest.write_bytes(directory_object(made.md5s))
    copy(manifest, cache.path(directory_md5(made.md5s)))
