"""Background processes that outlive the terminal: started once, watched, stopped, explained."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx
import psutil
from filelock import FileLock

from llmops import wholefile
from llmops.errors import MachineryError

_HEALTHY_WITHIN_SECONDS = 60.0
_POLL_SECONDS = 0.05
_STOPPED_WITHIN_SECONDS = 10.0
_LAST_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of the local cloud."""

    name: str
    health: str
    """The path that answers 200 once the service is ready."""
    command: Callable[[int, Mapping[str, str]], Sequence[str]]
    """Port, and the addresses of the services before it -> command line."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """What is remembered of a process that was started."""

    pid: int
    created: float
    """psutil's create time: a process of the same id but another time is not ours."""
    port: int
    since: str
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """How a service is."""

    name: str
    state: Literal["running", "stopped", "died"]
    url: str | None
    pid: int | None
    since: str | None
    log: str
    last_lines: tuple[str, ...]
    """The end of its log, where it died."""


class Supervisor:
    """Starts and stops services; all it knows lies in its folder."""

    def __init__(self, folder: Path, services: Sequence[Service]) -> None:
        self._folder = folder
        self._services = services

    def up(self, progress: Callable[[str], None]) -> dict[str, str]:
        """Starts what is not running, waits until all are healthy. Returns name -> address.

        Raises MachineryError, with the end of its log, when a service does not become healthy.
        """
        with self._locked():
            started: dict[str, tuple[Started, bool]] = {}
            for service in self._services:
                before = {name: _url(entry.port) for name, (entry, _) in started.items()}
                started[service.name] = self._start(service, before)
            for service in self._services:
                entry, fresh = started[service.name]
                self._wait(service, entry, progress, fresh=fresh)
            return {name: _url(entry.port) for name, (entry, _) in started.items()}

    def down(self) -> list[str]:
        """Stops what is running: asks, then insists. Returns the names of what was stopped."""
        with self._locked():
            running = []
            for service in self._services:
                entry = self._remembered(service.name)
                process = None if entry is None else _process(entry)
                if entry is not None and process is not None:
                    process.terminate()
                    running.append((service.name, entry, process))
            deadline = time.monotonic() + _STOPPED_WITHIN_SECONDS
            for name, entry, process in running:
                # Not `process.wait()`: some machines leave what has ended in the table for seconds.
                while _process(entry) is not None and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                self._remember(name, _replaced(entry, stopped=True))
            return [name for name, _, _ in running]

    def status(self) -> list[ServiceStatus]:
        """How each service is now."""
        found = []
        for service in self._services:
            entry = self._remembered(service.name)
            running = entry is not None and _process(entry) is not None
            state: Literal["running", "stopped", "died"] = "stopped"
            if running:
                state = "running"
            elif entry is not None and not entry.stopped:
                state = "died"
            found.append(
                ServiceStatus(
                    name=service.name,
                    state=state,
                    url=_url(entry.port) if entry and running else None,
                    pid=entry.pid if entry and running else None,
                    since=entry.since if entry and running else None,
                    log=str(self._log(service.name)),
                    last_lines=self._last_lines(service.name) if state == "died" else (),
                )
            )
        return found

    def _start(self, service: Service, before: Mapping[str, str]) -> tuple[Started, bool]:
        """What runs, and whether it was started just now."""
        entry = self._remembered(service.name)
        if entry is not None and _process(entry) is not None:
            return entry, False
        # The former port again, so that links which people kept stay good.
        port = _free_port(entry.port if entry else None)
        log = self._log(service.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                service.command(port, before),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            created = psutil.Process(process.pid).create_time()
            now = datetime.now(UTC).isoformat(timespec="seconds")
            entry = Started(pid=process.pid, created=created, port=port, since=now)
            self._remember(service.name, entry)
            return entry, True
        raise self._did_not_start(service)

    def _wait(
        self, service: Service, entry: Started, progress: Callable[[str], None], *, fresh: bool
    ) -> None:
        began = time.monotonic()
        url = _url(entry.port)
        while time.monotonic() - began < _HEALTHY_WITHIN_SECONDS:
            if _process(entry) is None:
                raise self._did_not_start(service)
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url + service.health, timeout=5).is_success:
                    how = f"started in {time.monotonic() - began:.1f} s" if fresh else "running"
                    progress(f"{service.name:8} {url}  {how}")
                    return
            time.sleep(_POLL_SECONDS)
        raise self._did_not_start(service)

    def _did_not_start(self, service: Service) -> MachineryError:
        tail = "\n    ".join(self._last_lines(service.name)) or "(its log is empty)"
        log = self._log(service.name)
        message = f"the local {service.name} did not start; {log} ends with:\n    {tail}"
        return MachineryError(message, fix="llmops local down; llmops local up")

    def _remembered(self, name: str) -> Started | None:
        try:
            return Started(**json.loads(self._state(name).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _remember(self, name: str, entry: Started) -> None:
        wholefile.write_text(self._state(name), json.dumps(asdict(entry)))

    def _last_lines(self, name: str) -> tuple[str, ...]:
        try:
            lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        return tuple(lines[-_LAST_LINES:])

    def _state(self, name: str) -> Path:
        return self._folder / "processes" / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "lock"):
            yield


def _replaced(entry: Started, *, stopped: bool) -> Started:
    return Started(**{**asdict(entry), "stopped": stopped})


def _process(entry: Started) -> psutil.Process | None:
    """The process that was started, unless it is gone or its id is another's by now."""
    try:
        process = psutil.Process(entry.pid)
        if abs(process.create_time() - entry.created) > 1:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(entry.pid, os.WNOHANG)
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _free_port(wished: int | None) -> int:
    for port in (wished, 0):
        if port is None:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise MachineryError("no free port on 127.0.0.1")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
