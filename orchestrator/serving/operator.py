"""The operator's page: /metrics, /livez and /readyz, served by threads of its own.

Threads, because they must still answer while the node's event loop stands still.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from orchestrator.core.errors import SettingsError
from orchestrator.serving.access.access import Access
from orchestrator.serving.node import Node
from orchestrator.serving.watchdog import Watchdog
from orchestrator.wire.security import join_address

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_log = logging.getLogger("isthmus.node")


class OperatorPage:
    """Serves a node's health and metrics over HTTP.

    Args:
        node: The node.
        watchdog: Knows whether its loop turns.
        host: Where to listen.
        port: The port; 0 takes a free one.
        access: Who may read metrics; None lets everyone.

    Raises:
        SettingsError: The port is taken.
    """

    def __init__(
        self,
        node: Node,
        watchdog: Watchdog,
        host: str,
        port: int,
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._node = node
        self._watchdog = watchdog
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer one request."""
                status, kind, text = page.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: object) -> None:
                """Keep probes out of the log."""

        class Listener(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Listener((host.strip("[]"), port), Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot serve metrics on {join_address(host, port)}: {error.strerror}; give "
                "another --metrics-port"
            ) from error
        self.port = int(self._server.server_address[1])
        self.address = join_address(host, self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        _log.info("node %s shows /metrics on %s", self._node.name, self.address)

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, authorization: str = "") -> tuple[int, str, bytes]:
        """Return status, content type and body for a path."""
        plain = "text/plain; charset=utf-8"
        if path == "/metrics" and self._access and not self._access.reads_metrics(authorization):
            return 401, plain, b"give a bearer token of somebody who may read metrics\n"
        if path == "/metrics":
            from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

            return 200, CONTENT_TYPE_LATEST, generate_latest(_Collected(self))
        if path == "/livez":
            return 200, plain, b"alive\n"
        if path in ("/readyz", "/healthz"):
            state = self._state
            return (200 if state == "ready" else 503), plain, f"{state}\n".encode()
        return 404, plain, b"try /metrics, /readyz or /livez\n"

    @property
    def _state(self) -> str:
        """The node's state; the node itself cannot say that its loop stands still."""
        state = self._node.state
        return "blocked" if state == "ready" and self._watchdog.blocked else state

    def families(self) -> "Iterator[Metric]":
        """Yield all metrics of the node."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield from self._node.metrics.families()
        yield from self._node.audit.metrics()
        ready = self._state == "ready"
        yield GaugeMetricFamily("isthmus_ready", "Whether calls are taken.", value=ready)
        inside = self._node.admission.inside
        yield GaugeMetricFamily("isthmus_requests_in_progress", "Calls in the node.", value=inside)
        lag = self._watchdog.lag
        yield GaugeMetricFamily("isthmus_loop_lag_seconds", "How late the loop is.", value=lag)
        depth = GaugeMetricFamily("isthmus_queue_depth", "Rows that wait.", labels=["model"])
        batches = CounterMetricFamily("isthmus_batches", "Runs of a model.", labels=["model"])
        rows = CounterMetricFamily("isthmus_batch_rows", "Rows in these runs.", labels=["model"])
        for name, batcher in self._node.pool.batchers.items():
            depth.add_metric([name], batcher.waiting)
            batches.add_metric([name], batcher.batches)
            rows.add_metric([name], batcher.rows)
        yield from (depth, batches, rows)


class _Collected:
    """What prometheus_client takes for a registry: something that collects."""

    def __init__(self, page: OperatorPage) -> None:
        self._page = page

    def collect(self) -> "Iterator[Metric]":
        """Yield what stands at this moment."""
        return self._page.families()
