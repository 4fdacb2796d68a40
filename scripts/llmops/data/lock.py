"""dvc.lock: what the data was built from, held against what is there now."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from llmops.data.params import PATH as PARAMS
from llmops.data.pointer import directory_md5
from llmops.errors import UserError

PATH = "dvc.lock"


def inputs(lock: bytes) -> set[str]:
    """The files and folders that the steps read, of which git may have some."""
    return {dep["path"] for stage in _stages(lock) for dep in stage.get("deps", ())} | {PARAMS}


def outdated(lock: bytes, files: Mapping[str, bytes]) -> list[str]:
    """What has changed since: parameters as `params.yaml: data.split`, files and folders by path.

    `files`: path -> content, of all files that git has among `inputs`. Raises UserError when the
    lock, or params.yaml, is no YAML.
    """
    stages = _stages(lock)
    written = _load(files[PARAMS], PARAMS) if PARAMS in files else {}
    params = {
        f"{PARAMS}: {name}"
        for stage in stages
        for name, value in stage.get("params", {}).get(PARAMS, {}).items()
        if _value(written, name) != value
    }
    paths = {
        dep["path"]
        for stage in stages
        for dep in stage.get("deps", ())
        for now in _md5s(dep["path"], files)
        if now != dep["md5"]
    }
    return sorted(params) + sorted(paths)


def _stages(lock: bytes) -> list[dict[str, Any]]:
    return list(_load(lock, PATH).get("stages", {}).values())


def _load(text: bytes, path: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"no YAML: {error}", path=path, fix="llmops data build") from None
    return loaded if isinstance(loaded, dict) else {}


def _value(params: Mapping[str, Any], name: str) -> object:
    found: Any = params
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _md5s(path: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """The MD5 of a file, or of all files in a folder; none where git has neither."""
    if path in files:
        yield _md5(files[path])
    inside = {
        name.removeprefix(f"{path}/"): _md5(content)
        for name, content in files.items()
        if name.startswith(f"{path}/")
    }
    if inside:
        yield directory_md5(inside)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
