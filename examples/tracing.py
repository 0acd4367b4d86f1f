import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from trio_signalr.testing import HubServer

provider = TracerProvider()  # before the hub is opened
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: f"{span.name} ended\n")))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("my.app")

server = HubServer()  # a hub in this very program, to have something to talk to


@server.method
async def Add(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with server.connect() as hub:  # with a server of yours: open_hub("https://host/hub")
        with tracer.start_as_current_span("checkout"):  # the call's span is a child of this one
            print(await hub.invoke("Add", 1, 2))


trio.run(main)
