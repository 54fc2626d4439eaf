"""How moto reads a request: the region of the signature counts, and a body is a body.

moto guesses a region from the URL and the user agent first, takes an account from a header, and lets its web framework
parse whatever is called a form.
"""

from __future__ import annotations

from typing import Any

#: In the environment of a request: the region that it is signed for.
REGION = "local.region"

#: A header by which any client could name another account.
ACCOUNT_HEADER = "HTTP_X_MOTO_ACCOUNT_ID"


def install() -> None:
    """Put it in place, once in a process."""
    from moto.core.responses import BaseResponse

    def get_region_from_url(self: Any, request: Any, full_url: str) -> str:  # noqa: ARG001
        return str(request.environ.get(REGION) or self.default_region)

    BaseResponse.get_region_from_url = get_region_from_url  # type: ignore[method-assign]


def install_s3(app: Any) -> None:
    """The same for S3, which has rules of its own.

    Args:
        app: moto's web application for S3.
    """
    import moto.s3.responses

    # It goes on with the region of the signature.
    setattr(moto.s3.responses, "parse_region_from_url", lambda *_, **__: None)  # noqa: B010 - not of its public names

    class RawRequest(app.request_class):  # type: ignore[misc]
        """A request whose body is an object, whatever its content type."""

        @property
        def want_form_data_parsed(self) -> bool:
            return False

    app.request_class = RawRequest


def find_operation_of_s3(environ: Any) -> str:
    """Return the name of the operation that an S3 request is for; its method and path where none is known."""
    from moto.core.request import Request
    from moto.core.routing import get_service_router

    if "renameObject" in str(environ.get("QUERY_STRING", "")).split("&"):
        return "RenameObject"
    try:
        return str(get_service_router("s3").match(Request(environ))[0].name)
    except Exception:  # noqa: BLE001 - moto's router has no error of its own, and the request may be anything
        return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
