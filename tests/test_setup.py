"""What `make setup` says when it cannot do, and what the locks hold."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

INSTALL = PROJECT / "requirements" / "install.py"


def install(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(INSTALL), *args], capture_output=True, text=True, check=False, env=env
    )


def test_a_second_set_up_does_nothing() -> None:
    done = install("--tools", str(PROJECT))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_checkout_that_is_not_set_up_is_named(tmp_path: Path) -> None:
    for name in ("requirements", "pyproject.toml", "package.json", "package-lock.json"):
        (tmp_path / name).symlink_to(PROJECT / name)

    for options, target in (((), "setup"), (("--beam",), "beam")):
        done = install("--tools", str(tmp_path), *options)

        assert done.returncode == 1
        assert f"{tmp_path} is not set up: run `make {target}` there" in done.stderr


def copy_of_the_program(folder: Path) -> Path:
    (folder / "requirements").mkdir()
    for path in (PROJECT / "requirements").iterdir():
        (folder / "requirements" / path.name).write_bytes(path.read_bytes())
    for name in ("pyproject.toml", "package.json", "package-lock.json"):
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    return folder / "requirements" / "install.py"


def test_too_little_disk_is_said_before_anything_is_done(tmp_path: Path) -> None:
    program = copy_of_the_program(tmp_path)

    done = subprocess.run(
        [sys.executable, str(program), "--needs-gb", "1e9"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "the disk is nearly full" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_git_is_said(tmp_path: Path) -> None:
    program = copy_of_the_program(tmp_path)

    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
    )

    assert done.returncode == 1
    assert "git is not installed" in done.stderr


@pytest.mark.slow
def test_no_network_is_said_and_leaves_the_step_to_be_done_again(tmp_path: Path) -> None:
    program = copy_of_the_program(tmp_path)
    nowhere = "http://127.0.0.1:9"
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": nowhere,
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }

    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, env=env
    )

    assert done.returncode == 1
    assert "no network" in done.stderr
    assert not (tmp_path / ".venv" / ".stamp-venv").exists()


def test_every_package_is_pinned_and_hashed() -> None:
    for name in ("all", "weights", "uv"):
        text = (PROJECT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
        packages = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert packages
        assert all("==" in line and "--hash=sha256:" in line for line in packages)


def test_no_lock_names_a_registry() -> None:
    packages = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
    assert not any("resolved" in package for package in packages.values())
    for path in (PROJECT / "requirements").glob("*.txt"):
        assert not re.search(r"https?://", path.read_text())
