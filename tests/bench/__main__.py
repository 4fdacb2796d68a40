"""Measures what the project promises, as ratios against something in the same run."""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from llmops.evals import score
from llmops.evals.results import Results
from llmops.formats import Gate

from tests.bench import data, release
from tests.repository import MODEL, PROMPT, SUITE, make_repository
from tests.results import case, observation, results, suite

PROJECT = Path(__file__).parents[2]
LLMOPS = [sys.executable, "-m", "llmops.cli"]
_PARTS = {"release": -2, "data": -1}


def timed(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1, 100):
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def plan_rows(folder: Path) -> list[tuple[str, str, str]]:
    """Plan on a generated repository, and on a tenth of it."""
    seconds = []
    for scale in (10, 1):
        files = {
            f"prompts/p{i}.prompt.yml": PROMPT.replace("Answer", f"Answer {i}")
            for i in range(1000 // scale)
        }
        files |= {
            f"evals/s{i}.yaml": SUITE.replace("len()", f"f{i}()") for i in range(200 // scale)
        }
        for i in range(50 // scale):
            suites = ", ".join(f"evals/s{j}.yaml" for j in range(i * 4, i * 4 + 4))
            files[f"models/m{i}.yaml"] = (
                MODEL.replace("assistant", f"app{i}")
                .replace("answer.prompt", f"p{i}.prompt")
                .replace("evals/quality.yaml", suites)
            )
        base = {
            "llmops.yaml": (PROJECT / "llmops.yaml").read_text().replace("prices:", "prices:"),
            ".gitignore": ".llmops/\n",
        }
        repository = make_repository(folder / f"plan{scale}", {**base, **files})
        repository.replace("prompts/p1.prompt.yml", "one sentence", "two")
        repository.commit()
        seconds.append(min(timed([*LLMOPS, "plan"], repository.root, {}) for _ in range(3)))
    start = min(timed([*LLMOPS, "--help"], folder, {}) for _ in range(3))
    here = min(timed([*LLMOPS, "plan", "--base", "HEAD"], PROJECT, {}) for _ in range(3))
    return [
        (
            "`plan`, 1,000 prompts, 200 suites, 50 models",
            f"{seconds[1]:.2f} s",
            f"{seconds[1] / seconds[0]:.1f} times a tenth of it ({seconds[0]:.2f} s)",
        ),
        (
            "`plan`, this repository",
            f"{here:.2f} s",
            f"{here / start:.1f} times `--help` ({start:.2f} s)",
        ),
    ]


def compare_row() -> tuple[str, str, str]:
    """100,000 paired cases on 10 metrics, in a process of its own."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tests.bench", "compare"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    done = json.loads((Path(tempfile.gettempdir()) / "bench-compare.json").read_text())
    whole = time.perf_counter() - started
    return (
        "`compare`, 100,000 paired cases, 10 metrics",
        f"{done['seconds']:.1f} s, {done['gigabytes']:.2f} GB more than the results themselves",
        f"{done['seconds'] / done['build']:.2f} times building the results in memory; {whole:.0f} s with it",
    )


def compare_alone() -> None:
    """The measured half of `compare_row`."""
    from llmops.compare import compare

    started = time.perf_counter()
    found = _many_cases(100_000, 10)
    build = time.perf_counter() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    compare(found, {})
    seconds = time.perf_counter() - started
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    text = json.dumps({"seconds": seconds, "gigabytes": more, "build": build})
    (Path(tempfile.gettempdir()) / "bench-compare.json").write_text(text)


def _many_cases(cases: int, metrics: int) -> Results:
    chance = np.random.default_rng(0)
    base, head = chance.random((cases, metrics)), chance.random((cases, metrics))
    made = [
        case(
            n,
            [observation({f"m{k}": base[n, k] for k in range(metrics)})],
            [observation({f"m{k}": head[n, k] for k in range(metrics)})],
        )
        for n in range(cases)
    ]
    return results(suite(made, *(Gate(metric=f"m{k}", max_drop=0.01) for k in range(metrics))))


def run_rows(folder: Path) -> list[tuple[str, str, str]]:
    """`llmops pr` cold and warm, and promptfoo alone beside it, on the example."""
    clone = folder / "clone"
    git = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    subprocess.run([*git, "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    subprocess.run([*git, "switch", "--quiet", "--force-create", "main"], cwd=clone, check=True)
    subprocess.run([*git, "switch", "--quiet", "--create", "change"], cwd=clone, check=True)
    env = {"LLMOPS_HOME": str(folder / "home"), "LLMOPS_TOOLS": str(PROJECT)}
    timed([*LLMOPS, "local", "up"], clone, env)
    vertex = json.loads((folder / "home/local/endpoints.json").read_text())["vertex"]
    try:
        shutil.copy(
            PROJECT / "scripts/llmops/localcloud/demo/better.prompt.yml",
            clone / "prompts/answer.prompt.yml",
        )
        before = httpx.get(f"{vertex}/_local/stats").json()
        cold = timed([*LLMOPS, "pr", "--no-open"], clone, env)
        after = httpx.get(f"{vertex}/_local/stats").json()
        busy = after["busy_seconds"] - before["busy_seconds"]
        calls = after["calls"] - before["calls"]
        warm = timed([*LLMOPS, "pr", "--no-open"], clone, env)
        again = httpx.get(f"{vertex}/_local/stats").json()["calls"] - after["calls"]
        ours, plain = _beside_promptfoo(clone, folder, env)
    finally:
        timed([*LLMOPS, "local", "down"], clone, env)
    return [
        (
            f"`llmops pr`, cold, {calls} calls",
            f"{cold:.0f} s",
            f"{cold / busy:.2f} times the model's own {busy:.0f} s",
        ),
        (
            "`llmops pr`, nothing changed",
            f"{warm:.1f} s, {again} calls",
            f"{warm / cold:.3f} of the cold run",
        ),
        (
            "one suite of 168 cases, cold",
            f"{ours:.0f} s",
            f"{ours / plain:.2f} times plain `promptfoo eval` ({plain:.0f} s)",
        ),
    ]


def _release_rows(folder: Path) -> list[tuple[str, str, str]]:
    """What a release costs, in a clone and a local cloud of their own."""
    folder.mkdir(exist_ok=True)
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    env = {"LLMOPS_HOME": str(folder / "home"), "LLMOPS_TOOLS": str(PROJECT)}
    timed([*LLMOPS, "local", "up"], clone, env)
    try:
        rollout = release.rollout_rows(clone, env)
    finally:
        timed([*LLMOPS, "local", "down"], clone, env)
    return [release.control_plane_row(), release.server_row(), *rollout]


def _beside_promptfoo(clone: Path, folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """The same cases of one new prompt, asked cold by either."""
    from llmops.config import tools

    text = (
        (clone / "prompts/answer.prompt.yml")
        .read_text()
        .replace("one short sentence", "a short sentence")
    )
    (clone / "prompts/answer.prompt.yml").write_text(text)
    os.environ.update(env)
    used = score.environment(tools(clone))
    timed([*LLMOPS, "data", "build"], clone, env)
    promptfoo = str(Path(sys.executable).with_name("promptfoo"))
    command = [
        promptfoo,
        "eval",
        "-c",
        "evals/quality.yaml",
        "-o",
        str(folder / "o.json"),
        "--no-cache",
        "--no-table",
        "--no-progress-bar",
    ]
    plain = timed(
        command,
        clone,
        {**used, "PROMPTFOO_PYTHON_WORKERS": "4", "PYTHONPATH": str(clone / "scripts")},
    )
    # Ours on head alone: an application that main does not have yet.
    model = (clone / "models/assistant.yaml").read_text()
    fresh = model.replace("application: assistant", "application: fresh").replace(
        "  - evals/safety.yaml\n", ""
    )
    (clone / "models/assistant.yaml").write_text(fresh)
    return timed([*LLMOPS, "eval"], clone, env), plain


def main() -> None:
    """Runs all, or the part that is named, and writes the page."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "compare":
        compare_alone()
        return
    if part == "stub":
        release.serve_stub(int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [lambda: plan_rows(folder), lambda: [compare_row()], lambda: run_rows(folder)]
        parts.append(lambda: _release_rows(folder / "release"))
        parts.append(lambda: data.build_rows(folder / "data", (10_000, 100_000, 1_000_000)))
        if part in _PARTS:
            parts = [parts[_PARTS[part]]]
        rows = []
        for made in parts:
            for row in made():
                print(*row, sep="  |  ", flush=True)
                rows.append(row)
    _write(rows)


def _write(rows: list[tuple[str, str, str]]) -> None:
    """The page; what was not measured now stays as it was."""
    page = PROJECT / "docs/benchmarks.md"
    former = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    table = {line.split(" | ")[0]: line for line in former if line.startswith("| ")}
    table.pop("| what", None)
    table |= {f"| {row[0]}": f"| {' | '.join(row)} |" for row in rows}
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; what counts is the ratio, within one run on one machine.",
        f"Last run: {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}.",
        "",
        "| what | figure | beside |",
        "|---|---|---|",
        *table.values(),
        "",
    ]
    page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
