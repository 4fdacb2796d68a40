"""`python -m llmops.serving`: what the container runs. Vertex AI's AIP_* variables configure it."""

import gc
import sys
from typing import TYPE_CHECKING, Any

from llmops import config
from llmops.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops.release import Release
    from llmops.serving.answer import Answer

_GRACE_SECONDS = 25


def main() -> None:
    """Loads the bundle and serves it until SIGTERM; requests under way are answered first."""
    try:
        settings = config.container()
        _serve(settings)
    except LlmopsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _serve(settings: config.Container) -> None:
    import uvicorn

    from llmops import bundle
    from llmops.bucket import open_bucket
    from llmops.errors import MachineryError
    from llmops.serving.model import Model
    from llmops.serving.server import make_app

    url, _, digest = settings.bundle.rpartition("/releases/")
    bucket = open_bucket(url, settings.project, settings.endpoints.storage)
    found = bundle.fetch(bucket, digest.strip("/"))
    if found is None:
        raise MachineryError(f"there is no bundle at {settings.bundle}", fix="llmops release build")
    model = Model(
        project=settings.project,
        region=settings.region,
        address=settings.endpoints.vertex,
        timeout_seconds=settings.timeout_seconds,
    )
    asked = found.asked

    warm = False

    async def ask(_: "Release", variables: dict[str, Any]) -> "Answer":
        nonlocal warm
        answer = await model.answer_soon(asked, variables)
        if not warm:
            # The client makes its types in the first call. They stay: a collector that looks
            # through them again and again holds up every request for tens of milliseconds.
            warm = True
            gc.collect()
            gc.freeze()
        return answer

    app = make_app(
        found.release,
        ask,
        concurrency=settings.concurrency,
        predict_route=settings.predict_route,
        health_route=settings.health_route,
    )
    print(f"serving release {found.release.digest} on port {settings.port}", flush=True)
    uvicorn.run(
        app,
        host="0.0.0.0",  # noqa: S104 - in a container, the port is all there is
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    sys.exit(ExitCode.PASS)


if __name__ == "__main__":
    main()
