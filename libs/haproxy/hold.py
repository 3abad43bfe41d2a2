"""Holding requests whose pool has no usable server: a Lua action, because rules cannot wait.

A held request looks every few milliseconds whether its pool has a server, and goes on as soon as
it has. Whoever finds the limits reached, waits too long, or is in a HAProxy that is being replaced
goes on as well, and gets the answer of an empty pool: 503 with Retry-After.

HAProxy ends a held request without another word to Lua when it sees that its client has gone. So no
request need count itself out: each says at every look that it is still there, and one that falls
silent stops counting. While it waits HAProxy does not always listen to the client; one that it did
not see leave counts until its hold ends, and then no server works for it either.

Nothing is held for a model that is known to fail. Its pool is in a map, which a request looks into
before it is held and at every look while it is: what it finds there stands in `txn.failing`, and
the pool's own rules answer.

A pool and its twin are one pool here: a request waits for a server of the backend that it was sent
to, and is counted under the main pool's name, so that any held request wakes the model.

The script also answers `show holds` on the admin socket, and writes one line to the global log
when a pool's first request is held and when its last one goes on. The line only wakes; the numbers
are read. Source: HAProxy 2.8, Lua API; ADR 0007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOLD_FILE: Final = "hold.lua"

HELD_LINE: Final = "held "
"""What begins the line in the global log; the pool's name follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLimits:
    """How many requests are held, and for how long; whatever is beyond gets 503 at once.

    Attributes:
        timeout_s: the longest hold, in seconds.
        pool_max: requests held for one pool.
        all_max: requests held for all pools together.
        large_max: those of them whose body came through the body reader, which has few places
            for all models; 0 holds none.
    """

    timeout_s: int
    pool_max: int
    all_max: int
    large_max: int


HOLD_SCRIPT: Final = """\
local limits = table.pack(...)
local TIMEOUT_MS = tonumber(limits[1]) * 1000
local POOL_MAX, ALL_MAX, LARGE_MAX = tonumber(limits[2]), tonumber(limits[3]), tonumber(limits[4])
local failing = Map.new(limits[5], Map._str)
local LOOK_MS, COUNT_MS, SILENT_MS, STOPPING_MS, TELL_MS = 25, 50, 500, 500, 1000

local alive = {}   -- by pool: its holds by number, each with when it was last heard of, in ms
local held = {}    -- by pool: how many requests are held
local held_in_all, held_large, last_number, counted_at = 0, 0, 0, 0
local begun_at, ended_at = {}, {} -- by pool: when its last line was written, in ms
local stopping = false

local function now_ms()
    local now = core.now()
    return now.sec * 1000 + now.usec // 1000
end

local function count(now)
    if now - counted_at < COUNT_MS then return end
    counted_at, held_in_all, held_large = now, 0, 0
    for pool, holds in pairs(alive) do
        local found = 0
        for number, hold in pairs(holds) do
            if now - hold.heard > SILENT_MS then
                holds[number] = nil
            else
                found = found + 1
                held_large = held_large + hold.large
            end
        end
        held[pool] = found
        held_in_all = held_in_all + found
    end
end

-- A client that begins and ends holds in a loop writes two lines a second; the rest is read anyway.
local function tell(told_at, pool, now)
    if now - (told_at[pool] or 0) < TELL_MS then return end
    told_at[pool] = now
    core.Info("held " .. pool)
end

local function admit(pool, now, large)
    count(now)
    local found = held[pool] or 0
    if stopping or found >= POOL_MAX or held_in_all >= ALL_MAX then return nil end
    if large == 1 and held_large >= LARGE_MAX then return nil end
    last_number = last_number + 1
    alive[pool] = alive[pool] or {}
    alive[pool][last_number] = { heard = now, large = large }
    held[pool], held_in_all, held_large = found + 1, held_in_all + 1, held_large + large
    return last_number
end

local function release(pool, number)
    local hold = alive[pool][number]
    if hold == nil then return end
    alive[pool][number] = nil
    held[pool], held_in_all = held[pool] - 1, held_in_all - 1
    held_large = held_large - hold.large
end

core.register_action("hold", { "http-req" }, function(txn)
    local pool, backend = txn:get_var("txn.pool"), txn.f:be_name()
    local large = txn:get_var("txn.large") and 1 or 0
    local began = now_ms()
    local number = admit(pool, began, large)
    if number == nil then return end
    if held[pool] == 1 then tell(begun_at, pool, began) end
    local hold, now, why = alive[pool][number], nil, nil
    repeat
        core.msleep(LOOK_MS)
        now = now_ms()
        hold.heard = now
        alive[pool][number] = hold
        txn:set_var("txn.held_ms", now - began)
        why = failing:lookup(pool)
    until why or stopping or now - began >= TIMEOUT_MS or tonumber(txn.c:nbsrv(backend)) > 0
    if why then txn:set_var("txn.failing", why) end
    release(pool, number)
    if held[pool] == 0 then tell(ended_at, pool, now) end
end, 0)

core.register_cli({ "show", "holds" }, "show holds: requests held, by pool", function(applet)
    count(now_ms())
    local lines = { "# pool held" }
    for pool, found in pairs(held) do
        if found > 0 then lines[#lines + 1] = pool .. " " .. found end
    end
    applet:send(table.concat(lines, "\\n") .. "\\n")
end)

-- A HAProxy that is being replaced hears of no server any more.
core.register_task(function()
    while not stopping do
        core.msleep(STOPPING_MS)
        stopping = held_in_all > 0 and tonumber(core.get_info().Stopping) == 1
    end
end)
"""


def hold_load(limits: HoldLimits, *, failing_map: str) -> str:
    """Render what loads the script; its yields are its own, so none is forced within a count.

    `failing_map` is the file of the map of pools whose requests are not held.
    """
    return (
        f"lua-load {HOLD_FILE} {limits.timeout_s} {limits.pool_max} {limits.all_max}"
        f" {limits.large_max} {failing_map}\n"
        "    tune.lua.forced-yield 1000000\n"
        "    tune.lua.log.stderr off"
    )


HOLD_RULE: Final = "http-request lua.hold if { nbsrv eq 0 } !{ var(txn.failing) -m found }"
