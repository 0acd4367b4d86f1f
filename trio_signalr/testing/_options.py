"""What a test hub can be told, with ASP.NET Core's defaults."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """As :class:`HubServer` takes them: seconds, bytes, items."""

    detailed_errors: bool = False
    max_parallel_invocations: int = 1
    keep_alive_interval: float = 15.0
    client_timeout: float = 30.0
    handshake_timeout: float = 15.0
    send_timeout: float = 10.0
    max_message_size: float = 32 * 1024
    stream_buffer_capacity: int = 10
    stateful_reconnect: bool = False
    disconnect_timeout: float = 15.0
    poll_timeout: float = 90.0
    record: bool = True

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{name} must be greater than 0, not {value!r}")
