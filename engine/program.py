"""The methods of a Python language host that run a program: Pulumi's server for inline programs, given a file."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc


class ProgramServer(LanguageServer):
    """A language host that runs the program of a request, one at a time."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def InstallDependencies(self, request: Any, context: Any) -> Any:
        """Refuse: dependencies are installed before the engine runs."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "dependencies are installed by `make setup`, not by the engine")

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        """Return no dependencies; the engine only lists them."""
        return language_pb2.GetProgramDependenciesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        """Return no questions for `pulumi new`."""
        return language_pb2.RuntimeOptionsResponse()

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


class _Collector:
    """What the generated code takes for a server, and that keeps the handlers it is given."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.handlers += handlers


def build_handler() -> grpc.GenericRpcHandler:
    """Return the gRPC handler of all methods of a language host."""
    collector = _Collector()
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(ProgramServer(), collector)
    (handler,) = collector.handlers
    return handler
