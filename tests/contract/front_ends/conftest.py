"""One engine core with both front ends, and every answer of both: asked once for all tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from libs.engine.rust_front_end import Missing
from libs.testing.chain_model import write_chain_model
from libs.testing.front_ends.all_cases import all_cases
from libs.testing.front_ends.asking import Asked, ask_both
from libs.testing.front_ends.cases import ALIAS, MODEL
from libs.testing.rust_program import rust_program
from libs.testing.two_front_ends import FrontEnds, two_front_ends

_KV_CACHE_BYTES: Final = 2**28

ARGUMENTS: Final = (
    *("--served-model-name", MODEL, ALIAS),
    *("--distributed-executor-backend", "uni", "--max-num-seqs", "8"),
    *("--max-model-len", "512", "--dtype", "float32", "--enforce-eager"),
    *("--kv-cache-memory-bytes", str(_KV_CACHE_BYTES), "--block-size", "32"),
    *("--scheduling-policy", "priority"),
)
ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session")
def front_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnds]:
    """Run both front ends over the model whose text is known."""
    if isinstance(found := rust_program(), Missing):
        pytest.skip(found.reason)
    folder = write_chain_model(tmp_path_factory.mktemp("chain"))
    arguments = ("--model", str(folder), *ARGUMENTS)
    log_file = folder / "program.log"
    with two_front_ends(arguments, log_file=log_file, environment=ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="session")
def asked(front_ends: FrontEnds) -> Mapping[str, Asked]:
    """Ask every case of both; gives them by name."""
    return ask_both(all_cases(), rust_url=front_ends.rust, python_url=front_ends.python)
