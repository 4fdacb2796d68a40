"""A custom container: answers with its version, slowly where it is asked to, dies on request."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200 if self.path == os.environ["AIP_HEALTH_ROUTE"] else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for instance in body["instances"]:
            if instance == "die":
                os._exit(1)
            if isinstance(instance, dict):
                time.sleep(instance["sleep"])
        name = os.environ["NAME"]
        self._answer(
            200, {"predictions": [{"by": name, "pid": os.getpid()}] * len(body["instances"])}
        )

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


if os.environ.get("NAME") == "broken":
    raise SystemExit("this container cannot start")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["AIP_HTTP_PORT"])), Handler).serve_forever()
