"""Corrections of how moto reads requests: the region is that of the signature, and S3 bodies are not parsed.

By itself, moto guesses a region from the URL and the user agent first, takes an account from a header, and lets its web
framework parse a body with the content type of a form.
"""

from __future__ import annotations

from typing import Any

#: The key, in a request's environment, of the region that it is signed for.
REGION = "local.region"

#: The header with which any client could select another account.
ACCOUNT_HEADER = "HTTP_X_MOTO_ACCOUNT_ID"


def install() -> None:
    """Patch moto to use the region of the signature."""
    from moto.core.responses import BaseResponse

    def get_region_from_url(self: Any, request: Any, full_url: str) -> str:  # noqa: ARG001
        return str(request.environ.get(REGION) or self.default_region)

    BaseResponse.get_region_from_url = get_region_from_url  # type: ignore[method-assign]


def install_s3(app: Any) -> None:
    """Patch moto's S3 to use the region of the signature and to leave bodies unparsed.

    Args:
        app: moto's web application for S3.
    """
    import moto.s3.responses

    # Without a region from the URL, moto continues with the region of the signature.
    setattr(moto.s3.responses, "parse_region_from_url", lambda *_, **__: None)  # noqa: B010 - not of its public names

    class RawRequest(app.request_class):  # type: ignore[misc]
        """A request whose body is never parsed as a form, whatever its content type."""

        @property
        def want_form_data_parsed(self) -> bool:
            return False

    app.request_class = RawRequest


def find_operation_of_s3(environ: Any) -> str:
    """Return the name of the operation that an S3 request is for; its method and path where none is known.

    Args:
        environ: The request as a WSGI environment.
    """
    from moto.core.request import Request
    from moto.core.routing import get_service_router

    if "renameObject" in str(environ.get("QUERY_STRING", "")).split("&"):
        return "RenameObject"
    try:
        return str(get_service_router("s3").match(Request(environ))[0].name)
    except Exception:  # noqa: BLE001 - moto's router has no error of its own, and the request may be anything
        return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
