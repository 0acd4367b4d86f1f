"""Follow jobs that run on the server, and have seen enough half-way.

python examples/trigger_stream.py [--url http://localhost:5000/hub] [--protocol messagepack]
"""

import trio
from embedded import open_either, run


async def main(url: str | None = None, protocol: str = "json") -> None:
    async with open_either(url, protocol) as hub:
        seen = 0
        async with hub.stream("TriggerStream", 6, item_type=str) as jobs:
            async for line in jobs:  # one a second
                print(line)
                seen += 1
                if seen == 3:
                    break
        # The block was left, so the hub was told to stop: nobody had to think of it.
        print("that will do")
        await trio.sleep(1.5)
        print("no further job was reported")


if __name__ == "__main__":
    run(main, __doc__)
