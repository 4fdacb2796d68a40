"""`python -m llmops.localcloud.github --port N --state DIR --styles DIR`."""

import argparse
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops.localcloud.github.api import Api
from llmops.localcloud.github.pages import Pages
from llmops.localcloud.github.releases import Releases
from llmops.localcloud.github.store import Store
from llmops.localcloud.github.wire import RefusalError


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refuse(_: Request, refusal: Exception) -> Response:
    if isinstance(refusal, RefusalError):
        return refusal.response
    return JSONResponse({"message": "Not Found"}, 404)


def make_app(state: Path, styles: Path) -> Starlette:
    """The application: API and pages over the state folder."""
    store = Store(state)
    api = Api(store)
    served = (*api.routes(), *Releases(store, api).routes(), *Pages(store, styles).routes())
    return Starlette(
        routes=[Route("/healthz", _healthy), *served],
        exception_handlers={RefusalError: _refuse, 404: _refuse},
    )


def main() -> None:
    """Serves until it is asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--styles", type=Path, required=True, help="github-markdown-css's folder")
    options = parser.parse_args()
    app = make_app(options.state, options.styles)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
