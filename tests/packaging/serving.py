"""A program for an environment with the extra ``testing``: a hub on a real port, and a client over each transport."""

import trio

from trio_signalr import open_hub
from trio_signalr.testing import HubServer

server = HubServer()


@server.method
async def Add(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with server.serve() as url:
        for transport in ("websockets", "server_sent_events", "long_polling"):
            async with open_hub(url, transports=[transport]) as hub:
                print(hub.transport, await hub.invoke("Add", 1, 2, result_type=int))


if __name__ == "__main__":
    trio.run(main)
