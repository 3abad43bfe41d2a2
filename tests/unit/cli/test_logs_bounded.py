"""Log files have a bound, whoever writes to them."""

from __future__ import annotations

from pathlib import Path

from deploy.local.keep_logs import bound_all


def test_a_full_log_is_emptied_in_place_and_older_ones_make_room(tmp_path: Path) -> None:
    """Its writer goes on with the same file; what is not too long is left alone."""
    (tmp_path / "short.log").write_text("short")
    with (tmp_path / "a.log").open("ab", buffering=0) as log:
        for number in range(4):
            log.write(f"{number}".encode() * 11)
            bound_all(tmp_path, bytes_max=10, kept=2)
        log.write(b"more")

    found = {path.name: path.read_text() for path in tmp_path.iterdir()}

    assert found == {
        "a.log": "more",
        "a.log.1": "3" * 11,
        "a.log.2": "2" * 11,
        "short.log": "short",
    }
