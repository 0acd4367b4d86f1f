from collections.abc import AsyncIterator

import trio

from trio_signalr.testing import HubServer

server = HubServer()  # a hub in this very program, to have something to talk to


@server.method
async def Counter(count: int, delay_ms: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await trio.sleep(delay_ms / 1000)


async def main() -> None:
    async with server.connect() as hub:  # with a server of yours: open_hub("https://host/hub")
        async with hub.stream("Counter", 10, 500, item_type=int) as counter:
            async for number in counter:
                print(number)


trio.run(main)
