"""Workflow files, run on this machine by act, with the local cloud's actions for GitHub's."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops import config, progress

PROJECT = "example/llmops"


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A machine that runs the workflows of one clone."""

    root: Path
    """The checkout whose tools and local cloud are used."""
    clone: Path
    folder: Path
    """Logs, events, act's cache."""
    github: str

    def run(self, workflow: str, event: str, payload: Mapping[str, Any], label: str) -> int:
        """Runs a workflow file on an event, passing on what its steps say; its exit code.

        `label` names the log and the folder of artifacts.
        """
        path = self.folder / f"event-{label}.json"
        path.write_text(json.dumps(payload), encoding="utf-8")
        artifacts = config.home(self.root) / "local" / "github" / "artifacts" / label
        shutil.rmtree(artifacts, ignore_errors=True)
        env = {
            "GITHUB_API_URL": self.github,
            "GITHUB_SERVER_URL": self.github,
            "GITHUB_REPOSITORY": PROJECT,
            "LLMOPS_ARTIFACTS": str(artifacts),
            "LLMOPS_ARTIFACTS_URL": f"{self.github}/artifacts/{label}",
            "LLMOPS_HOME": str(config.home(self.root)),
            "LLMOPS_LOCAL": "1",
            "LLMOPS_TOOLS": str(config.tools(self.root).node_modules.parent),
        }
        variables = {"LLMOPS_ENV": "staging", "LLMOPS_LOCAL": "1"}
        process = subprocess.Popen(
            act_command(self.clone, workflow, event, path, env, variables),
            cwd=self.clone,
            env={
                **config.tools(self.root).inherited,
                "XDG_CACHE_HOME": str(self.folder / "cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        with (self.folder / f"act-{label}.log").open("w", encoding="utf-8") as output:
            for line in process.stdout or ():
                output.write(line)
                _echo(line.rstrip())
        return process.wait()


def act_command(
    clone: Path,
    workflow: str,
    event: str,
    payload: Path,
    env: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """How act runs a workflow file in host mode."""
    actions = Path(__file__).parents[1] / "actions"
    command = [
        str(Path(sys.executable).with_name("act")),
        *(event, "--workflows", f".github/workflows/{workflow}", "--eventpath", str(payload)),
        *("--platform", "ubuntu-latest=-self-hosted", "--action-offline-mode", "--concurrent-jobs"),
        *("1", "--secret", "GITHUB_TOKEN=token-of-the-demo"),
    ]
    for path in sorted((clone / ".github").rglob("*.yml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            _, found, used = line.partition("uses: ")
            name, _, version = used.split(" ")[0].partition("@")
            if found and version:
                command += ["--local-repository", f"{name}@{version}={actions / name}"]
    for name, value in env.items():
        command += ["--env", f"{name}={value}"]
    for name, value in (variables or {}).items():
        command += ["--var", f"{name}={value}"]
    return command


def _echo(line: str) -> None:
    """What people want to follow: the steps, and what the verbs themselves say."""
    _, bar, said = line.partition("   | ")
    if bar and not said.startswith("make["):
        progress.say(f"    {said}")
    elif "⭐ Run Main" in line and line.split("⭐ Run Main", 1)[1].strip()[:1].isupper():
        # What has no name of its own is a step of a stand-in for one of GitHub's actions.
        progress.say("  " + line.split("⭐ Run Main", 1)[1].strip())
