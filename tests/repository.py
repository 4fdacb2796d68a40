"""Builders: a real git repository in a temporary folder, with files that say only what matters."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

SETTINGS = """\
default: local
environments:
  local: {local: true, project: local, region: us-central1, bucket: gs://llmops-local}
  production: {project: shop, region: us-central1, bucket: gs://shop-llmops}
prices:
  small: {input: 0.10, output: 0.40}
"""

PROMPT = """\
name: answer
messages:
  - role: system
    content: Answer in one sentence.
  - role: user
    content: "{{question}}"
"""

MODEL = """\
application: assistant
prompt: prompts/answer.prompt.yml
suites: [evals/quality.yaml]
base_model: {local: small, production: small}
generation: {temperature: 0, maxOutputTokens: 40}
"""

SUITE = """\
defaultTest:
  assert:
    - {type: icontains, value: "return", metric: terms}
tests:
  - vars: {question: What does len() do?}
    metadata: {id: len}
  - vars: {question: What does abs() do?}
    metadata: {id: abs}
gates:
  - {metric: terms, max_drop: 0.1}
"""

FILES = {
    "llmops.yaml": SETTINGS,
    "prompts/answer.prompt.yml": PROMPT,
    "models/assistant.yaml": MODEL,
    "evals/quality.yaml": SUITE,
    ".gitignore": ".llmops/\n",
}


@dataclass(frozen=True)
class Ran:
    """What a verb did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Repository:
    """A git repository that a test changes and runs verbs in."""

    root: Path

    def git(self, *args: str) -> str:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        done = subprocess.run(
            ["git", "-C", str(self.root), *identity, *args],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(dedent(text), encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def llmops(self, *args: str, env: dict[str, str] | None = None) -> Ran:
        """Runs a verb as a person would, in a process of its own."""
        import os

        clean = {
            k: v
            for k, v in os.environ.items()
            if k != "CI" and not k.startswith(("LLMOPS_", "GITHUB_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "llmops.cli", *args],
            cwd=self.root,
            env={**clean, "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def copy_of_project(root: Path, project: Path) -> Repository:
    """The files of this working tree in a repository of their own, committed."""
    listed = subprocess.run(
        ["git", "-C", str(project), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        if (project / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, root / name)
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.commit("start")
    return repository


def make_repository(root: Path, files: dict[str, str] | None = None) -> Repository:
    """A repository with one commit on main, and a branch `change` checked out."""
    root.mkdir(parents=True, exist_ok=True)
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    for path, text in (files or FILES).items():
        repository.write(path, text)
    repository.commit("start")
    repository.git("switch", "--quiet", "--create", "change")
    return repository
