"""Builds and runs ``hub/``, the ASP.NET Core server of these tests. Synchronous: session fixtures cannot be async."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from tests.aspnetcore.probes import Control, Probe

__all__ = ["HubProcess", "build_hub"]

HUB = Path(__file__).parent / "hub"
BUILDS = Path(__file__).parent / ".build"
START_TIMEOUT = 60.0  # seconds; it takes less than one, but machines that run tests can be busy
STOP_TIMEOUT = 10.0


def build_hub() -> Path:
    """Build the hub unless these very sources were built before; return the program, for ``dotnet`` to run."""
    # The folder is named for the sources and appears in one step, so runs side by side cannot disturb each other.
    target = BUILDS / _sources_hash()
    program = target / "TestHub.dll"
    if not program.exists():
        BUILDS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILDS, prefix="new-") as artifacts:
            command = ["dotnet", "build", str(HUB), "-c", "Release", "--artifacts-path", artifacts, "-nologo"]
            command += ["--disable-build-servers"]  # they would outlive the test run
            built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if built.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{built.stdout}")
            try:
                Path(artifacts, "bin", "TestHub", "release").rename(target)
            except OSError:
                if not program.exists():  # otherwise another run was faster, with the same result
                    raise
    return program


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(HUB.rglob("*.cs*")):
        relative = path.relative_to(HUB)
        if relative.parts[0] not in ("bin", "obj"):
            content = path.read_bytes()
            digest.update(f"{relative.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


class HubProcess:
    """One running server, on a port of 127.0.0.1 that it keeps over :meth:`restart`.

    Starting and stopping block the thread: in a test whose own tasks must go on meanwhile, wrap them in
    ``trio.to_thread.run_sync``.

    Args:
        program: What :func:`build_hub` returned.
        port: 0 lets the system choose.
    """

    def __init__(self, program: Path, *, port: int = 0) -> None:
        self._program = program
        self._lines: list[str] = []
        self._listening = threading.Event()  # or the output has ended
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.port = port

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str = "/hub", **query: str) -> str:
        """Return the URL of an endpoint: ``url("/detailed", probe=probe.name)``."""
        return f"{self.base_url}{path}" + (f"?{urlencode(query)}" if query else "")

    @property
    def output(self) -> list[str]:
        """The lines that the server has printed, over all its starts."""
        return self._lines

    @property
    def control(self) -> Control:
        """The server's HTTP API for tests."""
        return Control(self.base_url)

    def probe(self, name: str | None = None) -> Probe:
        """Return the event log called ``name``, by default a new one that nobody else uses."""
        return Probe(self.base_url, name)

    def start(self) -> None:
        """Run the server and wait until it listens."""
        assert self._process is None, "it is running"
        dotnet = shutil.which("dotnet")
        assert dotnet is not None, "there is no dotnet on PATH"
        self._listening.clear()
        # The server ends with its standard input, that is with us, even if we are killed.
        command = [dotnet, str(self._program), "--urls", self.base_url, "--stop-with-stdin", "true"]
        self._process = subprocess.Popen(
            command,
            cwd=self._program.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read_output, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._listening.wait(START_TIMEOUT) or self._process.poll() is not None:
            self.kill()
            raise RuntimeError("the server did not start:\n" + "\n".join(self._lines))

    def stop(self) -> None:
        """Let the server shut down in order; kill it if that takes too long. Nothing if it is not running."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
            self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would. Nothing if it is not running."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            if self._reader is not None:
                self._reader.join()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def restart(self) -> None:
        """Stop, and start on the same port: same URLs, no connection left, no probe remembered."""
        self.stop()
        self.start()

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.append(line.rstrip())
            if found := re.search(r"Now listening on: http://127\.0\.0\.1:([0-9]+)", line):
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()
