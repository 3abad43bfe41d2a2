"""What a model cannot do is refused as OpenAI would."""

import json

from fastapi import FastAPI
from starlette.testclient import TestClient

from services.replica.adapters.http.missing_routes import shape_missing_routes


def test_a_path_without_a_handler_has_openais_error_shape() -> None:
    """Also when the application built its middleware before, as vLLM's has."""
    app = FastAPI()
    app.middleware_stack = app.build_middleware_stack()

    shape_missing_routes(app.router)
    reply = TestClient(app).post("/v1/embeddings", json={})

    assert reply.status_code == 404
    assert json.loads(reply.content)["error"] == {
        "message": "This model does not support /v1/embeddings.",
        "type": "invalid_request_error",
        "param": None,
        "code": 404,
    }
