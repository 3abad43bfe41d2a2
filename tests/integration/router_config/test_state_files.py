"""The state directory: what a restarted HAProxy will find."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from libs.contracts.ids import TenantName
from libs.contracts.tenant import key_hash
from libs.haproxy.config import EdgeConfig, config_digest
from libs.haproxy.hold import HoldLimits
from services.router_config.adapters.haproxy.files import StateFiles
from services.router_config.domain.access import Grant, KeysOnly
from services.router_config.domain.model import Routes
from services.router_config.domain.reload import Build
from services.router_config.ports import SavedRouting


def a_config(folder: Path) -> EdgeConfig:
    """Return a configuration that no test is about."""
    return EdgeConfig(
        admin_socket=folder / "admin.sock",
        span_socket=folder / "span.sock",
        host="127.0.0.1",
        port=8080,
        stats_port=None,
    )


def test_a_new_directory_has_everything_that_a_start_needs(tmp_path: Path) -> None:
    """Even before any model is known."""
    files = StateFiles(tmp_path / "state", pools_per_kind=1)

    files.prepare(a_config(tmp_path))

    assert files.trouble == ""
    assert {path.name for path in (tmp_path / "state").iterdir()} == {
        "base.cfg",
        "pools.cfg",
        "models.map",
        "listing.map",
        "tenants.map",
        "failing.map",
        "counters.json",
    }


def test_a_script_is_part_of_what_a_start_needs(tmp_path: Path) -> None:
    """And another script is another configuration, whatever the rest says."""
    config = replace(
        a_config(tmp_path), holds=HoldLimits(timeout_s=1, pool_max=1, all_max=1, large_max=0)
    )
    StateFiles(tmp_path, pools_per_kind=1).prepare(config)
    script = tmp_path / "hold.lua"
    text = script.read_text()
    script.write_text("-- an older one")

    StateFiles(tmp_path, pools_per_kind=1).prepare(config)

    others = replace(config, holds=replace(config.holds, pool_max=2) if config.holds else None)
    assert script.read_text() == text
    assert config_digest(config) != config_digest(a_config(tmp_path)) != config_digest(others)


def test_a_directory_of_an_older_version_gets_what_it_lacks(tmp_path: Path) -> None:
    """HAProxy does not start without every map; what stands in one stays."""
    StateFiles(tmp_path, pools_per_kind=1).prepare(a_config(tmp_path))
    failing = tmp_path / "failing.map"
    failing.unlink()

    StateFiles(tmp_path, pools_per_kind=1).prepare(a_config(tmp_path))
    made = failing.read_text()
    failing.write_text("lc0 0:no such file\n")
    StateFiles(tmp_path, pools_per_kind=1).prepare(a_config(tmp_path))

    assert made == ""
    assert failing.read_text() == "lc0 0:no such file\n"


def test_counters_outlive_the_program(tmp_path: Path) -> None:
    """The revision never goes back."""
    files = StateFiles(tmp_path, pools_per_kind=1)
    files.prepare(a_config(tmp_path))
    files.save_counters(replace(files.counters(), revision=41, reloads=2))

    found = StateFiles(tmp_path, pools_per_kind=1).counters()

    assert (found.revision, found.reloads) == (41, 2)


def test_a_broken_counters_file_starts_from_nothing(tmp_path: Path) -> None:
    """Counters are no reason not to serve."""
    (tmp_path / "counters.json").write_text("{")

    assert StateFiles(tmp_path, pools_per_kind=3).counters().revision == 0


def test_a_start_gives_what_the_configuration_says(tmp_path: Path) -> None:
    """What runs is compared with it, whoever wrote the files and whatever ended since."""
    config = a_config(tmp_path)
    files = StateFiles(tmp_path, pools_per_kind=1)
    files.prepare(config)

    digest = config_digest(config)
    assert files.build() == Build(config=digest, pools_per_kind=1)
    assert f'description "{digest}"' in (tmp_path / "base.cfg").read_text()
    assert config_digest(replace(config, port=9090)) != digest


def test_a_full_disk_leaves_every_file_as_it_was(tmp_path: Path) -> None:
    """Nothing half-written; said in one line, and written as soon as there is room."""
    config = a_config(tmp_path)
    StateFiles(tmp_path, pools_per_kind=1).prepare(config)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files = StateFiles(tmp_path, pools_per_kind=2)
    closed = KeysOnly(grants={key_hash("sk-a"): Grant(tenant=TenantName("acme"))})
    routing = SavedRouting(servers=(), routes=Routes(), listing="[]", access=closed)

    with full_disk():
        files.prepare(replace(config, port=9090))
        files.save(routing, files.counters())
        files.restore()
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        trouble, build = files.trouble, files.build()
    files.restore()

    assert after == before
    assert trouble == "base.cfg, counters.json, listing.map, pools.cfg, tenants.map: File too large"
    assert build is None
    assert files.trouble == ""
    assert files.build() == Build(
        config=config_digest(replace(config, port=9090)), pools_per_kind=2
    )
    assert key_hash("sk-a") in (tmp_path / "tenants.map").read_text()


def test_files_that_nobody_can_read_are_written_again(tmp_path: Path) -> None:
    """A damaged disk is no reason not to serve."""
    config = a_config(tmp_path)
    StateFiles(tmp_path, pools_per_kind=1).prepare(config)
    for name in ("pools.cfg", "models.map", "counters.json", "tenants.map"):
        (tmp_path / name).write_bytes(b"\xff\xfe\0")

    files = StateFiles(tmp_path, pools_per_kind=1)
    files.prepare(config)

    assert files.trouble == ""
    assert "backend lc0 " in (tmp_path / "pools.cfg").read_text()


@contextmanager
def full_disk() -> Iterator[None]:
    """Have the kernel refuse every write to a file of this process while the body runs.

    What tests print goes to a file as well, so log lines are kept in memory.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with capture_logs():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_more_pools_are_appended_and_fewer_are_not_taken_away(tmp_path: Path) -> None:
    """A pool that is in use keeps its place."""
    StateFiles(tmp_path, pools_per_kind=2).prepare(a_config(tmp_path))

    grown = StateFiles(tmp_path, pools_per_kind=3)
    grown.prepare(a_config(tmp_path))
    grown.save_counters(grown.counters())
    shrunk = StateFiles(tmp_path, pools_per_kind=1)
    shrunk.prepare(a_config(tmp_path))

    text = (tmp_path / "pools.cfg").read_text()
    assert grown.counters().pools_per_kind == 3
    assert shrunk.counters().pools_per_kind == 3
    assert [f"backend {name} " in text for name in ("lc0", "lc2", "px2", "lc3")] == [
        *(True, True, True),
        False,
    ]


