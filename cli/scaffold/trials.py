"""Trials of a rendered use case, repeated until no feature leaks, and its final files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cli.console.errors import CliError
from cli.scaffold import gates, plan, render, trial
from cli.scaffold.begun import Begun
from cli.scaffold.plan import Plan

#: Maximum number of trials: leaks are found a few at a time.
_TRIES = 4


def try_out(begun: Begun, found: Plan, body: bytes | None) -> tuple[Plan, dict[str, bytes], trial.Trial]:
    """Render and train until no feature leaks; then add the gate and render the final files.

    Raises:
        CliError: When no feature is left, the pipeline would refuse the data, or the rows have only one outcome.
    """
    for _ in range(_TRIES):
        if not found.features:
            raise _refuse_empty(found)
        with begun.progress.stage("try") as stage:
            stage.note("training as the pipeline will")
            result = _run_trial(found, body)
            stage.result = _describe_result(found, result)
        if result.absent and not result.refusals:
            gone = "it is missing in all rows that the first model is fitted on"
            found = plan.leave_out_features(
                found, {each.column: gone for each in found.features if each.name in result.absent}
            )
            continue
        if not result.leaks:
            break
        found = _without_leaks(begun, found, result.leaks)
    if result.leaks or result.refusals:
        reasons = [*result.refusals, *(f"{name} predicts {found.target} alone" for name in result.leaks)]
        raise CliError(
            "the training pipeline", "would refuse these data:\n" + "\n".join(f"  - {reason}" for reason in reasons)
        )
    if not result.metrics:
        raise CliError(
            f"the rows before {found.replay_from:%Y-%m-%d %H:%M}, or the newest fifth of them,",
            f"hold one value of {found.target} only, and rows are split by time",
            fix=f"check whether the file is ordered by {found.target}"
            + ("; shuffle it, or name a column with --event-time" if found.last else ""),
        )
    found = replace(found, gates=(gates.choose_gate(found, result),))
    files = render.render_files(found, body)
    with tempfile.TemporaryDirectory(prefix="millrace-new-") as folder:
        trial.write_files(files, Path(folder))
        trial.check_files(files, Path(folder), found)
    return found, files, result


def _refuse_empty(found: Plan) -> CliError:
    """Return the error of data that leave no column to predict from."""
    reasons = [f"  - {column!r} is left out: {reason}" for column, reason in found.left_out]
    if not reasons:
        reasons = ["  - the file has only the target, the key and the event time"]
    return CliError(
        "no column",
        "\n".join(["is left to predict from:", *reasons, ""]),
        fix="correct the file, use --leave-out for fewer columns, or --trust for a column that is known before "
        "the outcome",
    )


def _run_trial(found: Plan, body: bytes | None) -> trial.Trial:
    with tempfile.TemporaryDirectory(prefix="millrace-new-") as folder:
        trial.write_files(render.render_files(found, body), Path(folder))
        return trial.run_trial(Path(folder), found)


def _without_leaks(begun: Begun, found: Plan, leaks: Mapping[str, float]) -> Plan:
    """Return the plan with each leaking column trusted or left out, as a person decides."""
    out = {}
    for feature in found.features:
        if feature.name not in leaks:
            continue
        said = f"{feature.column} alone predicts {found.target} with an AUC of {leaks[feature.name]:.3f}"
        if begun.questions.ask_agreement(
            "--leave-out", feature.column,
            f"{said}. Is it known before the outcome? If so: --trust {feature.column}",
            "a column that is derived from the outcome is missing when a prediction is requested",
        ):  # fmt: skip
            out[feature.column] = f"{said}; if it is known before the outcome: --trust {feature.column}"
        else:
            found = replace(found, trusted=(*found.trusted, feature.name))
    begun.questions.require_all()
    return plan.leave_out_features(found, out)


def _describe_result(found: Plan, result: trial.Trial) -> str:
    if result.leaks:
        return f"{', '.join(result.leaks)} {'predicts' if len(result.leaks) == 1 else 'predict'} {found.target} alone"
    metric = "roc_auc" if found.is_binary else "mae"
    reached = f"{metric} {result.metrics[metric]:.4g}" if metric in result.metrics else "no metric"
    return f"{reached} on {result.rows} rows that it was not fitted on" if result.rows else "the data would be refused"
