"""`millrace new`: begin a use case, from data to a declaration that trains and serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.console.output import json_option


@click.command()
@click.argument("name")
@click.option(
    "--from", "path", type=click.Path(path_type=Path), help="The data: .csv, .csv.gz or .parquet, a row per event."
)
@click.option("--problem", type=click.Choice(["binary", "regression"]), help="Predict yes or no, or a number.")
@click.option("--target", metavar="C", help="The column to predict.")
@click.option("--positive", metavar="VALUE", help="The value of a binary target that counts as yes.")
@click.option("--key", metavar="C", help="The column that identifies an event; `none`: the row number.")
@click.option("--event-time", metavar="C", help="When a prediction is requested; `none`: rows are in file order.")
@click.option(
    "--missing",
    metavar="C=TEXT",
    multiple=True,
    help="A text that means a missing value in a column; may be repeated. `C=`: only an empty cell does.",
)
@click.option("--time-format", metavar="FORMAT", help="The format of event times, e.g. %d/%m/%Y, or epoch-s, epoch-ms.")
@click.option("--leave-out", metavar="C", multiple=True, help="A column that is not a feature; may be repeated.")
@click.option("--trust", metavar="C", multiple=True, help="A column that predicts the outcome yet is known before it.")
@click.option("--region", default="eu-west-1", show_default=True, help="The AWS region of all its stacks.")
@click.option("--yes", is_flag=True, help="Accept every proposal; never ask.")
@click.option("--dry-run", is_flag=True, help="Do everything except write files.")
@json_option
def new(name: str, path: Path | None, **options: Any) -> None:
    """Create a use case: from data to a declaration that trains and serves.

    NAME is lower-case words with hyphens, e.g. churn-eu. Without --from its data are made up, and everything else
    works. What cannot be derived from the data is asked; each question is one of the options below. Nothing is
    overwritten, and nothing is written unless all of it is: the result is tried on the data first.
    """
    from cli.scaffold import begin, begun

    begin.create_use_case(begun.Wishes(name, path, **options))
