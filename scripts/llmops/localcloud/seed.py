"""What a fresh clone's bucket is filled with: the data, rebuilt from the shipped tables."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops import config, git, yamlfile
from llmops.data import posts, remote
from llmops.data.build import (
    Dataset,
    build,
    directory_md5,
    directory_object,
    pointer,
    write,
)
from llmops.data.objects import ObjectCache
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
    changed: bool
    """Whether the pointer differs from the one that was there."""


def dataset() -> Dataset:
    """The data that the shipped tables give."""
    return build(
        posts.questions(posts.read_rows(TABLES / "posts_questions.jsonl.gz")),
        posts.answers(posts.read_rows(TABLES / "posts_answers.jsonl.gz")),
    )


def build_data(root: Path) -> Built:
    """Writes data/ and data.dvc."""
    made = dataset()
    write(made, root / "data")
    _keep(made, _cache(root))
    path, text = root / POINTER, pointer(made)
    changed = not path.exists() or path.read_text(encoding="utf-8") != text
    if changed:
        path.write_text(text, encoding="utf-8")
    return Built(md5=directory_md5(made.files), rows=made.rows, changed=changed)


def fill_bucket(root: Path, progress: Callable[[str], None]) -> None:
    """Pushes the data to the local bucket, unless it is there, or the pointer is another's.

    Only the shipped tables' own data can be made here: another pointer's data must be pushed by
    whoever made it.
    """
    path = root / POINTER
    done = config.home(root) / "local" / "seeded"
    if not path.exists():
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
    made = dataset()
    if directory_md5(made.files) != md5:
        return
    progress("filling the local bucket with the data of data.dvc")
    cache = _cache(root)
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
    contents = {
        hashlib.md5(content, usedforsecurity=False).hexdigest(): content
        for content in made.files.values()
    }
    contents[directory_md5(made.files)] = directory_object(made.files)
    for md5, content in contents.items():
        path = cache.path(md5)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(content)
            partial.replace(path)
