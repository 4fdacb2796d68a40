"""Data pointers and their content, between this machine and the bucket: through DVC.

DVC runs in a scratch project of its own that holds just the pointers in question, so that any
revision's data can be had without a checkout and nothing in the working tree is touched.
"""

import configparser
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llmops import process
from llmops.bucket import connect
from llmops.config import Environment, Tools
from llmops.data.objects import ObjectCache
from llmops.errors import UserError
from llmops.formats import DataPointer
from llmops.resources import Resource

_FOLDER = "dvc"
Pointers = Sequence[Resource[DataPointer]]


def remote_url(environment: Environment) -> str:
    """The DVC remote of an environment: the folder dvc/ of its bucket."""
    return f"{environment.bucket}/{_FOLDER}"


def fetch(pointers: Pointers, environment: Environment, tools: Tools, cache: ObjectCache) -> None:
    """Brings the content of the pointers into the local cache.

    Raises UserError when the remote does not have it, MachineryError when the remote cannot be
    reached.
    """
    bucket = connect(environment)
    for pointer in pointers:
        if bucket.read(_object(pointer)) is None:
            raise _missing(pointer, environment)
    _dvc("fetch", pointers, environment, tools, cache)
    for pointer in pointers:
        if not cache.holds(pointer.value):
            raise _missing(pointer, environment)


def push(pointers: Pointers, environment: Environment, tools: Tools, cache: ObjectCache) -> None:
    """Brings the content of the pointers from the local cache to the remote.

    Raises MachineryError when the remote cannot be reached.
    """
    # DVC itself asks a bucket that does not answer for minutes, and then says why in a stack trace.
    connect(environment).names(f"{_FOLDER}/files/md5/00/")
    _dvc("push", pointers, environment, tools, cache)


def _object(pointer: Resource[DataPointer]) -> str:
    md5 = pointer.value.output.md5
    return f"{_FOLDER}/files/md5/{md5[:2]}/{md5[2:]}"


def _missing(pointer: Resource[DataPointer], environment: Environment) -> UserError:
    return UserError(
        f"{remote_url(environment)} does not have {pointer.value.output.md5}, "
        "or not all of its files",
        path=pointer.path,
        line=pointer.line_of("outs", 0, "md5"),
        fix="where the data was made: llmops data push; or put the former pointer back",
    )


def _dvc(
    verb: str, pointers: Pointers, environment: Environment, tools: Tools, cache: ObjectCache
) -> None:
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="llmops-dvc-") as name:
        scratch = Path(name)
        _write_project(scratch, environment, cache)
        for pointer in pointers:
            target = scratch / pointer.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(pointer.source, encoding="utf-8")
        process.run(
            [sys.executable, "-m", "dvc", verb, "--quiet", *(each.path for each in pointers)],
            cwd=scratch,
            # gcsfs otherwise asks every bucket for its kind, over gRPC, with a minute's patience.
            env={**tools.inherited, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
            fix="check the network and your rights on the bucket; locally: llmops local status",
        )


def _write_project(scratch: Path, environment: Environment, cache: ObjectCache) -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings["core"] = {
        "no_scm": "true",
        "analytics": "false",
        "check_update": "false",
        "remote": "storage",
    }
    settings["cache"] = {"dir": str(cache.folder)}
    remote = {"url": remote_url(environment)}
    if environment.endpoints.storage:
        remote |= {"endpointurl": environment.endpoints.storage, "allow_anonymous_login": "true"}
    settings["'remote \"storage\"'"] = remote
    (scratch / ".dvc").mkdir()
    with (scratch / ".dvc" / "config").open("w", encoding="utf-8") as file:
        settings.write(file)
