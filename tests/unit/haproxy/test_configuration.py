"""The configuration as text; how HAProxy acts on it is tested against the real one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import (
    CIPHERS,
    Balance,
    EdgeConfig,
    PoolConfig,
    render_base,
    render_map,
    render_pools,
    render_scripts,
)
from libs.haproxy.hold import HoldLimits
from libs.haproxy.replies import http_errors

CONFIG = EdgeConfig(
    admin_socket=Path("/run/s/admin.sock"),
    span_socket=Path("/run/s/span.sock"),
    host="127.0.0.1",
    port=8080,
    stats_port=9090,
)


def test_every_placeholder_is_filled() -> None:
    """Nothing in angle brackets is left, in messages neither."""
    text = render_base(CONFIG)

    assert not re.search(r"<[a-z_:]+>", text)
    assert "larger than 8388608 bytes" in text


def test_the_admin_socket_is_for_its_owner_alone() -> None:
    """Whoever can write to it owns the proxy."""
    assert 'stats socket "/run/s/admin.sock" mode 600 level admin' in render_base(CONFIG)


def test_tls_comes_from_the_file_beside_the_configuration() -> None:
    """HAProxy finds it in the directory from which it starts; without TLS nothing names it."""
    tls = f"ssl crt certificate.pem ssl-min-ver TLSv1.2 ciphers {CIPHERS} alpn h2,http/1.1"
    bind = f"bind 127.0.0.1:8080 {tls}\n"

    assert bind in render_base(replace(CONFIG, encrypted=True))
    assert "bind 127.0.0.1:8080\n" in render_base(CONFIG)


def test_beyond_loopback_no_request_is_let_in_without_a_key() -> None:
    """Whatever the map of tenants says, by a person's hand or after an accident."""
    beyond = render_base(replace(CONFIG, host="0.0.0.0"))  # noqa: S104 - rendered, not bound

    assert "unless { always_false } or { var(txn.grant) -m found }" in beyond
    assert "var(txn.access) -m str open" not in beyond
    assert "var(txn.access) -m str open" in render_base(CONFIG)


def test_tokens_are_not_held_back_and_lost_clients_are_told() -> None:
    """Both options are what streaming depends on."""
    text = render_base(CONFIG)

    assert "option http-no-delay" in text
    assert "option abortonclose" in text


def test_a_prompt_is_never_run_twice() -> None:
    """Only what no replica has seen is tried again."""
    text = render_base(CONFIG)

    assert "retry-on conn-failure empty-response" in text
    assert "response-timeout" not in text


def test_settings_reach_the_text() -> None:
    """Each setting stands where HAProxy reads it."""
    text = render_base(replace(CONFIG, queue_timeout_s=3, trace_ratio=0.25, threads=4))

    assert "timeout queue 3s" in text
    assert "rand(1000000) lt 250000" in text
    assert "nbthread 4" in text


def test_holding_is_one_rule_that_steady_state_never_meets() -> None:
    """Lua is entered only where the pool has no usable server; without limits not at all."""
    limits = HoldLimits(timeout_s=120, pool_max=128, all_max=512, large_max=8)
    holding, refusing = replace(CONFIG, holds=limits), CONFIG

    lines = (line.strip() for line in render_base(holding).splitlines())
    rules = list(dict.fromkeys(line for line in lines if "lua" in line))

    assert rules == [
        "lua-load hold.lua 120 128 512 8 failing.map",
        "tune.lua.forced-yield 1000000",
        "tune.lua.log.stderr off",
        "http-request lua.hold if { nbsrv eq 0 } !{ var(txn.failing) -m found }",
    ]
    assert render_scripts(holding).keys() == {"hold.lua"}
    assert "lua" not in render_base(refusing)
    assert render_scripts(refusing) == {}


def test_without_a_stats_port_nobody_listens_for_metrics() -> None:
    """Metrics are opt-in."""
    assert "frontend stats" not in render_base(replace(CONFIG, stats_port=None))


def test_the_api_does_not_depend_on_where_errors_come_from() -> None:
    """Each error that HAProxy itself may report has a body in OpenAI's shape."""
    text = render_base(CONFIG)

    for status in (400, 403, 408, 413, 500, 502, 503, 504):
        assert f"http-error status {status} content-type application/json" in text
    assert '"code":"no_replica_available"' in text


def test_pools_choose_in_their_own_way() -> None:
    """A prefix pool hashes consistently and spills a hot key; its twin does the same."""
    text = render_pools(
        (
            PoolConfig(name="lc0", balance=Balance.LEAST_LOADED),
            PoolConfig(name="px0", balance=Balance.PREFIX),
        )
    )

    prefix = (
        "    balance hash var(txn.affinity)\n"
        "    hash-type consistent\n    hash-balance-factor 200\n"
    )
    assert text == (
        "backend lc0 from pool\n    balance leastconn\n\n"
        "backend lc0-py from twin\n    balance leastconn\n\n"
        f"backend px0 from pool\n{prefix}\n"
        f"backend px0-py from twin\n{prefix}"
    )


def test_a_server_on_disk_says_what_it_says_at_runtime() -> None:
    """A HAProxy that starts alone checks and limits its servers the same way."""
    spec = ServerSpec(name="r1.aa", number=7, address="127.0.0.1:1", weight=16, maxconn=8)

    text = render_pools((PoolConfig(name="lc0", balance=Balance.LEAST_LOADED, servers=(spec,)),))

    assert f"    server r1.aa {spec.keywords()}\n" in text


def test_a_map_file_has_one_entry_in_each_line() -> None:
    """As HAProxy reads it."""
    assert render_map((("a", "lc0:a"), ("b", "lc1:b"))) == "a lc0:a\nb lc1:b\n"


def test_every_error_that_can_be_configured_has_openai_s_shape() -> None:
    """Which these are a HAProxy says itself; 200 answers a monitor, of which there is none."""
    codes = {reply.status for reply in http_errors(retry_after_s=1)}

    assert codes == {400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429} | set(
        range(500, 505)
    )
