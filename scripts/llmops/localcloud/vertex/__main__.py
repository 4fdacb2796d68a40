"""`python -m llmops.localcloud.vertex --port N --state FOLDER`."""

import argparse
import json
from pathlib import Path

import uvicorn

from llmops.localcloud.vertex.app import Settings, make_app


def main() -> None:
    """Serves until it is asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--storage", default="", help="the local bucket server's address")
    parser.add_argument("--buckets", default="{}", help="JSON: project -> bucket, for logs")
    parser.add_argument("--model", default="", help="where containers ask, if not here")
    options = parser.parse_args()
    settings = Settings(
        folder=options.state,
        address=f"http://127.0.0.1:{options.port}",
        storage=options.storage,
        buckets=json.loads(options.buckets),
        model=options.model,
    )
    uvicorn.run(make_app(settings), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
