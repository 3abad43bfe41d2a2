"""VLLM fetches nothing that a request names by URL, unless its host is declared."""

from __future__ import annotations

import base64
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec
from libs.engine.arguments import api_server_arguments
from services.replica.adapters.vllm.host import parse_arguments

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's own, at import
    import vllm.entrypoints.launchers.cli_args  # noqa: F401 - parse_arguments imports it
    from PIL import Image
    from vllm.multimodal.media import MediaConnector


def picture() -> bytes:
    """Return a small PNG file."""
    written = io.BytesIO()
    Image.new("RGB", (2, 2)).save(written, "PNG")
    return written.getvalue()


class _Pictures(BaseHTTPRequestHandler):
    """Answers every request with a picture."""

    def do_GET(self) -> None:
        """Send it."""
        body = picture()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[int]:
    """Serve pictures while the body runs; gives the port."""
    with HTTPServer(("127.0.0.1", 0), _Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def connector(*domains: str) -> MediaConnector:
    """Return vLLM's own, as an engine with these arguments makes it."""
    engine = EngineSpec(media_domains=domains)
    spec = ModelSpec(name=ModelName("m"), source="m", device=Device.CUDA, engine=engine)
    parsed = parse_arguments(api_server_arguments(spec, model="m"))
    return MediaConnector(
        allowed_local_media_path=parsed.allowed_local_media_path,
        allowed_media_domains=parsed.allowed_media_domains,
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433"]
)
@pytest.mark.parametrize("domains", [(), ("images.example.org",)])
def test_no_other_host_is_asked(host: str, domains: tuple[str, ...]) -> None:
    """A tenant would reach what only the replica can."""
    with pytest.raises(ValueError, match="allowed domains"):
        connector(*domains).fetch_image(f"http://{host}/image.png")


def test_a_declared_host_is_asked_and_answers() -> None:
    """By the name that models.yaml has."""
    with serving() as port:
        found = connector("127.0.0.1").fetch_image(f"http://127.0.0.1:{port}/image.png")

    assert found is not None


def test_no_file_of_the_replica_is_read() -> None:
    """Whatever its path."""
    with pytest.raises(RuntimeError, match="local files"):
        connector().fetch_image("file:///etc/hostname")


def test_a_data_url_is_the_requests_own() -> None:
    """It fetches nothing."""
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"

    assert connector().fetch_image(url) is not None
