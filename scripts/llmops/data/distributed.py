"""The cleaning step on many machines: starts `llmops.data.beam` in its own environment."""

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from llmops import process
from llmops.config import Environment, Tools
from llmops.data import duplicates
from llmops.data.build import CLEANED, POSTS
from llmops.data.params import DataParams
from llmops.errors import MachineryError, UserError

_PROGRAM = "from llmops.data.beam import main; main()"
"""Not as `__main__`: workers import what the pipeline is made of by its name."""
_REQUIREMENTS = "requirements/beam.txt"
_PACKAGES = Path(__file__).parents[2]


def clean_posts(
    params: DataParams,
    folder: Path,
    *,
    cases: Iterable[str],
    environment: Environment,
    tools: Tools,
    options: str,
    progress: Callable[[str], None],
) -> None:
    """What `build.clean_posts` does, by Beam: the same bytes.

    `options` are pipeline options as on a command line; they come after the environment's own.
    Raises MachineryError where Beam is not installed, or the job fails.
    """
    if not tools.beam.exists():
        raise MachineryError("Apache Beam is not installed", fix="make beam")
    try:
        chosen = shlex.split(options)
    except ValueError as error:
        raise UserError(f"--beam {options}: {error}", fix="quote as in a shell") from None
    with tempfile.TemporaryDirectory(prefix="beam-", dir=folder) as name:
        work = Path(name)
        (work / "judged").mkdir()
        job = {
            "params": params.model_dump(mode="json"),
            "cases": list(cases),
            "posts": str(folder / POSTS),
            "target": str(work / "judged"),
        }
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        progress("cleaning with Apache Beam")
        runner = _here() if environment.local else _on_dataflow(environment, tools, work)
        process.run(
            [str(tools.beam), "-c", _PROGRAM, str(work / "job.json"), *runner, *chosen],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(_PACKAGES)},
            fix="llmops data build without --beam cleans on this machine",
            on_line=progress,
        )
        duplicates.sort(work / "judged" / "*", folder / CLEANED, duplicates.JUDGED_COLUMNS)


def _here() -> list[str]:
    # The name `DirectRunner` would fetch another runner's program over the network.
    return ["--runner=BundleBasedDirectRunner"]


def _on_dataflow(environment: Environment, tools: Tools, work: Path) -> list[str]:
    return [
        "--runner=DataflowRunner",
        f"--project={environment.project}",
        f"--region={environment.region}",
        f"--temp_location={environment.bucket}/beam",
        f"--requirements_file={_PACKAGES.parent / _REQUIREMENTS}",
        # The workers install it, by its hashes: nothing is downloaded here and uploaded again.
        "--requirements_cache=skip",
        f"--extra_package={_wheel(tools, work)}",
    ]


def _wheel(tools: Tools, work: Path) -> Path:
    """This package, as the workers install it. From a copy: setuptools writes beside its input."""
    copy = work / "package"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(_PACKAGES, copy / _PACKAGES.name, ignore=unwanted)
    shutil.copy(_PACKAGES.parent / "pyproject.toml", copy)
    pip = [str(tools.beam), "-m", "pip", "--disable-pip-version-check"]
    process.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(work), str(copy)],
        cwd=work,
        env=None,
    )
    (wheel,) = work.glob("*.whl")
    return wheel
