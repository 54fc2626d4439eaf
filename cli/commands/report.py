"""`millrace report`: one self-contained page about a stack for people who decide."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.aws import gates
from cli.commands import choices
from cli.commands.options import env_option
from cli.console import templates
from cli.console.errors import CliError
from cli.console.output import format_time, render_json, say
from cli.fleet import attention, costs, members, status
from cli.fleet.accounts import Accounts
from cli.fleet.document import ReportDocument
from cli.reporting import dossier
from cli.stack import connection
from cli.stack.target import Target
from millrace import plots
from millrace.files import write_atomically
from millrace.metrics import Problem

HTML, MARKDOWN, JSON = "html", "markdown", "json"
_SUFFIXES = {HTML: "html", MARKDOWN: "md", JSON: "json"}
#: Texts near the beginning of a file that this command has written and may overwrite.
_MARKS = ('content="millrace report"', "<!-- millrace report -->", '"report": "millrace"')
_LOOKED_AT = 1024
#: The most runs of the monitor in a table, and lines in a plot.
_RUNS, _LINES = 8, 5

Document = dict[str, Any]


@click.command()
@click.argument("use_case", shell_complete=choices.complete_use_cases)
@env_option
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file; - is standard output.")
@click.option(
    "--format", "kind", type=click.Choice([HTML, MARKDOWN, JSON]), help="Default: by the file's extension, else html."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json, on standard output.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
@click.option("--force", is_flag=True, help="Overwrite a file that is not a report.")
@connection.state_option
def report(
    use_case: str,
    environment: str,
    output: Path | None,
    kind: str | None,
    as_json: bool,
    open_it: bool,
    force: bool,
    state: Path,
) -> None:
    """Write a page about a use case for decision-makers: quality, drift, history, cost.

    It is one file that loads nothing else: `<use case>-<environment>-report.html` here, unless --output names another.
    """
    stack = members.list_stacks(state, use_case, environment)[0]
    kind, path = _where(stack.name, kind, output, as_json=as_json)
    if open_it and (kind != HTML or path is None):
        raise click.UsageError("--open shows a page in the browser; it needs --format html and a file")
    if path is not None:
        _require_writable(path, force=force)
    target, row = status.query_stack(stack, Accounts(state))
    if not row["deployed"]:
        raise CliError(f"stack {stack.name}:", f"{row['warnings'][0]['text']}")
    text = render_report(kind, target, dossier.build_report(target, row))
    if path is None:
        sys.stdout.write(text)
        return
    _write(path, text)
    say(f"wrote {path}")
    if open_it and click.launch(str(path.resolve())) != 0:
        say("no browser could be started; open it yourself", err=True)


def _where(stack: str, kind: str | None, output: Path | None, *, as_json: bool) -> tuple[str, Path | None]:
    """Return the format and the file; None for standard output."""
    if as_json and kind not in (None, JSON):
        raise click.UsageError(f"--json and --format {kind} contradict each other; give one of them")
    if output is not None and str(output) != "-":
        by_name = {"md": MARKDOWN, "json": JSON}.get(output.suffix.removeprefix("."), HTML)
        return JSON if as_json else kind or by_name, output
    kind = JSON if as_json else kind or HTML
    if output is not None or kind != HTML:
        return kind, None
    return kind, Path(f"{stack}-report.{_SUFFIXES[kind]}")


# -- files -------------------------------------------------------------------------------------------------------------


def _require_writable(path: Path, *, force: bool) -> None:
    """Raise when the file cannot be written or is not a report; before the work, not after it.

    Raises:
        CliError: With what to do.
    """
    if not path.absolute().parent.is_dir():
        raise CliError(f"{path}", f"cannot be written: folder {path.parent} does not exist", fix="create it first")
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT).decode("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise CliError(f"{path}", f"cannot be overwritten: {error.strerror}", fix="name another file") from error
    if start and not force and not any(mark in start for mark in _MARKS):
        raise CliError(
            f"{path}", "exists and is not a report", fix="name another file, or pass --force to overwrite it"
        )


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise CliError(f"{path}", f"cannot be written: {error.strerror}", fix="name another file") from error


# -- the page ----------------------------------------------------------------------------------------------------------


def render_report(kind: str, target: Target, found: ReportDocument) -> str:
    """Render the report in one of the formats."""
    if kind == JSON:
        return render_json(found) + "\n"
    name = "page.html.j2" if kind == HTML else "page.md.j2"
    return templates.render(f"report/{name}", **_values(target, found, with_plots=kind == HTML))


def _values(target: Target, found: ReportDocument, *, with_plots: bool) -> dict[str, Any]:
    """Return the values that the templates use."""
    endpoint, model = found["endpoint"], found["model"]
    monitoring = target.use_case.monitoring
    version = f"version {endpoint['version']}" if endpoint["version"] else endpoint["package"] or endpoint["status"]
    traffic = found["traffic_history"] or []
    values = {
        "title": f"{found['stack']}: report of {found['made']:%Y-%m-%d}",
        "found": {**found, "drift": found["drift"] or [], "traffic_history": traffic},
        "missing": found["gaps"],
        "unknown": found["unknown"],
        "serves": version,
        "decided": _decided(found),
        "passed": sum(gate["passed"] is True for gate in model["gates"]) if model else 0,
        "firing": [alarm["kind"] for alarm in found["alarms"] if alarm["state"] == "ALARM"],
        "cost": costs.render_amount(found["cost"]),
        "metrics": [gate.metric for gate in target.use_case.gates],
        "informational": monitoring.informational,
        "drift_shown": (found["drift"] or [])[-_RUNS:],
        "drift_columns": _columns(found["drift"] or []),
        "requests": _format_sum(traffic, "requests"),
        "failed": _format_sum(traffic, "errors_5xx"),
        "refused": _format_sum(traffic, "errors_4xx"),
        "slowest": max((each["latency_ms_p99"] for each in traffic if each["latency_ms_p99"]), default=None),
        "lineage": _lineage(found["lineage"]) if found["lineage"] else [],
        "reproduce": _list_commands(found) if found["lineage"] else "",
        "moment": format_time,
        "figure": format_figure,
        "bound": gates.format_bound,
        "gaps": _gaps,
        "group_columns": _list_group_columns,
        "outcome": _outcome,
        "day": lambda text: str(text or "?")[:10],
        "cell": lambda text: " ".join(str(text).split()).replace("|", "\\|"),
    }
    return values | (_plots(target, found) if with_plots else {})


def format_figure(value: float | int | None) -> str:
    """Format a number for people; None becomes a dash."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _decided(found: ReportDocument) -> str:
    """Return a sentence about who approved what serves, as far as the registry records it."""
    row = next((row for row in found["quality"] if row["version"] == found["endpoint"]["version"]), None)
    if row is None:
        return ""
    if not row["changed"]:
        return (
            f"The pipeline registered it as {row['approval']} on {format_time(row['created'])}; nobody has "
            "changed that."
        )
    who = row["changed_by"] or "an unknown user"
    why = f", because: {row['reason']}" if row["reason"] else ""
    return f"Last decided on {format_time(row['changed'])} by {who}{why}."


