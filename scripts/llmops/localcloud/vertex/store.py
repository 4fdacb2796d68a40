"""All resources, as documents in one SQLite file: what was acknowledged outlives a kill."""

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""A resource as proto JSON, by v1beta1's or v1's field names, which agree where both have them."""

_SCHEMA = """
create table if not exists documents (
  name text primary key, collection text not null, parent text not null, document text not null
) without rowid;
create index if not exists by_place on documents (collection, parent);
"""


class Store:
    """Threads may share it; a transaction is the whole change or nothing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(_SCHEMA)
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes within take place together."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("begin immediate")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("rollback")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("commit")

    def get(self, name: str) -> Document | None:
        """The document of that name."""
        with self._lock:
            row = self._db.execute(
                "select document from documents where name = ?", (name,)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, document: Document) -> Document:
        """Writes it under its name, with a new etag and update time; returns what was written."""
        now = timestamp()
        written = {
            **document,
            "createTime": document.get("createTime", now),
            "updateTime": now,
            "etag": secrets.token_hex(8),
        }
        parent, collection, _ = place(written["name"])
        with self._lock:
            self._db.execute(
                "insert or replace into documents values (?, ?, ?, ?)",
                (written["name"], collection, parent, json.dumps(written)),
            )
        return written

    def delete(self, name: str) -> None:
        """Removes it and all beneath it."""
        with self._lock:
            self._db.execute(
                "delete from documents where name = ? or name like ? || '/%'", (name, name)
            )

    def children(self, parent: str, collection: str) -> list[Document]:
        """Those of a collection, the newest last; `-` in the parent stands for any."""
        with self._lock:
            rows = self._db.execute(
                "select document from documents where collection = ? and parent glob ?",
                (collection, parent.replace("/-", "/*")),
            ).fetchall()
        found = [json.loads(row[0]) for row in rows]
        return sorted(found, key=lambda each: (each["createTime"], each["name"]))

    def everywhere(self, collection: str) -> list[Document]:
        """All documents of a collection."""
        return self.children("*", collection)


def place(name: str) -> tuple[str, str, str]:
    """Parent, collection and id of a resource name (AIP-122)."""
    head, _, identifier = name.rpartition("/")
    parent, _, collection = head.rpartition("/")
    return parent, collection, identifier


def new_id() -> str:
    """An id as Vertex AI generates them: digits."""
    return str(secrets.randbelow(9 * 10**17) + 10**17)


def timestamp() -> str:
    """Now, as proto JSON writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
