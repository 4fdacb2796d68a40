"""The local cloud as a whole: which services it has, where their state lies, what fills them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from llmops import config, wholefile
from llmops.errors import UserError
from llmops.localcloud import seed, storage
from llmops.localcloud.supervisor import Service, ServiceStatus, Supervisor
from llmops.localcloud.vertex import definitions


def up(root: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Starts what is not running and fills an empty bucket with the shipped data.

    Returns service -> address, which it also writes where `llmops.config` reads it. Raises
    MachineryError when a service does not start.
    """
    home = config.home(root)
    definitions.prepare(progress)
    addresses = _supervisor(root).up(progress)
    path = home / config.ENDPOINTS_FILE
    wholefile.write_text(path, json.dumps(addresses, indent=1))
    for bucket in _buckets(root).values():
        storage.make_bucket(addresses["storage"], f"gs://{bucket}")
    seed.fill_bucket(root, progress)
    return addresses


def down(root: Path) -> list[str]:
    """Stops the services; returns the names of those that ran."""
    home = config.home(root)
    stopped = _supervisor(root).down()
    (home / config.ENDPOINTS_FILE).unlink(missing_ok=True)
    return stopped


def status(root: Path) -> list[ServiceStatus]:
    """How each service is."""
    return _supervisor(root).status()


def _buckets(root: Path) -> dict[str, str]:
    """Project -> bucket, of every environment: with $LLMOPS_LOCAL all of them are here."""
    return {
        entry.project: entry.bucket.removeprefix("gs://")
        for entry in config.settings(root).environments.values()
    }


def _supervisor(root: Path) -> Supervisor:
    folder, node_modules = config.home(root) / "local", config.tools(root).node_modules
    try:
        buckets = _buckets(root)
    except UserError:
        buckets = {}  # what is running can be stopped whatever llmops.yaml says
    python = sys.executable
    # -P: the working directory, whatever it is, must not shadow a module.
    module = [python, "-P", "-m"]
    return Supervisor(
        folder,
        [
            Service(
                name="storage",
                health="/_internal/healthcheck",
                command=lambda port, _: storage.command(folder / "storage", port),
            ),
            Service(
                name="vertex",
                health="/healthz",
                command=lambda port, before: [
                    *(*module, "llmops.localcloud.vertex", "--port", str(port)),
                    *("--state", str(folder / "vertex")),
                    *("--storage", before["storage"]),
                    *("--buckets", json.dumps(buckets)),
                ],
            ),
            Service(
                name="github",
                health="/healthz",
                command=lambda port, _: [
                    *(*module, "llmops.localcloud.github", "--port", str(port)),
                    *("--state", str(folder / "github")),
                    *("--styles", str(node_modules / "github-markdown-css")),
                ],
            ),
        ],
    )
