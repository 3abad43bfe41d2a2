"""The fleet's process: `python -m tools.bench.churn.fleet_worker TOKEN_S`.

It hosts every fake replica, so that they share no CPU time with the clients or the control plane.
Orders come by standard input; its end ends the process.
"""

from __future__ import annotations

import asyncio
import gc
import sys

from libs.testing.fake_replica import FakeReplica, Script
from tools.bench.churn.fleet_codec import Order, Verb, parse_order, render_answer


async def serve(script: Script) -> None:
    """Carry out orders until there are no more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    replicas: dict[str, FakeReplica] = {}
    while line := await reader.readline():
        value = await _carry_out(parse_order(line.decode()), replicas, script)
        sys.stdout.write(render_answer(value))
        sys.stdout.flush()
    for replica in replicas.values():
        await replica.kill()


async def _carry_out(order: Order, replicas: dict[str, FakeReplica], script: Script) -> int:
    match order.verb:
        case Verb.OPEN:
            replica = replicas[order.name] = FakeReplica(name=order.name, script=script)
            await replica.start()
            return replica.endpoint.port
        case Verb.ASKED:
            return int((replicas[order.name].asked_at or 0.0) * 1e6)
        case Verb.FINISH:
            replicas[order.name].finishing = True
        case Verb.CLOSE:
            await replicas.pop(order.name).kill()
    return 0


if __name__ == "__main__":
    gc.freeze()
    asyncio.run(serve(Script(token_s=float(sys.argv[1]), obeys_max_tokens=True)))
