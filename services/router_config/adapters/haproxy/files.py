"""The state directory: the files from which a HAProxy starts and serves without anybody's help."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from libs.contracts.lease import UnixEndpoint
from libs.haproxy.config import (
    BASE_FILE,
    FAILING_MAP,
    LISTING_MAP,
    MODELS_MAP,
    POOLS_FILE,
    TENANTS_MAP,
    EdgeConfig,
    config_digest,
    render_base,
    render_map,
    render_pools,
    render_scripts,
)
from libs.telemetry.logging import get_logger
from services.router_config.adapters.haproxy.access_codec import access_entries, read_access
from services.router_config.adapters.haproxy.blocked_codec import blocked_entries
from services.router_config.adapters.haproxy.codec import (
    EDITS_MAX,
    REPLACED_NAMES_MAX,
    edited_map,
    listing_entries,
    pool_configs,
    read_addresses,
    route_entries,
)
from services.router_config.adapters.haproxy.whole_file import replace_file
from services.router_config.domain.access import Access, KeysOnly
from services.router_config.domain.desire import listing
from services.router_config.domain.model import Routes, ServerKey
from services.router_config.domain.reload import Build
from services.router_config.domain.route_changes import route_changes
from services.router_config.ports import Counters, SavedRouting

COUNTERS_FILE: Final = "counters.json"

_log = get_logger(__name__)

_COUNTERS: Final = TypeAdapter(Counters)


class StateFiles:
    """Reads and writes one state directory; every file is replaced whole.

    What cannot be written, on a full disk for one, ends nothing: it is `trouble`.
    """

    def __init__(self, directory: Path, *, pools_per_kind: int) -> None:
        """Use a directory that may not exist yet; it never gets fewer pools than it had."""
        self._directory = directory
        self._wanted: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._config = ""
        self._scripts: frozenset[str] = frozenset()
        self._saved: tuple[SavedRouting, int] | None = None
        self._counters = self._load(pools_per_kind)
        if self._counters.pools_per_kind < pools_per_kind:
            self._counters = replace(self._counters, pools_per_kind=pools_per_kind)

    def counters(self) -> Counters:
        """Return the counters."""
        return self._counters

    def admits_tenants(self) -> bool:
        """Whether somebody had a key when it was last saved."""
        access = self._access()
        return isinstance(access, KeysOnly) and bool(access.grants)

    def addresses(self) -> dict[ServerKey, UnixEndpoint]:
        """Return the unix sockets of the servers that were last saved."""
        return read_addresses(self._read(POOLS_FILE) or "")

    @property
    def trouble(self) -> str:
        """Which files cannot be written, and why; empty when all are as they should be."""
        reasons = sorted(set(self._troubles.values()))
        return f"{', '.join(sorted(self._troubles))}: {', '.join(reasons)}" if reasons else ""

    def build(self) -> Build | None:
        """Return what a start would give; None while it is not what it should be."""
        if {BASE_FILE, POOLS_FILE, *self._scripts} & self._troubles.keys():
            return None
        return Build(config=self._config, pools_per_kind=self._counters.pools_per_kind)

    def prepare(self, config: EdgeConfig) -> None:
        """Make everything that a start needs; what cannot be written now is tried again later."""
        scripts = render_scripts(config)
        self._config, self._scripts = config_digest(config), frozenset(scripts)
        for name, text in {BASE_FILE: render_base(config), **scripts}.items():
            self._write(name, text)
        if self._read(POOLS_FILE) is None or self._read(MODELS_MAP) is None:
            nothing = SavedRouting(
                servers=(), routes=Routes(), listing=listing(Routes()), access=self._access()
            )
            self.save(nothing, self._counters)
        else:
            self._write_access(self._access())
            self._write(FAILING_MAP, self._read(FAILING_MAP) or "")
            self._add_pools()

    def restore(self) -> None:
        """Write again every file that was removed or could not be written before.

        A HAProxy may start from them any time.
        """
        lost = [name for name in self._written if not (self._directory / name).exists()]
        if lost:
            _log.warning("state_files_lost", files=lost)
        for name in lost:
            del self._written[name]
        for name in dict.fromkeys((*lost, *self._troubles)):
            self._write(name, self._wanted[name])

    def save(self, routing: SavedRouting, counters: Counters) -> None:
        """Write routing and counters; what stays the same is not written again."""
        before, pools_before = self._saved or (None, None)
        if before is None or routing.routes != before.routes:
            self._write(MODELS_MAP, self._routes_text(routing.routes, before))
        if before is None or routing.listing != before.listing:
            self._write(LISTING_MAP, render_map(listing_entries(routing.listing)))
        if before is None or routing.access != before.access:
            self._write_access(routing.access)
        if before is None or routing.blocked != before.blocked:
            self._write(FAILING_MAP, render_map(blocked_entries(routing.blocked)))
        if before is None or (routing.servers, counters.pools_per_kind) != (
            before.servers,
            pools_before,
        ):
            pools = pool_configs(routing.servers, pools_per_kind=counters.pools_per_kind)
            self._write(POOLS_FILE, render_pools(pools))
        self._saved = (routing, counters.pools_per_kind)
        self._counters = counters
        self._write(COUNTERS_FILE, _COUNTERS.dump_json(counters).decode())

    def _routes_text(self, routes: Routes, before: SavedRouting | None) -> str:
        """Render routes; where few of many names differ, by changing what was written before."""
        text = self._wanted.get(MODELS_MAP)
        if before is not None and text is not None and len(routes) > REPLACED_NAMES_MAX:
            changes = route_changes(before.routes, routes, at_most=EDITS_MAX)
            if changes is not None:
                return edited_map(text, before.routes, changes)
        return render_map(route_entries(routes))

    def save_counters(self, counters: Counters) -> None:
        """Write the counters, and the pools again if their number changed."""
        if self._saved is None:
            self._counters = counters
            self._write(COUNTERS_FILE, _COUNTERS.dump_json(counters).decode())
        else:
            self.save(self._saved[0], counters)

    def _add_pools(self) -> None:
        """Append the pools that the file does not have yet; those that it has keep their place."""
        text = self._read(POOLS_FILE) or ""
        every = render_pools(pool_configs((), pools_per_kind=self._counters.pools_per_kind))
        missing = [pool for pool in _backends(every) if _heading(pool) not in text]
        if missing:
            self._write(POOLS_FILE, "\n".join((text, *missing)))

    def _access(self) -> Access | None:
        """Return who may ask as last saved; None where nothing was."""
        rows = (line.partition(" ") for line in (self._read(TENANTS_MAP) or "").splitlines())
        return read_access(tuple((key, value) for key, _, value in rows)).access

    def _write_access(self, access: Access | None) -> None:
        self._write(TENANTS_MAP, render_map(access_entries(access)))

    def _load(self, pools_per_kind: int) -> Counters:
        text = self._read(COUNTERS_FILE)
        if text is None:
            return Counters(pools_per_kind=pools_per_kind)
        try:
            return _COUNTERS.validate_json(text)
        except ValidationError:
            return Counters(pools_per_kind=pools_per_kind)

    def _read(self, name: str) -> str | None:
        """Read a file; None where it is missing or HAProxy could not start from it."""
        try:
            return (self._directory / name).read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole; where that fails, what was there stays, and `restore` tries again.

        HAProxy has what it needs in memory, so no file is worth an end of its management.
        """
        self._wanted[name] = text
        if self._written.get(name) == text:
            self._troubles.pop(name, None)
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._directory / name, text.encode())
        except OSError as error:
            self._note_trouble(name, error)
            return
        self._written[name] = text
        self._troubles.pop(name, None)

    def _note_trouble(self, name: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        if self._troubles.get(name) != reason:
            _log.error("state_file_not_written", file=name, reason=reason)
        self._troubles[name] = reason


def _backends(pools: str) -> list[str]:
    """Cut what `render_pools` wrote into its backends."""
    return [
        f"{backend.rstrip()}\n"
        for backend in re.split(r"^(?=backend )", pools, flags=re.MULTILINE)
        if backend
    ]


def _heading(backend: str) -> str:
    """Return what begins a backend: a word, its name and a space."""
    return " ".join(backend.split(maxsplit=2)[:2]) + " "
