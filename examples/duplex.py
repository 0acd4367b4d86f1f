"""Upload and stream in one call: numbers go up, doubled ones come down meanwhile.

python examples/duplex.py [--url http://localhost:5000/hub] [--protocol messagepack]
"""

from collections.abc import AsyncIterator

import trio
from embedded import open_either, run


async def numbers() -> AsyncIterator[int]:
    for number in range(1, 6):
        print(f"up    {number}")
        yield number
        await trio.sleep(0.4)


async def main(url: str | None = None, protocol: str = "json") -> None:
    async with open_either(url, protocol) as hub:
        async with hub.stream("Transform", numbers(), item_type=int) as doubled:
            async for number in doubled:
                print(f"down  {number}")
        print("the generator has ended, and so has the stream")


if __name__ == "__main__":
    run(main, __doc__)