def _gaps(audited: Mapping[str, Any]) -> list[Document]:
    """Return the gaps between groups with their intervals and bounds; a bound is exceeded by the whole interval."""
    found = []
    for rate, gap in audited["gaps"].items():
        value, lower, bound = gap["value"], gap["lower"], gap["bound"]
        passed = None if value is None or bound is None else (value if lower is None else lower) <= bound
        interval = "" if lower is None else f" ({format_figure(lower)} to {format_figure(gap['upper'])})"
        unclear = f"; cannot tell about {', '.join(gap['unclear'])}" if gap["unclear"] else ""
        found.append(
            {"name": _GAPS[rate], "value": value, "interval": interval, "bound": bound, "passed": passed,
             "unclear": unclear}
        )  # fmt: skip
    return found


#: What the differences between groups are called, by their rate.
_GAPS = {
    "tpr": "equal opportunity, gap of true positive rates", "fpr": "gap of false positive rates",
    "selection": "demographic parity, gap of selection rates", "precision": "predictive parity, gap of precisions",
    "error": "gap of mean absolute errors", "bias": "gap of mean errors",
}  # fmt: skip
#: The columns of the table of groups.
_OF_GROUPS = {
    "rows": "rows", "base_rate": "base rate", "tpr": "true positive rate", "fpr": "false positive rate",
    "roc_auc": "ROC AUC", "mae": "mean absolute error", "bias": "mean error",
}  # fmt: skip


