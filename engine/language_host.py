"""The Python language host for a CLI built from Go modules: Pulumi's server for inline programs, run on a file.

The engine starts it as ``pulumi-language-python``, reads a port from its first line of output and speaks
``LanguageRuntime`` to it. It exits when the engine interrupts it or ends.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

#: The engine's limit, in bytes; gRPC's default of 4 MB is too small for the inputs of a large stack.
_LARGEST_MESSAGE = 400 * 1024 * 1024

#: Seconds between checks whether the engine is still running.
_LOOK = 0.5


class Host(LanguageServer):
    """A language host that runs the program of a request, one at a time."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def Handshake(self, request: Any, context: Any) -> Any:
        """Answer the engine's first call; no options are negotiated."""
        return language_pb2.LanguageHandshakeResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Any:
        """Refuse: dependencies are installed before the engine runs."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "dependencies are installed by `make setup`, not by the engine")

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        """Return no dependencies; the engine only lists them."""
        return language_pb2.GetProgramDependenciesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        """Return no questions for `pulumi new`."""
        return language_pb2.RuntimeOptionsResponse()

    def Cancel(self, request: Any, context: Any) -> Any:
        """Acknowledge a cancellation by the engine."""
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> Any:
        """Run the program of a request to its end, and return its error, if any."""
        folder = Path(request.info.program_directory or request.pwd)
        entry = folder / (request.info.entry_point or ".")
        program = entry / "__main__.py" if entry.is_dir() else entry
        os.chdir(folder)
        sys.path.insert(0, str(program.parent))

        def run() -> None:
            runpy.run_path(str(program), run_name="__main__")

        self.program = run
        response = super().Run(request, context)  # type: ignore[no-untyped-call]
        if response.error:
            # The error was logged as a diagnostic; the engine need not report it again.
            return language_pb2.RunResponse(bail=True)
        return response


def main() -> None:
    """Serve until interrupted or until the engine ends."""
    # A program runs for seconds, mostly importing the SDK; garbage collection would take a tenth of that.
    gc.disable()
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    engine = os.getppid()
    # A killed engine sends no interrupt, and its host must not outlive it.
    while not ended.wait(_LOOK) and os.getppid() == engine:
        pass
    server.stop(grace=None).wait(2)
    # Threads that a program left running must not keep the engine waiting.
    os._exit(0)


if __name__ == "__main__":
    main()
