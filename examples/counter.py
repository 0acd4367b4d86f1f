"""Receive a server stream, until a deadline stops it.

python examples/counter.py [--url http://localhost:5000/hub] [--protocol messagepack]
"""

import trio
from embedded import open_either, run


async def main(url: str | None = None, protocol: str = "json") -> None:
    async with open_either(url, protocol) as hub:
        print(f"connected, {hub.protocol} over {hub.transport}")

        with trio.move_on_after(2.25) as deadline:
            async with hub.stream("Counter", 100, 500, item_type=int) as counter:
                async for number in counter:
                    print(number)
        if deadline.cancelled_caught:
            print("time is up: leaving the block tells the hub to stop")

        # Only that one call is over.
        total = await hub.invoke("Add", 1, 2, result_type=int)
        print(f"the connection lives on: 1 + 2 = {total}")


if __name__ == "__main__":
    run(main, __doc__)
