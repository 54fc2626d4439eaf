"""The AWS API as hooks call it: while an update runs, several at once, each with a session of its own."""

from typing import Any


def client(service: str, region: str) -> Any:
    """A boto3 client; not of boto3's default session, which is not safe to use from several threads."""
    # A preview that calls no hook does not pay for the import.
    import boto3

    return boto3.session.Session().client(service, region_name=region)
