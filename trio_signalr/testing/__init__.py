"""A hub in Python for your tests: real client, real codec, no network, no .NET.

::

    from trio_signalr.testing import HubServer


    async def test_counting():
        server = HubServer()

        @server.method
        async def Counter(count: int):  # an async generator: a streaming method
            for number in range(count):
                yield number

        async with server.connect() as hub:  # a HubConnection, as from open_hub
            async with hub.stream("Counter", 3, item_type=int) as counter:
                assert [number async for number in counter] == [0, 1, 2]

All time is Trio's, so under an autojumping clock timeouts cost nothing. The server sees its clients as :class:`Client`
objects: what they sent, what runs for them, and what to do to them::

    client = server.client(hub.connection_id)
    assert len(client.messages(CancelInvocation)) == 1
    await client.send("Receive", "hello")  # call the client's handler
    client.stall()  # the network stops, without a word
    await client.drop()  # the network breaks

It answers as ASP.NET Core does, to the letter of its error texts. It is for tests, demos and examples, not for
production.
"""

from ..errors import HubException as HubException
from ._client import Client as Client, Clients as Clients
from ._records import (
    Called as Called,
    Cancelled as Cancelled,
    Completed as Completed,
    Connected as Connected,
    Disconnected as Disconnected,
    Event as Event,
    Received as Received,
    Request as Request,
)
from ._server import HubServer as HubServer

__all__ = [
    "Called",
    "Cancelled",
    "Client",
    "Clients",
    "Completed",
    "Connected",
    "Disconnected",
    "Event",
    "HubException",
    "HubServer",
    "Received",
    "Request",
]
