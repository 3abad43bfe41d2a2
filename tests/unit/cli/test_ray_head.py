"""How a stack's Ray node is started, and how often one of its processes may be started again."""

from pathlib import Path

from deploy.local.ray_at_rest import AT_REST
from deploy.local.ray_head import (
    RESTARTS_MAX,
    RESTARTS_WINDOW_S,
    RayHead,
    is_ray_stop,
    may_restart,
    node_environment,
    start_command,
)

HEAD = RayHead(
    port=1,
    dashboard_port=2,
    agent_port=4,
    temp_dir=Path("/run/x/ray"),
    token_file=Path("/run/x/token"),
    object_store_bytes=5,
)


def test_a_process_that_dies_now_and_then_is_started_again() -> None:
    """Restarts that lie further back than the window are forgotten."""
    long_ago = [float(at) for at in range(100)]

    assert may_restart([], now=0.0)
    assert may_restart(long_ago, now=100.0 + RESTARTS_WINDOW_S)


def test_a_process_that_dies_again_and_again_is_given_up() -> None:
    """Then the node ends, and whoever supervises it starts a new one."""
    just_before = [10.0] * RESTARTS_MAX

    assert may_restart(just_before[1:], now=11.0)
    assert not may_restart(just_before, now=11.0)


def test_ends_that_ray_takes_for_its_own_stop_are_known() -> None:
    """Ray's own program goes on after them, with no raylet."""
    codes = (0, 15, -15, 143, 1, -9, 137)

    assert [code for code in codes if is_ray_stop(code)] == [0, 15, -15, 143]


def test_the_store_of_the_gcs_lies_beside_rays_session() -> None:
    """It goes with the run folder, and Ray's own folder holds nothing that Ray does not know."""
    environment = node_environment(HEAD)

    assert environment["RAY_gcs_storage_path"] == "/run/x/ray-gcs"
    assert environment["RAY_gcs_storage"] == "rocksdb"
    assert "deploy.local.kept_ray" in start_command(HEAD, python="python3")


def test_the_node_starts_without_what_only_polls() -> None:
    """No log monitor; the settings reach every process of the node through its environment."""
    command, environment = start_command(HEAD, python="python3"), node_environment(HEAD)

    assert "--include-log-monitor=false" in command
    assert environment.items() >= AT_REST.items()


def test_settings_for_rest_keep_failures_in_sight() -> None:
    """A dead replica and a full memory are noticed within a second, and workers outlive the GCS."""
    environment = node_environment(HEAD)

    assert float(environment["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"]) <= 1.0
    assert 0 < int(environment["RAY_memory_monitor_refresh_ms"]) <= 1000
    assert int(environment["RAY_raylet_report_resources_period_milliseconds"]) <= 1000
    assert environment["RAY_gcs_rpc_server_reconnect_timeout_s"] == "600"
    assert environment["RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS"] == "1"
    assert not any("health_check" in name for name in AT_REST)
