"""Importing one generated client without the thousand modules beside it.

`google.cloud.aiplatform_v1` imports all its services and message types when it is touched, which
takes seven seconds; one client and its own types take one. While an import runs, empty packages
stand where those collecting `__init__` modules would be run. Afterwards they are taken away again,
so that whoever imports the package as a whole finds it whole.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = "google.cloud.aiplatform_v1"


def client_class(service: str, name: str) -> Any:  # noqa: ANN401 - the class of that name
    """The client `name` of a service such as `endpoint_service`."""
    with _lean():
        return getattr(importlib.import_module(f"{_PACKAGE}.services.{service}"), name)


@contextmanager
def _lean() -> Iterator[None]:
    import google.cloud

    folder = next(
        found for path in google.cloud.__path__ if (found := Path(path) / "aiplatform_v1").is_dir()
    )
    stood_in: list[str] = []
    for name, part in (
        (_PACKAGE, ""),
        (f"{_PACKAGE}.services", "services"),
        (f"{_PACKAGE}.types", "types"),
    ):
        if name not in sys.modules:
            package = ModuleType(name)
            package.__path__ = [str(folder / part)]
            sys.modules[name] = package
            stood_in.append(name)
    try:
        if _PACKAGE in stood_in:
            version = importlib.import_module(f"{_PACKAGE}.gapic_version")
            vars(sys.modules[_PACKAGE])["gapic_version"] = version
        yield
    finally:
        for name in stood_in:
            del sys.modules[name]
