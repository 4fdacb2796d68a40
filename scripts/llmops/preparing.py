"""What the verbs do that make, share and compare data: `llmops data …` and `llmops lineage`."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from llmops import config, git, progress
from llmops.commands import data_differences, workspace_of

if TYPE_CHECKING:
    from llmops.config import Environment
    from llmops.datasets import Step
    from llmops.formats import DataPointer
    from llmops.resources import Resource


def data_pull(base: str, head: str | None, environment: str | None, *, as_json: bool) -> None:
    """Fetches what the plan needs."""
    from llmops.workspace import plan_between, pull_data, revisions

    workspace = workspace_of(environment)
    planned = plan_between(workspace, *revisions(workspace, base, head))
    fetched = pull_data(workspace, planned)
    needed = planned.plan.data_needed
    if as_json:
        print(json.dumps({"needed": needed, "fetched": fetched}))
    elif not needed:
        print("No touched suite needs data.")
    else:
        at_hand = [path for path in needed if path not in fetched]
        for path in fetched:
            print(f"{path}: fetched")
        for path in at_hand:
            print(f"{path}: already at hand")


def data_push(environment: str | None, *, as_json: bool) -> None:
    """Brings what data.dvc points to into the buckets."""
    from llmops.data.remote import remote_url
    from llmops.datasets import pointer_of

    root = config.repository_root()
    found = pointer_of(root)
    md5 = found.value.output.md5
    pushed = [remote_url(each) for each in _push(root, found, environment)]
    if as_json:
        print(json.dumps({"md5": md5, "remotes": pushed}))
    for where in [] if as_json else pushed:
        print(f"{found.path}: {md5} is in {where}")


def _push(
    root: Path, found: "Resource[DataPointer]", environment: str | None
) -> "list[Environment]":
    from llmops.datasets import push

    names = [environment] if environment else config.reachable_environments(root)
    targets = [config.environment(root, name) for name in names]
    for each in targets:
        progress.say(f"pushing {found.value.output.md5} to {each.bucket}")
        push(root, found, each)
    return targets


def data_propose(environment: str | None, *, as_json: bool) -> None:
    """Shares what was built, and has one pull request at GitHub move the pointer to it."""
    from llmops.data import lock
    from llmops.datasets import cache, card, pointer_of
    from llmops.report import proposal
    from llmops.resources import Reader

    root, github = config.repository_root(), config.github()
    head = git.resolve(root, "HEAD")
    found = pointer_of(root)
    former = Reader(root).read(head).pointers.get(found.path)
    base = os.environ.get("GITHUB_REF_NAME") or "main"
    if former and former.value.output.md5 == found.value.output.md5:
        done = [f"{base} points to this data", *proposal.publish(None, github, base)]
    else:
        wanted = proposal.proposal(
            former.value if former else None,
            found.value,
            card(found, cache(root)),
            github.run_url,
        )
        url = proposal.clone_url(github)
        # The content first: a pointer to what nobody can have is worth nothing.
        _push(root, found, environment)
        commit = git.commit_files(root, (found.path, lock.PATH), wanted.title)
        git.push(root, url, commit, proposal.BRANCH, github.token)
        done = proposal.publish(wanted, github, base)
    print(json.dumps({"done": done}) if as_json else "\n".join(done))


def data_build(environment: str | None, *, dry_run: bool, beam: str | None, as_json: bool) -> None:
    """Builds data/ and its pointer, or shows what retrieving would take."""
    from llmops.data import params, retrieve
    from llmops.datasets import bigquery, rebuild

    root = config.repository_root()
    if dry_run:
        query = retrieve.taken(params.load(root).retrieve)
        asked = bigquery(root, environment)
        estimate = asked.check(query) if asked else None
        sql = retrieve.bigquery_sql(query)
        if as_json:
            print(json.dumps({"sql": sql, **(asdict(estimate) if estimate else {})}))
        else:
            print(sql)
            print(f"-- reads {estimate.words()}" if estimate else "-- DuckDB: it costs nothing")
        return
    written = rebuild(root, environment, lambda text: progress.say(text, quiet=as_json), beam=beam)
    rows, dropped = written.dataset.rows, written.dataset.dropped
    if as_json:
        reasons = {reason: asdict(each) for reason, each in dropped.items()}
        shown = {"rows": rows, "dropped": reasons, "changed": written.changed}
        print(json.dumps({"md5": written.md5, **shown}))
        return
    for reason, each in dropped.items():
        print(f"{each.rows:7} left out: {reason}, such as {each.samples[0]}")
    counts = ", ".join(f"{count} {split}" for split, count in rows.items())
    print(f"data/: {counts}; data.dvc {'changed' if written.changed else 'unchanged'}")


def data_step(step: "Step") -> None:
    """One step of dvc.yaml."""
    from llmops.datasets import run_step

    run_step(config.repository_root(), step, progress.say)


def data_diff(base: str, head: str | None, environment: str | None, *, as_json: bool) -> None:
    """Prints what changed in the data behind the pointers, and keeps it for the report."""
    from llmops.resources import Reader
    from llmops.workspace import revisions

    workspace = workspace_of(environment)
    reader = Reader(workspace.root)
    old, new = (reader.read(each) for each in revisions(workspace, base, head))
    found = data_differences(workspace, old, new)
    if as_json:
        shown = {
            path: {"not_compared": each} if isinstance(each, str) else asdict(each)
            for path, each in found.items()
        }
        print(json.dumps(shown))
    else:
        from llmops.report.data import data_markdown

        texts = [data_markdown(path, each) for path, each in found.items()]
        print("\n".join(texts) or "No data pointer changed.")
