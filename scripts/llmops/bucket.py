"""The project's bucket: objects by name, read and written by google-cloud-storage."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops.config import Environment
from llmops.errors import MachineryError

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Bucket as GoogleBucket

_TIMEOUT_SECONDS = 30.0
_PATIENCE_SECONDS, _LOCAL_PATIENCE_SECONDS = 60.0, 5.0
"""How long a silent bucket is asked again: one on this machine answers at once, or is not up."""
_CONNECTIONS = 16
"""As many threads may read and write at once."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """An environment's bucket. Threads may share it."""

    url: str
    """`gs://name`."""
    _google: "GoogleBucket"
    _retry: "Retry"

    def read(self, name: str) -> bytes | None:
        """The object's content, or None when there is no such object.

        Raises MachineryError when the bucket cannot be reached.
        """
        from google.api_core.exceptions import GoogleAPIError, NotFound

        try:
            blob = self._google.blob(name)
            return bytes(blob.download_as_bytes(timeout=_TIMEOUT_SECONDS, retry=self._retry))
        except NotFound:
            return None
        except (GoogleAPIError, OSError) as error:
            raise self._failed("read", name, error) from None

    def write(self, name: str, content: bytes) -> None:
        """Writes the object, whole or not at all.

        Raises MachineryError when the bucket cannot be reached.
        """
        from google.api_core.exceptions import GoogleAPIError

        try:
            blob = self._google.blob(name)
            blob.upload_from_string(content, timeout=_TIMEOUT_SECONDS, retry=self._retry)
        except (GoogleAPIError, OSError) as error:
            raise self._failed("write", name, error) from None

    def names(self, prefix: str) -> list[str]:
        """The names of the objects that begin so, in order.

        Raises MachineryError when the bucket cannot be reached.
        """
        from google.api_core.exceptions import GoogleAPIError

        try:
            found = self._google.list_blobs(
                prefix=prefix, timeout=_TIMEOUT_SECONDS, retry=self._retry
            )
            return sorted(str(blob.name) for blob in found)
        except (GoogleAPIError, OSError) as error:
            raise self._failed("list", prefix, error) from None

    def _failed(self, verb: str, name: str, error: Exception) -> MachineryError:
        fix = "check the network and your rights on the bucket; locally: llmops local status"
        return MachineryError(f"cannot {verb} {self.url}/{name}: {error}", fix=fix)


def connect(environment: Environment) -> Bucket:
    """The environment's bucket. Raises MachineryError when nobody is signed in."""
    return open_bucket(environment.bucket, environment.project, environment.endpoints.storage)


def open_bucket(url: str, project: str, address: str | None) -> Bucket:
    """The bucket `gs://NAME`, at Cloud Storage itself or at the local cloud's address.

    Raises MachineryError when nobody is signed in.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY
    from requests.adapters import HTTPAdapter

    try:
        client = storage.Client(
            project=project,
            credentials=AnonymousCredentials() if address else None,  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": address} if address else None,
        )
    except GoogleAuthError as error:
        fix = "gcloud auth application-default login, or use --env local"
        raise MachineryError(f"not signed in to Google Cloud: {error}", fix=fix) from None
    adapter = HTTPAdapter(pool_connections=_CONNECTIONS, pool_maxsize=_CONNECTIONS)
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, adapter)  # noqa: SLF001 - the client has no public door for it
    return Bucket(
        url=url,
        _google=client.bucket(url.removeprefix("gs://")),
        _retry=DEFAULT_RETRY.with_timeout(
            _LOCAL_PATIENCE_SECONDS if address else _PATIENCE_SECONDS
        ),
    )