def test_pools_of_an_earlier_release_get_their_twins(tmp_path: Path) -> None:
    """Nothing stands twice in the file: HAProxy would not start with it."""
    StateFiles(tmp_path, pools_per_kind=2).prepare(a_config(tmp_path))
    file = tmp_path / "pools.cfg"
    pools = file.read_text().split("\n\n")
    file.write_text("\n\n".join(pool for pool in pools if "-py " not in pool))

    StateFiles(tmp_path, pools_per_kind=2).prepare(a_config(tmp_path))

    headings = [line for line in file.read_text().splitlines() if line.startswith("backend ")]
    assert len(headings) == len(set(headings)) == 8


def test_what_stays_the_same_is_not_written_again(tmp_path: Path) -> None:
    """A look once a second must not wear a disk."""
    files = StateFiles(tmp_path, pools_per_kind=1)
    files.prepare(a_config(tmp_path))
    routing = SavedRouting(servers=(), routes=Routes(), listing="", access=None)
    files.save(routing, files.counters())
    before = (tmp_path / "pools.cfg").stat().st_ino

    files.save(routing, files.counters())

    assert (tmp_path / "pools.cfg").stat().st_ino == before


def test_who_may_ask_outlives_the_program_and_a_lost_file_beside_it(tmp_path: Path) -> None:
    """A HAProxy that starts from the files alone is open to nobody who was not let in."""
    closed = KeysOnly(grants={key_hash("sk-a"): Grant(tenant=TenantName("acme"))})
    files = StateFiles(tmp_path, pools_per_kind=1)
    files.prepare(a_config(tmp_path))
    routing = SavedRouting(servers=(), routes=Routes(), listing="", access=closed)
    files.save(routing, files.counters())
    before = (tmp_path / "tenants.map").read_text()
    (tmp_path / "models.map").unlink()

    StateFiles(tmp_path, pools_per_kind=1).prepare(a_config(tmp_path))

    assert before == f"access keys\n{key_hash('sk-a')} acme:0:0:0\n"
    assert (tmp_path / "tenants.map").read_text() == before
