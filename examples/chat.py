"""Two clients talk through a hub, and the hub asks one of them a question.

python examples/chat.py [--url http://localhost:5000/parallel] [--protocol messagepack]

A hub of ASP.NET Core lets a method ask its own caller only if MaximumParallelInvocationsPerClient is more than 1.
"""

import trio
from embedded import open_either, run


async def on_reply(text: str) -> None:
    print(f"Ada hears {text!r}")


def on_question(question: str) -> str:
    print(f"Ada is asked {question!r}")
    return "Yes, please."  # sent back: the hub method awaits it


async def main(url: str | None = None, protocol: str = "json") -> None:
    # Handlers are functions that the server calls; given here, they are in place before the first byte is read.
    async with open_either(url, protocol, handlers={"reply": on_reply, "question": on_question}) as ada:
        async with open_either(url, protocol) as bob:
            # A subscription is a channel: the same calls, received one by one where you want them.
            async with bob.subscribe("message", str) as messages:
                await bob.invoke("JoinGroup", "tea")
                for text in ("Hello?", "Is it tea time?"):
                    await ada.send("SendToGroup", "tea", "message", text)
                    (heard,) = await messages.receive()
                    print(f"Bob hears {heard!r}")
                    await bob.send("SendTo", ada.connection_id, "reply", f"You said {heard}")
                    await trio.sleep(0.5)

        answer = await ada.invoke("AskMe", "question", "Milk?", result_type=str)
        print(f"the hub was answered {answer!r}")


if __name__ == "__main__":
    run(main, __doc__)
