"""What the local GitHub remembers: one SQLite file, and a bare git repository for each project."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Thing = dict[str, Any]

_SCHEMA = """
create table if not exists things (
    id integer primary key autoincrement,
    kind text not null,
    repository text not null,
    parent text not null,
    value text not null
);
create index if not exists by_parent on things (kind, repository, parent);
"""


class Store:
    """Things by kind, repository and parent. Every change is on disk when its call returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "github.sqlite"
        with self._open() as database:
            database.executescript(_SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._file, timeout=30)
        try:
            database.execute("pragma journal_mode = wal")
            with database:
                yield database
        finally:
            database.close()

    def add(self, kind: str, repository: str, parent: str, value: Thing) -> Thing:
        """Keeps a new thing; its id and times are set."""
        now = timestamp()
        value = {"created_at": now, "updated_at": now, **value}
        with self._open() as database:
            cursor = database.execute(
                "insert into things (kind, repository, parent, value) values (?, ?, ?, ?)",
                (kind, repository, parent, json.dumps(value)),
            )
        return {**value, "id": cursor.lastrowid}

    def change(self, kind: str, repository: str, id_: int, value: Thing) -> Thing | None:
        """Overwrites fields of a thing; None when there is none."""
        with self._open() as database:
            row = database.execute(
                "select value from things where kind = ? and repository = ? and id = ?",
                (kind, repository, id_),
            ).fetchone()
            if row is None:
                return None
            merged = {**json.loads(row[0]), **value, "updated_at": timestamp()}
            database.execute("update things set value = ? where id = ?", (json.dumps(merged), id_))
        return {**merged, "id": id_}

    def remove(self, kind: str, repository: str, id_: int) -> bool:
        """Forgets a thing; whether there was one."""
        with self._open() as database:
            cursor = database.execute(
                "delete from things where kind = ? and repository = ? and id = ?",
                (kind, repository, id_),
            )
        return cursor.rowcount > 0

    def all(self, kind: str, repository: str, parent: str | None = None) -> list[Thing]:
        """The things of a kind, oldest first."""
        query = "select id, value from things where kind = ? and repository = ?"
        values = [kind, repository]
        if parent is not None:
            query += " and parent = ?"
            values.append(parent)
        with self._open() as database:
            rows = database.execute(query + " order by id", values).fetchall()
        return [{**json.loads(value), "id": id_} for id_, value in rows]

    def get(self, kind: str, repository: str, id_: int) -> Thing | None:
        """One thing."""
        return next((each for each in self.all(kind, repository) if each["id"] == id_), None)

    def repositories(self) -> list[str]:
        """`owner/name` of every project."""
        return [f"{path.parent.name}/{path.stem}" for path in sorted(self.git_root.glob("*/*.git"))]

    @property
    def git_root(self) -> Path:
        """Where the bare repositories lie."""
        return self._folder / "repos"

    @property
    def artifacts(self) -> Path:
        """Where workflow runs leave what people open."""
        return self._folder / "artifacts"

    def repository(self, name: str) -> "BareRepository | None":
        """The project's git repository."""
        path = self.git_root / f"{name}.git"
        return BareRepository(path) if path.is_dir() else None

    def make_repository(self, name: str) -> "BareRepository":
        """A bare repository, made unless it is there."""
        path = self.git_root / f"{name}.git"
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True
            )
        return BareRepository(path)


class BareRepository:
    """What git itself says of a project, asked when it is needed: a push shows at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *args: str) -> str:
        """Git's output. Raises subprocess.CalledProcessError when git refuses."""
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *args],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
        return done.stdout

    def commit(self, name: str) -> str | None:
        """The full name of a commit, or None."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
        except subprocess.CalledProcessError:
            return None

    def merge_base(self, base: str, head: str) -> str:
        """Where head left base."""
        return self.git("merge-base", base, head).strip()

    def commits(self, base: str, head: str) -> list[Thing]:
        """The commits that head has and base has not, oldest first."""
        log = self.git("log", "--reverse", "--format=%H%x1f%an%x1f%aI%x1f%s", f"{base}..{head}")
        keys = ("sha", "author", "date", "subject")
        return [dict(zip(keys, line.split("\x1f"), strict=True)) for line in log.splitlines()]

    def files(self, base: str, head: str) -> list[Thing]:
        """The files that differ since head left base, each with its patch, as GitHub lists them."""
        start = self.merge_base(base, head)
        statuses = {"A": "added", "M": "modified", "D": "removed", "R": "renamed"}
        found = []
        for line in self.git("diff", "--name-status", "-M", start, head).splitlines():
            letter, *paths = line.split("\t")
            patch = self.git("diff", "-M", "--no-color", start, head, "--", *paths)
            hunks = patch[patch.index("@@") :] if "\n@@" in patch else ""
            lines = hunks.splitlines()
            found.append(
                {
                    "filename": paths[-1],
                    "status": statuses.get(letter[0], "changed"),
                    "additions": sum(each.startswith("+") for each in lines),
                    "deletions": sum(each.startswith("-") for each in lines),
                    "changes": sum(each.startswith(("+", "-")) for each in lines),
                    "patch": hunks,
                }
            )
        return found

    def merge(self, base: str, head: str, message: str) -> str | None:
        """Merges head into the branch base; the merge commit, or None where they conflict."""
        try:
            tree = self.git("merge-tree", "--write-tree", base, head).split()[0]
        except subprocess.CalledProcessError:
            return None
        who = ("-c", "user.name=GitHub", "-c", "user.email=noreply@example.com")
        commit = self.git(*who, "commit-tree", tree, "-p", base, "-p", head, "-m", message).strip()
        self.git("update-ref", f"refs/heads/{base}", commit)
        return commit


def timestamp() -> str:
    """Now, as GitHub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
