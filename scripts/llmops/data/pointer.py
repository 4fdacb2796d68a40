"""What names a data set: its pointer, and the object that DVC keeps for its directory."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from llmops.data.build import Dataset

PATH = "data.dvc"
FOLDER = "data"


def directory_md5(md5s: Mapping[str, str]) -> str:
    """DVC's name for a directory of these files: the MD5 of `directory_object`, with `.dir`."""
    return hashlib.md5(directory_object(md5s), usedforsecurity=False).hexdigest() + ".dir"


def directory_object(md5s: Mapping[str, str]) -> bytes:
    """What DVC keeps for a directory (dvc_data.hashfile.tree.Tree.as_bytes).

    `md5s`: path within the directory -> the MD5 of its content.
    """
    ordered = sorted(md5s.items(), key=lambda item: item[0].split("/"))
    entries = [{"md5": md5, "relpath": name} for name, md5 in ordered]
    return json.dumps(entries, sort_keys=True).encode()


def pointer(dataset: "Dataset") -> str:
    """The text of `data.dvc`: what DVC would write, and beside it what a reviewer asks first."""
    lines = [
        "outs:",
        f"- md5: {directory_md5(dataset.md5s)}",
        f"  size: {sum(file.size for file in dataset.files.values())}",
        f"  nfiles: {len(dataset.files)}",
        "  hash: md5",
        f"  path: {FOLDER}",
    ]
    meta = {"rows": dataset.rows, "origin": dataset.origin.model_dump(exclude_defaults=True)}
    written = yaml.safe_dump({"meta": meta}, sort_keys=False, allow_unicode=True)
    return "\n".join(lines) + "\n" + written
