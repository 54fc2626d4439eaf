"""The Python language host for a CLI built from Go modules.

The engine starts it as ``pulumi-language-python``, reads a port from its first line of output and speaks
``LanguageRuntime`` to it. It exits when the engine interrupts it or ends.

Each operation starts two of these processes: one to ask which Python there is, for the update's metadata, and one to
run the program. The SDK takes most of the time to import, so it is imported only in the second, and there while the
engine prepares its providers.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import any_pb2

#: The engine's limit, in bytes; gRPC's default of 4 MB is too small for the inputs of a large stack.
_LARGEST_MESSAGE = 400 * 1024 * 1024

#: Seconds between checks whether the engine is still running.
_LOOK = 0.5

#: `Any` has the wire format of `AboutResponse`: two strings, here the path of the interpreter and its version.
_VERSION = ".".join(map(str, sys.version_info[:3]))
_ABOUT = any_pb2.Any(type_url=sys.executable, value=_VERSION.encode()).SerializeToString()

#: Methods that need no SDK and their serialized responses: no options are negotiated, the engine finds its plugins
#: itself, and a cancellation is acknowledged.
_ANSWERS = {"About": _ABOUT, "Handshake": b"", "GetPluginInfo": b"", "GetRequiredPackages": b"", "Cancel": b""}


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods of a language host; those that need the SDK import it."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "GetRequiredPackages":
            # Only an engine that is going to run the program asks this.
            threading.Thread(target=_load_program_handler, daemon=True).start()
        if method in _ANSWERS:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: _ANSWERS[method])
        return _load_program_handler().service(handler_call_details)


@functools.cache
def _load_program_handler() -> grpc.GenericRpcHandler:
    from engine.program import build_handler

    return build_handler()


def main() -> None:
    """Serve until interrupted or until the engine ends."""
    # A program runs for seconds, mostly importing the SDK; garbage collection would take a tenth of that.
    gc.disable()
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
    server.add_generic_rpc_handlers((_Handler(),))
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
