"""What a fresh clone's bucket is filled with: the data, rebuilt from the shipped tables."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from llmops import config, datasets, git
from llmops.config import Environment
from llmops.data import remote
from llmops.data.pointer import PATH, directory_md5
from llmops.errors import UserError
from llmops.git import Revision
from llmops.resources import Reader

_COMPARED_WITH = ("HEAD", "HEAD^1", "main")
"""Beside the working tree: on a runner, HEAD^1 is what the pull request would be merged into."""


def fill_bucket(root: Path, progress: Callable[[str], None]) -> None:
    """Pushes the data of the working tree, and of what it is compared with, to the local buckets.

    Unless it is there, or is another's: only what comes from the shipped tables can be made here,
    the rest must be pushed by whoever made it.
    """
    if not (root / PATH).exists():
        return
    environments = [config.environment(root, name) for name in config.settings(root).environments]
    targets = [each for each in environments if each.local]
    revisions = [git.working_tree(root)]
    for name in _COMPARED_WITH:
        with suppress(UserError):
            revisions.append(git.resolve(root, name))
    for revision in revisions:
        # What is wrong with a file is for the plan and the build to say.
        with suppress(UserError):
            _fill(root, revision, targets, progress)


def _fill(
    root: Path,
    revision: Revision,
    targets: Sequence[Environment],
    progress: Callable[[str], None],
) -> None:
    found = Reader(root).read(revision).pointers.get(PATH)
    origin = found.value.meta.origin if found else None
    if found is None or (origin and origin.engine != "duckdb"):
        return
    md5 = found.value.output.md5
    done = config.home(root) / "local" / "seeded"
    filled = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    targets = [each for each in targets if f"{md5} {each.bucket}" not in filled]
    if not targets:
        return
    cache = datasets.cache(root)
    if not cache.holds(found.value):
        progress(f"building the data of {revision.label} for the local bucket")
        with datasets.dataset(root, revision=revision) as made:
            if directory_md5(made.md5s) != md5:
                return
            datasets.keep(made, cache)
    for target in targets:
        remote.push([found], target, config.tools(root), cache)
        with done.open("a", encoding="utf-8") as file:
            file.write(f"{md5} {target.bucket}\n")
