"""Rules for what is lost with a resource that is deleted or replaced, or with a key that is turned off."""

from __future__ import annotations

from collections.abc import Iterator

from cli.diff.preview import Preview
from cli.diff.risks import losses
from cli.diff.risks.resources import find_name
from cli.diff.risks.risk import Cause, Code, Risk, caused_by

_KEY = "aws:kms/key:Key"


def list_risks(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of what is lost, the worst first.

    Args:
        preview: The preview of the change.
    """
    gone = [each for each in preview.resources if each.operation in ("delete", "replace") and not each.is_kept]
    for resource in sorted(gone, key=lambda each: (losses.rank_loss(each), each.name)):
        loss = losses.find_loss(resource)
        if loss is None:
            continue
        replaced = resource.operation == "replace"
        yield Risk(
            Code.REPLACED if replaced else Code.DELETED,
            find_name(resource),
            resource.type,
            tuple(resource.because) or (Cause.REPLACEMENT if replaced else Cause.NOT_DECLARED),
            {
                "noun": loss.noun,
                "consequence": loss.replaced if replaced else loss.deleted,
                "fix": loss.fix,
            },
        )
    for key in preview.find_resources(_KEY):
        if key.new is not None and key.before.get("isEnabled", True) and key.new.get("isEnabled") is False:
            yield Risk(Code.KEY_OFF, find_name(key), key.type, caused_by("isEnabled"))
