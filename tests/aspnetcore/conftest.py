"""The real server for the tests in this folder: built when its sources have changed, started once per test run."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.aspnetcore.probes import Probe
from tests.aspnetcore.server import HubProcess, build_hub
from tests.twin import Twin, open_twin

HERE = Path(__file__).parent
NO_DOTNET = "no dotnet on PATH; install the .NET 10 SDK: https://dotnet.microsoft.com/download"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "aspnetcore: talks to the real ASP.NET Core, so it needs dotnet on PATH")


# First, so that "-m 'not aspnetcore'" sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder but those against the twin in Python, and skip them where they cannot run."""
    missing = shutil.which("dotnet") is None
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_twin = callspec is not None and callspec.params.get("real") == "twin"
        if item.path.is_relative_to(HERE) and not is_twin:
            item.add_marker(pytest.mark.aspnetcore)
            if missing:
                item.add_marker(pytest.mark.skip(reason=NO_DOTNET))


@pytest.fixture(scope="session")
def aspnetcore_program() -> Path:
    """The built hub."""
    return build_hub()


@pytest.fixture(scope="session")
def aspnetcore(aspnetcore_program: Path) -> Iterator[HubProcess]:
    """The server that all tests share: leave it running."""
    server = HubProcess(aspnetcore_program)
    server.start()
    yield server
    server.kill()  # nobody is left to be told, and an orderly end waits for connections that could be resumed


@pytest.fixture
def probe(aspnetcore: HubProcess) -> Probe:
    """A new event log in the shared server."""
    return aspnetcore.probe()


@pytest.fixture(params=["aspnetcore", "twin"])
def real(request: pytest.FixtureRequest) -> HubProcess | None:
    """The server; ``None`` where it is its twin's turn."""
    if request.param == "twin":
        return None
    process: HubProcess = request.getfixturevalue("aspnetcore")
    return process


@pytest.fixture
async def either(real: HubProcess | None) -> AsyncIterator[HubProcess | Twin]:
    """The server, and in another run of the same test its twin in Python."""
    if real is not None:
        yield real
    else:
        async with open_twin() as twin:
            yield twin


@pytest.fixture
def start_aspnetcore(aspnetcore_program: Path) -> Iterator[Callable[..., HubProcess]]:
    """Starts servers of the test's own, to be stopped, killed and restarted at will: ``start_aspnetcore(port=0)``."""
    servers = []

    def start(*, port: int = 0) -> HubProcess:
        server = HubProcess(aspnetcore_program, port=port)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failed test's reader what the server had to say."""
    report = yield
    server = getattr(item, "funcargs", {}).get("aspnetcore")
    if report.failed and isinstance(server, HubProcess):
        report.sections.append(("last output of ASP.NET Core", "\n".join(server.output[-50:])))
    return report
