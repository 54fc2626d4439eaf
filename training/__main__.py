"""The one entry point of jobs and endpoints: `python3 <bundle>.pyz <step>`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from millrace.errors import MillraceError, OwnCodeError
from millrace.inventory import JobVariable

#: Bytes of a processing job's message, or of a training job's failure, that SageMaker shows.
SHOWN = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step; print one line and exit with status 1 if it fails.

    Args:
        arguments: The step and its options; None takes those of the process.
    """
    options = _parser().parse_args(arguments)
    # One thread: a fitted model's bytes must not depend on the machine's cores, and a server has threads of its own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        _run(options)
    except MillraceError as error:
        if isinstance(error, OwnCodeError):
            # Whoever wrote the code looks for the way there, in the job's log.
            traceback.print_exception(error.__cause__)
        _fail(options.step, str(error), error)
    except Exception as error:  # noqa: BLE001 - every error must reach SageMaker before the process ends
        traceback.print_exc()
        _fail(options.step, f"{type(error).__name__}: {error}", error)


def _run(options: argparse.Namespace) -> None:
    """Run the selected step; import only its module."""
    from training.job import Job

    job = Job.from_process()
    if options.step == "ingest":
        from training.data import ingest

        ingest.run_ingest(job, options.as_of, options.trigger, options.execution, options.champion)
    elif options.step == "validate":
        from training.data import validate

        validate.run_validate(job)
    elif options.step == "dataset":
        from training.data import dataset

        dataset.run_dataset(job, options.champion)
    elif options.step == "train":
        from training.modeling import train

        train.run_train(job)
    elif options.step == "evaluate":
        from training.modeling import evaluate

        evaluate.run_evaluate(job, options.champion)
    elif options.step == "score":
        from training.modeling import score

        score.run_score(job, options.rows, options.out)
    elif options.step == "publish":
        from training.data import publish

        if options.snapshot:
            publish.publish_snapshot(job, backfill=options.backfill)
        else:
            publish.run_publish(job, options.as_of)
    elif options.step == "monitor":
        from training.monitoring import monitor

        monitor.run_monitor(job, options.as_of)
    elif options.step == "sample":
        from training.serving import sample

        sample.run_sample(job, options.as_of)
    elif options.step == "serve":
        from training.serving import server

        server.run_serve(job)
    else:
        from training.serving import replay

        replay.run_replay(job, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace bundle", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True, metavar="step")

    def step(name: str, text: str) -> argparse.ArgumentParser:
        return steps.add_parser(name, help=text, description=text)

    def as_of(name: str, text: str) -> argparse.ArgumentParser:
        sub = step(name, text)
        sub.add_argument("--as-of", default="now", help="ISO time, or 'now' (default)")
        return sub

    def champion(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--champion", default="approved", help="package ARN; 'approved' (default): the newest one; 'none'"
        )

    ingest = as_of("ingest", "decide whether to train; take a snapshot of events, labels and tables")
    ingest.add_argument("--trigger", default="manual", help="what started the pipeline; 'manual' always trains")
    ingest.add_argument("--execution", default="", help="ARN of the pipeline's execution")
    champion(ingest)
    step("validate", "check the snapshot; set bad rows aside or refuse it")
    champion(step("dataset", "join and split: the training set"))
    step("train", "fit the model")
    champion(step("evaluate", "measure, audit, compare with the champion, decide"))
    score = step("score", "score joined rows with the model next to this bundle")
    score.add_argument("--rows", required=True, help="Parquet file of joined rows")
    score.add_argument("--out", required=True, help="Parquet file to write: key and score")
    publish = as_of("publish", "bring the feature store up to date")
    publish.add_argument("--snapshot", action="store_true", help="publish the tables of the input snapshot")
    publish.add_argument(
        "--backfill", action="store_true", help="with --snapshot: all history, not only the newest days"
    )
    as_of("monitor", "measure drift and quality of what was served")
    as_of("sample", "print a request for an event that is still to come")
    step("serve", "serve the model next to this bundle")
    replay = step("replay", "send past events to an endpoint as if they happened now")
    replay.add_argument("--since", required=True, help="ISO time")
    replay.add_argument("--until", required=True, help="ISO time")
    replay.add_argument("--endpoint", default="", help="default: the use case's own")
    replay.add_argument("--step-hours", type=float, default=24.0, dest="step_hours", help="data time per step")
    replay.add_argument("--batch", type=int, default=500, help="rows per request")
    return parser


def _fail(step: str, text: str, error: Exception) -> None:
    """Write the failure to the log and, inside a job, to SageMaker's output; then exit with status 1.

    Args:
        step: The step that failed.
        text: The reason, for people.
        error: The exception; if AWS refused a call, its error code goes into the failure file.
    """
    from training.job import BASE

    sys.stderr.write(f"error: {step}: {text}\n")
    if file := os.environ.get(JobVariable.FAILURE_FILE):
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        Path(file).write_text(json.dumps({"version": 1, "step": step, "text": text, "code": code}))
    name = "failure" if step == "train" else "message"
    output = BASE / "output"
    if BASE.is_dir():
        output.mkdir(exist_ok=True)
        (output / name).write_bytes(text.encode()[:SHOWN].decode(errors="ignore").encode())
    sys.exit(1)


if __name__ == "__main__":
    main()
