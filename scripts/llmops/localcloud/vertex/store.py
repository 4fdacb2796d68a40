"""All resources, as documents in one SQLite file: what was acknowledged outlives a kill."""

import copy
import json
import re
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
create table if not exists documents (name text primary key, document text not null) without rowid;
"""


class Store:
    """Threads may share it; a transaction is the whole change or nothing.

    Every document is in memory as well, so that a list of ten thousand reads no file. What `get`
    returns is the caller's; what `children` returns is not to be changed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(_SCHEMA)
        self._depth = 0
        self._changed: set[str] = set()
        """Names that the transaction under way has touched."""
        self._collections: dict[str, dict[str, str]] = {}
        self._documents: dict[str, Document] = {}
        rows = self._db.execute("select document from documents").fetchall()
        for document in sorted((json.loads(row[0]) for row in rows), key=_age):
            self._remember(document)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes within take place together."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("begin immediate")
                self._changed = set()
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("rollback")
                    self._reload()
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("commit")

    def get(self, name: str) -> Document | None:
        """The document of that name."""
        with self._lock:
            found = self._documents.get(name)
            return copy.deepcopy(found) if found is not None else None

    def put(self, document: Document) -> Document:
        """Writes it under its name, with a new etag and update time; returns what was written."""
        now = timestamp()
        written = {
            **document,
            "createTime": document.get("createTime", now),
            "updateTime": now,
            "etag": secrets.token_hex(8),
        }
        text = json.dumps(written)
        with self._lock:
            self._db.execute(
                "insert or replace into documents values (?, ?)", (written["name"], text)
            )
            self._changed.add(written["name"])
            self._remember(json.loads(text))
        return written

    def delete(self, name: str) -> None:
        """Removes it and all beneath it."""
        with self._lock:
            beneath = [each for each in self._documents if each.startswith(f"{name}/")]
            for each in (name, *beneath):
                self._db.execute("delete from documents where name = ?", (each,))
                self._changed.add(each)
                self._forget(each)

    def children(self, parent: str, collection: str) -> list[Document]:
        """Those of a collection, the newest last; `-` in the parent stands for any."""
        steps = parent.replace("/-", "/*").split("*")
        pattern = re.compile(".*".join(map(re.escape, steps)))
        with self._lock:
            return [
                self._documents[name]
                for name, above in self._collections.get(collection, {}).items()
                if pattern.fullmatch(above)
            ]

    def everywhere(self, collection: str) -> list[Document]:
        """All documents of a collection."""
        return self.children("*", collection)

    def _remember(self, document: Document) -> None:
        name = document["name"]
        parent, collection, _ = place(name)
        self._collections.setdefault(collection, {})[name] = parent
        self._documents[name] = document

    def _forget(self, name: str) -> None:
        self._collections.get(place(name)[1], {}).pop(name, None)
        self._documents.pop(name, None)

    def _reload(self) -> None:
        """After a rollback: what was touched is again as the file has it."""
        for name in self._changed:
            row = self._db.execute(
                "select document from documents where name = ?", (name,)
            ).fetchone()
            if row:
                self._remember(json.loads(row[0]))
            else:
                self._forget(name)


def _age(document: Document) -> tuple[str, str]:
    return document["createTime"], document["name"]


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
