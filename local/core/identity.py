"""The account and the partition that everything in this cloud belongs to."""

from __future__ import annotations

#: The account of every resource here, and the partition all ARNs are in.
ACCOUNT = "123456789012"
PARTITION = "aws"
