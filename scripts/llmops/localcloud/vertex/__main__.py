"""`python -m llmops.localcloud.vertex --port N`."""

import argparse

import uvicorn

from llmops.localcloud.vertex.app import make_app
from llmops.localcloud.vertex.weights import SmallModel


def main() -> None:
    """Serves until it is asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(make_app(SmallModel()), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