def _list_group_columns(audited: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a table of groups: those that any group has."""
    groups = audited["groups"].values()
    return {key: title for key, title in _OF_GROUPS.items() if any(rates[key] is not None for rates in groups)}


def _outcome(run: Mapping[str, Any]) -> str:
    return "skipped" if run["skipped"] else str(run["status"]).lower()


def _format_sum(hours: list[Document], key: str) -> str:
    return f"{sum(each[key] or 0 for each in hours):,.0f}"


def _columns(drift: list[Document]) -> list[str]:
    """Return the columns of all runs, those that drift most in the newest run first."""
    newest = drift[-1]["features"] if drift else {}
    names = dict.fromkeys(name for run in drift for name in run["features"])
    return sorted(names, key=lambda name: -((newest.get(name) or {}).get("drift") or 0.0))


def _lineage(lineage: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lineage as table rows."""
    identity = lineage["identity"]
    parameters = lineage["parameters"]
    return [
        ("data, snapshot", identity["snapshot"] or "unknown"),
        ("", f"{lineage['data_uri'] or 'unknown location'}: {lineage['data']}"),
        ("data as of", lineage["as_of"] or "unknown"),
        ("code", identity["code"] or "unknown"),
        ("", f"{lineage['code_uri'] or 'unknown location'}: {lineage['code']}"),
        ("parameters and seed", identity["parameters"] or "unknown"),
        ("", ", ".join(f"{key}={value}" for key, value in (parameters or {}).items()) or "none declared")
        if parameters is not None
        else ("", "unknown: the code was not found"),
        ("seed", "unknown" if lineage["seed"] is None else str(lineage["seed"])),
        ("model.tar.gz", identity["model"] or "unknown"),
        ("execution", lineage["execution"] or "unknown"),
    ]


def _list_commands(found: ReportDocument) -> str:
    """Return the commands that train the same model again."""
    lineage = found["lineage"]
    assert lineage is not None
    as_of = lineage["as_of"] or "<data time>"
    train = attention.build_command(found, "run", "--pipeline", "training", "--as-of", as_of)
    fetched = [f"aws s3 cp {lineage['code_uri']} code.pyz"] if lineage["code_uri"] else []
    if lineage["data_uri"]:
        fetched.append(f"aws s3 cp --recursive {lineage['data_uri']} data/")
    return "\n".join(
        [
            "# fetch the code and data of this model",
            *fetched,
            "# train it again, from a checkout whose bundle has the hash above",
            train,
        ]
    )


def _plots(target: Target, found: ReportDocument) -> dict[str, Any]:
    """Return the plots; an empty text where there is nothing to draw."""
    from markupsafe import Markup

    drift, traffic = found["drift"] or [], found["traffic_history"] or []
    monitoring = target.use_case.monitoring
    versions = [f"v{row['version']}" for row in found["quality"]]
    quality = []
    for place, gate in enumerate(target.use_case.gates):
        bound = {"at least": gate.at_least} if gate.at_least is not None else {"at most": gate.at_most}
        svg = plots.plot_lines(
            versions,
            {gate.metric: [row["gates"][place]["value"] for row in found["quality"]]},
            f"{gate.metric} of each version against its gate",
            bounds={name: value for name, value in bound.items() if value is not None},
        )
        quality.append((gate.metric, Markup(svg)))
    days = [str(run["as_of"] or "?")[:10] for run in drift]
    worst = _columns(drift)[:_LINES]
    alarm = {"ece alarm": monitoring.calibration_bound} if target.use_case.problem is Problem.BINARY else {}
    measured = {name: [run["quality"].get(name) for run in drift] for name in ("ece", "brier", "mae")}
    drawn = {
        "drift": plots.plot_lines(
            days, {"drift": [run["drift"] for run in drift]}, "largest drift of each run of the monitor",
            bounds={"alarm": 1.0},
        ),
        "features": plots.plot_lines(
            days, {name: [(run["features"].get(name) or {}).get("drift") for run in drift] for name in worst},
            "drift of the columns that drift most",
        ),
        "quality": plots.plot_lines(
            days, {name: values for name, values in measured.items() if any(value is not None for value in values)},
            "quality on labelled rows of each run of the monitor", bounds=alarm,
        ),
        "rows": plots.plot_lines(
            days, {"served": [run["rows"] for run in drift], "labelled": [run["labelled"] for run in drift]},
            "rows of each run of the monitor",
        ),
    }  # fmt: skip
    return {
        "quality_plots": quality,
        "drift_plots": {name: Markup(svg) for name, svg in drawn.items()},
        "traffic_plots": {name: Markup(svg) for name, svg in _plot_traffic(traffic).items()},
        "calibration": {
            key: Markup(
                plots.plot_calibration(
                    [plots.CalibrationPoint(**point) for point in each["bins"]], f"observed over predicted, {key}"
                )
            )
            if each
            else ""
            for key, each in found["calibration"].items()
        },
    }


def _plot_traffic(traffic: list[Document]) -> dict[str, str]:
    hours = [f"{each['at']:%m-%d %H:%M}" for each in traffic]
    return {
        "latency": plots.plot_lines(
            hours,
            {name: [each[f"latency_ms_{name}"] for each in traffic] for name in ("p50", "p99")},
            "latency by hour",
        ),
        "requests": plots.plot_lines(hours, {"requests": [each["requests"] for each in traffic]}, "requests by hour"),
        "errors": plots.plot_lines(
            hours,
            {"failed": [each["errors_5xx"] for each in traffic], "refused": [each["errors_4xx"] for each in traffic]},
            "errors by hour",
        ),
    }
