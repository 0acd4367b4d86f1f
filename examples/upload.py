"""Stream to a hub method: item by item through a channel, then from an async generator.

python examples/upload.py [--url http://localhost:5000/hub] [--protocol messagepack]
"""

from collections.abc import AsyncIterator

import trio
from embedded import open_either, run


async def numerals() -> AsyncIterator[str]:
    for word in ("one", "two", "three"):
        print(f"yielding {word!r}")
        yield word
        await trio.sleep(0.3)


async def main(url: str | None = None, protocol: str = "json") -> None:
    async with open_either(url, protocol) as hub:
        # Push: the upload is a trio.abc.SendChannel. Leaving the block ends the stream and waits for the answer.
        async with hub.upload("UploadStream", result_type=str) as upload:
            for word in ("hello", "big", "world"):
                print(f"sending {word!r}")
                await upload.send(word)
                await trio.sleep(0.3)
        print(f"the hub returned {upload.result!r}")

        # Pull: any async iterable among the arguments is streamed while the call lasts.
        joined = await hub.invoke("UploadStream", numerals(), result_type=str)
        print(f"the hub returned {joined!r}")


if __name__ == "__main__":
    run(main, __doc__)
