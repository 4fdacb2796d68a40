"""What was already asked and scored: by content digest, on this machine and in the bucket."""

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from llmops.bucket import Bucket
from llmops.errors import MachineryError

T = TypeVar("T")

_THREADS = 16


class ContentCache(Generic[T]):
    """Values by digest. What is at hand is read from disk; the rest is looked up in the bucket.

    A value never changes under its key, so there is nothing to invalidate and nothing to lock.
    """

    def __init__(
        self,
        kind: type[T],
        folder: Path,
        *,
        prefix: str = "",
        bucket: Callable[[], Bucket] | None = None,
    ) -> None:
        """`bucket` is called at most once, and only when something is not at hand."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._folder = folder
        self._prefix = prefix
        self._connect = bucket
        self.failed_writes: list[str] = []
        """Why values did not reach the bucket; they are on this machine all the same."""

    @cached_property
    def _bucket(self) -> Bucket | None:
        return self._connect() if self._connect else None

    def holds(self, key: str) -> bool:
        """Whether the value is on this machine."""
        return self._path(key).exists()

    def get(self, key: str) -> T | None:
        """The value on this machine, or None."""
        try:
            return self._adapter.validate_json(self._path(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def get_many(self, keys: Iterable[str]) -> dict[str, T]:
        """The values that are on this machine or in the bucket.

        Raises MachineryError when the bucket is needed and cannot be reached.
        """
        found: dict[str, T] = {}
        missing: list[str] = []
        for key in dict.fromkeys(keys):
            value = self.get(key)
            if value is None:
                missing.append(key)
            else:
                found[key] = value
        if missing and self._bucket is not None:
            with ThreadPoolExecutor(_THREADS) as pool:
                fetched = zip(missing, pool.map(self._fetch, missing), strict=True)
                found |= {key: value for key, value in fetched if value is not None}
        return found

    def put(self, key: str, value: T) -> None:
        """Keeps the value on this machine, then in the bucket.

        A bucket that fails is noted in `failed_writes`, not raised: the answer was paid for.
        """
        content = self._adapter.dump_json(value)
        self._write(key, content)
        if self._bucket is None:
            return
        try:
            self._bucket.write(self._name(key), content)
        except MachineryError as error:
            self.failed_writes.append(error.message)

    def _fetch(self, key: str) -> T | None:
        content = self._bucket.read(self._name(key)) if self._bucket else None
        if content is None:
            return None
        try:
            value = self._adapter.validate_json(content)
        except ValueError:
            return None
        self._write(key, content)
        return value

    def _write(self, key: str, content: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.json"

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{key[:2]}/{key[2:]}.json"
