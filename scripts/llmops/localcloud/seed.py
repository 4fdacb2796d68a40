"""What a fresh clone's bucket is filled with: the data, rebuilt from the shipped tables."""

from collections.abc import Callable
from pathlib import Path

from llmops import config, datasets, git, yamlfile
from llmops.data import params as data_params
from llmops.data import remote
from llmops.data.pointer import PATH, directory_md5
from llmops.errors import LlmopsError
from llmops.formats import DataPointer
from llmops.resources import Reader


def fill_bucket(root: Path, progress: Callable[[str], None]) -> None:
    """Pushes the data to the local bucket, unless it is there, or the pointer is another's.

    Only the shipped tables' own data can be made here: another pointer's data must be pushed by
    whoever made it.
    """
    path = root / PATH
    done = config.home(root) / "local" / "seeded"
    if not path.exists() or not (root / data_params.PATH).exists():
        return
    try:
        wanted = yamlfile.parse(path.read_text(encoding="utf-8"), PATH, DataPointer)
    except LlmopsError:
        return  # what is wrong with it is for the plan to say
    md5 = wanted.output.md5
    targets = [config.environment(root, name) for name in config.settings(root).environments]
    targets = [each for each in targets if each.local]
    filled = done.read_text(encoding="utf-8").splitlines() if done.exists() else []
    targets = [each for each in targets if f"{md5} {each.bucket}" not in filled]
    if not targets:
        return
    cache = datasets.cache(root)
    with datasets.dataset(root) as made:
        if directory_md5(made.md5s) != md5:
            return
        progress("filling the local bucket with the data of data.dvc")
        datasets.keep(made, cache)
    resource = Reader(root).read(git.working_tree(root)).pointers[PATH]
    for target in targets:
        remote.push([resource], target, config.tools(root), cache)
        with done.open("a", encoding="utf-8") as file:
            file.write(f"{md5} {target.bucket}\n")
