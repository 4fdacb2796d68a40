"""dvc.yaml through `llmops data build`: what runs again, what stops it, and what it leaves."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.repository import Repository, copy_of_project
from tests.services import PROJECT

pytestmark = pytest.mark.slow
STEPS = ("retrieve", "clean", "select", "check")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy of the project with its data built."""
    project = copy_of_project(tmp_path_factory.mktemp("pipeline") / "project", PROJECT)
    done = project.llmops("data", "build")
    assert done.code == 0, done.err
    assert all(f"Running stage '{step}'" in done.err for step in STEPS)
    return project


@pytest.fixture
def project(built: Repository) -> Repository:
    """The same, as it was committed."""
    built.git("reset", "--hard", "--quiet")
    return built


def again(project: Repository) -> tuple[str, ...]:
    """Builds; the steps that ran."""
    done = project.llmops("data", "build")
    assert done.code == 0, done.err
    ran = tuple(step for step in STEPS if f"Running stage '{step}'" in done.err)
    for step in STEPS:
        assert (step in ran) != (f"Stage '{step}' didn't change, skipping" in done.err)
    return ran


def test_another_machine_makes_the_committed_bytes(built: Repository) -> None:
    assert built.git("status", "--porcelain") == "", "data.dvc and dvc.lock are as committed"


def test_only_what_a_change_reaches_runs_again(project: Repository) -> None:
    assert again(project) == ()
    project.replace("params.yaml", "tokens: [5, 2048]", "tokens: [6, 2048]")
    assert again(project) == ("check",)
    project.replace("params.yaml", "in one short sentence.", "in one sentence.")
    assert again(project) == ("select", "check")
    assert "data.dvc" in project.git("status", "--porcelain")
    project.git("checkout", "--quiet", ".")
    # What a step made before is not kept; what it measures now is what was measured then.
    assert again(project) == ("select",)
    assert project.git("status", "--porcelain") == ""


def test_a_broken_contract_stops_the_build_with_rows(project: Repository) -> None:
    before = state(project)
    project.replace("params.yaml", "largest_topic: 0.2", "largest_topic: 0.01")
    done = project.llmops("data", "build")
    assert done.code == 2
    assert "error: params.yaml:" in done.err
    assert "builtins has 5.0%, more than 1.0% of the rows, such as\n    data/" in done.err
    assert done.err.count("breaks its contract") == 1
    assert state(project) == before


def test_a_build_killed_in_the_middle_leaves_what_there_was(project: Repository) -> None:
    before = state(project)
    project.replace("params.yaml", "words: [4, 40]", "words: [5, 40]")
    log = project.root.parent / "killed.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmops.cli", "data", "build"],
            cwd=project.root,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while "posts cleaned" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert state(project) == before
    project.git("checkout", "--quiet", "params.yaml")
    assert "clean" in again(project)
    assert state(project) == before


def test_a_full_disk_leaves_what_there_was(project: Repository) -> None:
    before = state(project)
    project.replace("params.yaml", "words: [4, 40]", "words: [5, 40]")

    def no_large_files() -> None:
        # As near to a full disk as a process can be brought alone: write() fails.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-m", "llmops.cli", "data", "build"],
        cwd=project.root,
        capture_output=True,
        text=True,
        preexec_fn=no_large_files,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "error: the disk is full" in done.stderr
    assert state(project) == before
    project.git("checkout", "--quiet", "params.yaml")
    again(project)
    assert state(project) == before


def test_a_step_can_be_run_alone(project: Repository) -> None:
    (project.root / "build" / "data" / "contract.json").unlink()
    done = project.llmops("data", "step", "check")
    assert done.code == 0, done.err
    assert (project.root / "build" / "data" / "contract.json").exists()


def state(project: Repository) -> dict[str, bytes]:
    """Pointer and data, as they stand."""
    root: Path = project.root
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in (root / "data.dvc", *sorted((root / "data").iterdir()))
    }
