"""`millrace prices`: keep the price table of this checkout up to date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from cli import prices as table
from cli.aws import price_list
from cli.aws.price_list import RegionPrices
from cli.console.errors import CliError
from cli.console.output import json_option, say, write_json
from cli.console.progress import Progress
from cli.stack.target import STACKS, read_configuration
from millrace.config_files import find_config_files
from millrace.files import write_atomically
from queries.client import make_client

_MARK = "# Written by `millrace prices refresh`"


@click.group()
def prices() -> None:
    """Keep the prices that previews and the status use up to date."""


@prices.command()
@click.option("--region", "regions", multiple=True, help="A region; default: those of the stacks of this checkout.")
@click.option("--profile", help="The AWS profile whose credentials are used; default: as the AWS CLI finds them.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=table.OVERLAY,
    show_default="prices.toml of this checkout",
    help="The table to write.",
)
@json_option
def refresh(regions: tuple[str, ...], profile: str | None, output: Path, as_json: bool) -> None:
    """Read SageMaker's prices from the AWS Price List API into a table of this checkout.

    The table is merged over the built-in one wherever a cost is shown. It holds the hours of all instance types for
    hosting, processing and training, on demand, without your discounts. The credentials need `pricing:GetProducts`.
    """
    wanted = regions or tuple(_find_regions())
    if not wanted:
        raise CliError("no stack", "belongs to an AWS account", fix="name a region with --region")
    _require_own_table(output)
    progress = Progress(err=as_json)
    client = make_client("pricing", price_list.API_REGION, profile=profile)
    found = {}
    for region in wanted:
        with progress.stage(region) as stage:
            found[region] = price_list.read_prices(client, region)
            stage.result = f"{found[region].count} prices, published {found[region].published or 'never'}"
        if not found[region].count:
            raise CliError(
                f"region {region!r}", "has no prices of SageMaker; nothing was written", fix="correct the region"
            )
    try:
        write_atomically(output, render_table(found, datetime.now(UTC)))
    except OSError as error:
        raise CliError(
            f"{output}", f"cannot be written: {error.strerror}", fix="name another one with --output"
        ) from error
    ambiguous = {region: each.ambiguous for region, each in found.items() if each.ambiguous}
    if as_json:
        counts = {region: each.count for region, each in found.items()}
        write_json({"file": str(output), "prices": counts, "ambiguous": ambiguous})
        return
    for region, names in ambiguous.items():
        say(f"left out, with several prices in {region}: {', '.join(names)}")
    say(f"wrote {output}")


def render_table(found: Mapping[str, RegionPrices], now: datetime) -> str:
    """Render the prices as a table in the form of the built-in one.

    Args:
        found: The prices of each region.
        now: When they were read.
    """
    lines = [f"{_MARK}; it is merged over the built-in table.", "", f"date = {now:%Y-%m-%d}"]
    lines.append('source = "AWS Price List API, on-demand prices without discounts"')
    for region, each in sorted(found.items()):
        source = f"AWS Price List API, published {each.published}, read {now:%Y-%m-%d}"
        lines += ["", f"[regions.{region}]", f"date = {now:%Y-%m-%d}", f'source = "{source}"']
        for kind, values in sorted(each.prices.items()):
            lines += ["", f"[regions.{region}.{kind}]"]
            lines += [f'"{instance}" = {price!r}' for instance, price in sorted(values.items())]
    return "\n".join(lines) + "\n"


def _find_regions() -> list[str]:
    """Return the regions of all stacks that are not local, sorted."""
    found = set()
    for stack in find_config_files(STACKS):
        values = read_configuration(stack)
        environment = values.get("millrace:environment")
        is_local = isinstance(environment, dict) and environment.get("name") == "local"
        if not is_local and values.get("aws:region"):
            found.add(str(values["aws:region"]))
    return sorted(found)


def _require_own_table(path: Path) -> None:
    """Raise if the file exists and was not written by this command.

    Raises:
        CliError: With the next step.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise CliError(f"{path}", f"cannot be read: {error.strerror}", fix="name another one with --output") from error
    if text.strip() and not text.startswith(_MARK):
        raise CliError(
            f"{path}",
            "exists and was not written by this command; nothing was written",
            fix=f"name another one with --output, and use it with {table.VARIABLE} or --prices",
        )
