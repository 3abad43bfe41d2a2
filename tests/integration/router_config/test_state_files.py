"""The state directory: what a restarted HAProxy will find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from libs.contracts.ids import TenantName
from libs.contracts.tenant import key_hash
from libs.haproxy.config import EdgeConfig
from libs.haproxy.hold import HoldLimits
from services.router_config.adapters.haproxy.files import StateFiles
from services.router_config.domain.access import Grant, KeysOnly
from services.router_config.domain.model import Routes
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

    changed = files.prepare(a_config(tmp_path))

    assert changed is False
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

    again = StateFiles(tmp_path, pools_per_kind=1).prepare(config)
    script.write_text("-- an older one")
    changed = StateFiles(tmp_path, pools_per_kind=1).prepare(config)

    assert (again, changed) == (False, True)
    assert script.read_text() == text


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


def test_another_configuration_is_noticed_once(tmp_path: Path) -> None:
    """The HAProxy that runs was started from the former one."""
    config = a_config(tmp_path)
    StateFiles(tmp_path, pools_per_kind=1).prepare(config)

    again = StateFiles(tmp_path, pools_per_kind=1).prepare(config)
    changed = StateFiles(tmp_path, pools_per_kind=1).prepare(replace(config, port=9090))

    assert (again, changed) == (False, True)


def test_more_pools_are_appended_and_fewer_are_not_taken_away(tmp_path: Path) -> None:
    """A pool that is in use keeps its place."""
    StateFiles(tmp_path, pools_per_kind=2).prepare(a_config(tmp_path))

    grown = StateFiles(tmp_path, pools_per_kind=3)
    changed = grown.prepare(a_config(tmp_path))
    grown.save_counters(grown.counters())
    shrunk = StateFiles(tmp_path, pools_per_kind=1)
    shrunk.prepare(a_config(tmp_path))

    text = (tmp_path / "pools.cfg").read_text()
    assert changed is True
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
