"""The official clients, built once for an environment, and what their errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmops.config import Environment
from llmops.errors import MachineryError
from llmops.vertex.lean import client_class

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import (
        EndpointServiceClient,
        ModelServiceClient,
        PredictionServiceClient,
    )

CALL_SECONDS = 60.0
"""How long one call may take; what takes longer is an operation."""


class TransientError(MachineryError):
    """It may work in a moment: too many requests, unavailable, the network, a changed etag."""


class ConflictError(TransientError):
    """Somebody else changed it meanwhile: look again."""


class GoneError(MachineryError):
    """What was there a moment ago is not there any more."""


@dataclass(frozen=True)
class Clients:
    """Clients of one environment."""

    environment: Environment

    @property
    def location(self) -> str:
        """`projects/P/locations/R`: the parent of everything."""
        return f"projects/{self.environment.project}/locations/{self.environment.region}"

    @cached_property
    def models(self) -> "ModelServiceClient":
        """The model registry."""
        made: ModelServiceClient = client_class("model_service", "ModelServiceClient")(
            **self._options
        )
        return made

    @cached_property
    def endpoints(self) -> "EndpointServiceClient":
        """Endpoints."""
        made: EndpointServiceClient = client_class("endpoint_service", "EndpointServiceClient")(
            **self._options
        )
        return made

    @cached_property
    def predictions(self) -> "PredictionServiceClient":
        """Online prediction."""
        made: PredictionServiceClient = client_class(
            "prediction_service", "PredictionServiceClient"
        )(**self._options)
        return made

    @cached_property
    def _options(self) -> dict[str, Any]:
        from google.auth.credentials import AnonymousCredentials

        address = self.environment.endpoints.vertex
        return {
            "transport": "rest",
            "credentials": AnonymousCredentials() if address else None,  # type: ignore[no-untyped-call]
            "client_options": {
                "api_endpoint": address or f"{self.environment.region}-aiplatform.googleapis.com"
            },
        }


@contextmanager
def understood(doing: str) -> Iterator[None]:
    """Turns the client's errors into ours.

    Raises TransientError where trying again may help, ConflictError where somebody else was
    faster, GoneError where the thing is not there, MachineryError for everything else.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        yield
    except (exceptions.Aborted, exceptions.Conflict) as error:
        raise ConflictError(f"{doing}: {error.message}") from None
    except exceptions.NotFound as error:
        raise GoneError(f"{doing}: {error.message}") from None
    except (
        exceptions.TooManyRequests,
        exceptions.ServiceUnavailable,
        exceptions.GatewayTimeout,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.RetryError,
        RequestException,
    ) as error:
        raise TransientError(f"{doing}: {error}") from None
    except (exceptions.Unauthenticated, GoogleAuthError) as error:
        fix = "sign in again: gcloud auth application-default login, or check the federation"
        raise MachineryError(f"{doing}: not signed in: {error}", fix=fix) from None
    except exceptions.Forbidden as error:
        raise MachineryError(
            f"{doing}: {error}", fix="llmops doctor says which right is missing"
        ) from None
    except exceptions.GoogleAPICallError as error:
        raise MachineryError(f"{doing}: {error.message}") from None
