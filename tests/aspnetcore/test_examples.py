"""The examples, as programs, against the real server."""

from __future__ import annotations

import pytest

from tests.aspnetcore.server import HubProcess
from tests.test_examples import OUTPUT, PROTOCOLS, expected_lines, start


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_against_the_real_server(aspnetcore: HubProcess, protocol: str) -> None:
    # All at once: they mostly sleep. A client may be asked by a method that it called only at this endpoint.
    url = aspnetcore.url("/parallel")
    programs = {name: start(name, "--url", url, "--protocol", protocol) for name in OUTPUT}
    results = {name: (program.communicate(timeout=60), program.returncode) for name, program in programs.items()}
    for name, ((out, errors), status) in results.items():
        assert (status, errors) == (0, ""), name
        lines, expected = out.splitlines(), expected_lines(name, protocol, "websockets")
        if name == "counter":  # how far it comes within its deadline is a matter of how busy the machine is
            numbers = [line for line in lines if line.isdecimal()]
            assert numbers == [str(number) for number in range(len(numbers))]
            assert len(numbers) in (3, 4, 5)
            lines = [line for line in lines if not line.isdecimal()]
            expected = [line for line in expected if not line.isdecimal()]
        assert lines == expected
