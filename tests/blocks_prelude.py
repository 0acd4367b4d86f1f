"""What blocks of the documentation take for granted, for mypy to check them with; nothing here is ever run."""
# ruff: noqa: F401

from __future__ import annotations

import itertools
import logging
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from trio_signalr import (
    DateTimeOffset,
    ExponentialBackoff,
    HubClosed,
    HubConnection,
    HubException,
    HubState,
    InvocationError,
    JsonHubProtocol,
    MessagePackHubProtocol,
    NegotiationError,
    PayloadError,
    RetryContext,
    RetryDelays,
    ServerTimeout,
    SignalRError,
    StreamOverflow,
    TransportError,
    open_hub,
    streaming,
)
from trio_signalr.messages import CancelInvocation
from trio_signalr.testing import HubServer

hub: HubConnection
url: str
server: HubServer


def words() -> AsyncIterator[str]:
    raise NotImplementedError


def numbers() -> AsyncIterator[int]:
    raise NotImplementedError


class Price(msgspec.Struct, rename="camel"):
    symbol: str
    value: float


class Position(msgspec.Struct):
    x: float
    y: float


class Event(msgspec.Struct):
    id: int


class Money:
    def __init__(self, text: str) -> None: ...


@dataclass
class Person:
    first_name: str
    born: date


class Chat(Protocol):
    async def Add(self, a: int, b: int) -> int: ...

    @streaming
    def Counter(self, count: int, delay: int) -> AsyncIterator[int]: ...

    async def UploadStream(self, words: AsyncIterable[str]) -> str: ...


class Credentials:
    async def fresh_token(self) -> str:
        raise NotImplementedError


context: ssl.SSLContext
cookies: dict[str, str]
credentials: Credentials


async def get_token() -> str:
    raise NotImplementedError


async def main() -> None: ...
async def work(hub: HubConnection) -> None: ...
async def store(prices: list[Price]) -> None: ...
async def store_slowly(prices: trio.MemoryReceiveChannel[Price]) -> None: ...
def handle(event: Event) -> None: ...


async def watch(client: httpx.AsyncClient, name: str) -> None: ...
