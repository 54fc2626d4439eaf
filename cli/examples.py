"""Examples of each command, at the end of its help."""

from __future__ import annotations

import click

_HEADING = "Examples:"

#: Command → (what is typed, what it is for), in the order of `cli/main.py`.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "millrace new": (
        ("millrace new churn", "a use case with made-up data, to adapt afterwards"),
        ("millrace new churn --from calls.csv --target left --dry-run", "from a file; what would be written"),
    ),
    "millrace up": (
        ("millrace up", "the first use case on this machine, from nothing to a prediction"),
        ("millrace up churn --no-observe", "another one, without the first replay and monitor"),
        ("millrace up --stack flights-dev", "in your own AWS account; it asks first"),
    ),
    "millrace diff": (
        ("millrace diff flights --base main", "what a branch would change, without credentials"),
        ("millrace diff flights --env dev --save-plan plan.json --output comment.md", "for a pull request's comment"),
    ),
    "millrace deploy": (
        ("millrace deploy flights", "the current program, on this machine"),
        ("millrace deploy flights --env dev --plan plan.json --yes", "exactly what was shown, or nothing"),
        (
            "millrace deploy platform --env dev --create",
            "what the use cases of an environment share, for the first time",
        ),
    ),
    "millrace status": (
        ("millrace status", "every use case in every environment"),
        ("millrace status flights --env dev --json", "one stack in depth, for a program"),
        ("millrace status --fail-on attention", "for a script that checks every hour"),
    ),
    "millrace watch": (("millrace watch flights", "the same as status, live, until Ctrl-C"),),
    "millrace report": (
        ("millrace report flights --open", "one page, shown in the browser"),
        ("millrace report flights --env prod --output flights.md", "as Markdown, for a wiki"),
    ),
    "millrace retrain": (
        ("millrace retrain flights", "train on what is known now, and compare with the champion"),
        (
            "millrace retrain flights --champion none --as-of 2013-05-01T00:00:00Z",
            "as of an earlier time, without a champion",
        ),
    ),
    "millrace run": (
        ("millrace run flights --pipeline monitor", "run the monitor now"),
        ("millrace run flights --pipeline features --no-wait", "publish the feature tables and do not wait"),
    ),
    "millrace approve": (
        ("millrace approve flights", "the newest model that waits for approval, after its metrics are shown"),
        ("millrace approve flights 4 --yes --deploy", "a given version, without confirmation; waits until it serves"),
    ),
    "millrace reject": (("millrace reject flights 4 --reason 'wrong for winter'", "keep version 4 from serving"),),
    "millrace rollback": (
        ("millrace rollback flights", "to the approved version before the one that serves"),
        ("millrace rollback flights --to 2 --reason 'errors since Monday'", "to a given version"),
    ),
    "millrace alarms list": (("millrace alarms list flights --env prod", "every alarm, its state and who snoozed it"),),
    "millrace alarms snooze": (
        (
            "millrace alarms snooze flights drift --for 2w --reason 'the summer timetable begins'",
            "fires and is shown, but notifies nobody until then",
        ),
    ),
    "millrace alarms acknowledge": (
        (
            "millrace alarms acknowledge flights labels --reason 'the feed is repaired on Monday'",
            "until it is OK again",
        ),
    ),
    "millrace alarms unsnooze": (("millrace alarms unsnooze flights", "all of them notify again"),),
    "millrace pause": (
        ("millrace pause flights --reason 'the source is down'", "nothing starts automatically any more"),
        ("millrace pause flights --only retraining", "alarms start no training; the monitor keeps running"),
    ),
    "millrace resume": (("millrace resume flights", "everything starts automatically again"),),
    "millrace invoke": (
        ("millrace invoke flights --sample", "the next real event after the data clock"),
        ("millrace invoke flights --file requests.csv --json-output", "many records, for a program"),
    ),
    "millrace logs": (
        ("millrace logs flights-local", "what the endpoint printed"),
        ("millrace logs flights-local-training/Evaluate", "what one step of the newest training printed"),
    ),
    "millrace replay": (
        (
            "millrace replay flights --since 2013-04-08 --until 2013-05-01",
            "three weeks of past flights, as if they happened now",
        ),
    ),
    "millrace gc": (
        ("millrace gc flights --dry-run", "what would be deleted, and its size"),
        ("millrace gc flights --older-than 90d --keep 5", "more cautious than the defaults"),
    ),
    "millrace destroy": (
        ("millrace destroy churn", "on this machine, with all data"),
        ("millrace destroy churn --env dev", "in an account: lake, key and registry are kept"),
    ),
    "millrace prices refresh": (
        ("millrace prices refresh", "for the regions of the stacks, with your own credentials"),
        ("millrace prices refresh --region eu-west-1 --profile billing", "for one region, with another profile"),
    ),
    "millrace upgrade": (
        ("millrace upgrade --diff", "what would be rewritten"),
        ("millrace upgrade --check", "for a pipeline: exit code 1 when something is outdated"),
    ),
    "millrace workflows github": (
        ("millrace workflows github --dry-run", "what would be written"),
        (
            "millrace workflows github --env dev --env prod --backend s3://your-pulumi-state",
            "for two environments, in the order of promotion",
        ),
    ),
    "millrace workflows gitlab": (
        ("millrace workflows gitlab --automatic dev", "dev is deployed without manual approval"),
    ),
    "millrace workflows keep": (
        ("millrace workflows keep flights-dev plan.json", "run by the workflow that previews"),
    ),
    "millrace workflows saved": (
        ("millrace workflows saved flights --env dev --output build", "run by the workflow that deploys"),
    ),
    "millrace workflows stacks": (("millrace workflows stacks --changed-since origin/main", "what a branch affects"),),
    "millrace review create": (
        ("millrace review create flights --pr 123 --up", "like dev, with a model that serves"),
        ("millrace review create flights --pr 123 --expires 8h", "for a working day"),
    ),
    "millrace review destroy": (("millrace review destroy --pr 123 --yes", "when the pull request is closed"),),
    "millrace review expire": (("millrace review expire --yes", "run by a workflow every night"),),
    "millrace review list": (("millrace review list", "which stacks exist, and when they expire"),),
    "millrace completion": (
        ("millrace completion bash --install", "once, for every shell from now on"),
        ('eval "$(millrace completion zsh)"', "for this shell only"),
    ),
    "millrace local start": (
        ("millrace local start", "only the cloud, where an hour takes a minute"),
        ("millrace local start --scale 3600 --port 4566", "faster, on a fixed port"),
        ("millrace local start --image fraud/scorer=images/scorer", "with your own image, unpacked in that folder"),
    ),
    "millrace local stop": (("millrace local stop", "everything is kept"),),
    "millrace local status": (("millrace local status --json", "where it listens, for a program"),),
    "millrace local reset": (("millrace local reset --yes", "start from scratch"),),
    "millrace local env": (
        ('eval "$(millrace local env)"', "the AWS CLI, boto3 and pulumi use the local cloud in this shell"),
        ("millrace local env --shell fish | source", "the same in fish"),
        ("millrace local env --shell docker > local.env", "for `docker run --network host --env-file local.env`"),
    ),
    "millrace local rotate": (("millrace local rotate", "when somebody may have seen the access key"),),
    "millrace local logs": (("millrace local logs --follow", "the log of the cloud itself"),),
}


def add_examples(command: click.Command, path: str) -> None:
    """Add its examples to the help of a command, and of the commands in a group; once only.

    Args:
        command: The command.
        path: The words that call it, e.g. ``millrace review list``.
    """
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            add_examples(below, f"{path} {name}")
    if path in EXAMPLES and _HEADING not in (command.help or ""):
        # Click keeps the lines of a paragraph after \b; Markdown shows indented lines as code.
        lines = "\n".join(f"    # {purpose}\n    {line}" for line, purpose in EXAMPLES[path])
        command.help = f"{command.help}\n\n{_HEADING}\n\n\b\n{lines}"
