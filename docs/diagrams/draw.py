"""Draws the diagrams of the documentation: `python docs/diagrams/draw.py`.

Every diagram has a ground of its own and follows the reader's light or dark setting, so that it can be read on a site,
in a repository's page and in an editor alike. A text that would not fit into its box is an error.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).resolve().parent

#: Width of a character in its size: an upper bound for the sans-serif faces of usual systems.
WIDE = 0.58
#: The same over a whole line.
MEAN = 0.53
SIZE, SMALL = 13, 11
LINE = 16
PAD = 6

_STYLE = """\
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:#1f2328}
.small{font-size:11px;fill:#57606a}.note{font-size:11px;fill:#57606a;paint-order:stroke;stroke:#fff;stroke-width:4px}
.head{font-weight:600}.mid{text-anchor:middle}.end{text-anchor:end}
.ground{fill:#fff;stroke:#d0d7de}.area{fill:#f6f8fa;stroke:#d0d7de;stroke-dasharray:4 3}
.box{fill:#eef2f6;stroke:#57606a}.good{fill:#d6f0ea;stroke:#0f766e}.bad{fill:#fbe3d6;stroke:#b45309}
.store{fill:#e6e6fa;stroke:#5b5bb0}
.line{fill:none;stroke:#57606a;stroke-width:1.4}.tip{fill:#57606a}.dash{stroke-dasharray:4 3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9aa4ae}.note{fill:#9aa4ae;stroke:#161b22}
.ground{fill:#161b22;stroke:#30363d}.area{fill:#1c232c;stroke:#3d444d}
.box{fill:#252d37;stroke:#9aa4ae}.good{fill:#123c37;stroke:#4fb8a8}.bad{fill:#46270f;stroke:#e0985a}
.store{fill:#2a2a52;stroke:#a3a3f0}.line{stroke:#9aa4ae}.tip{fill:#9aa4ae}}"""


@dataclass(frozen=True)
class Box:
    """A box that arrows can begin and end at."""

    x: int
    y: int
    width: int
    height: int

    @property
    def left(self) -> tuple[int, int]:
        """The middle of the left side, in pixels."""
        return self.x, self.y + self.height // 2

    @property
    def right(self) -> tuple[int, int]:
        """The middle of the right side, in pixels."""
        return self.x + self.width, self.y + self.height // 2

    @property
    def top(self) -> tuple[int, int]:
        """The middle of the upper side, in pixels."""
        return self.x + self.width // 2, self.y

    @property
    def bottom(self) -> tuple[int, int]:
        """The middle of the lower side, in pixels."""
        return self.x + self.width // 2, self.y + self.height


@dataclass
class Drawing:
    """A diagram of a size; ``title`` and ``about`` are read aloud in its place."""

    name: str
    width: int
    height: int
    title: str
    about: str
    parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, width: int, height: int, *lines: str, kind: str = "box") -> Box:
        """A box with centred lines; all but the first are small.

        Raises:
            ValueError: When a line is too long for it, or it leaves the ground.
        """
        self._within(x, y, width, height, lines[0] if lines else "box")
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        top = y + height // 2 - (len(lines) - 1) * LINE // 2 + 4
        for number, line in enumerate(lines):
            self._fits(line, SMALL if number else SIZE, width)
            style = "mid small" if number else "mid"
            self.text(x + width // 2, top + number * LINE, line, style)
        return Box(x, y, width, height)

    def area(self, x: int, y: int, width: int, height: int, label: str) -> Box:
        """A dashed area with its name in the upper left corner."""
        self._within(x, y, width, height, label)
        self.parts.append(f'<rect class="area" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        self._fits(label, SIZE, width)
        self.text(x + 10, y + 19, label, "head")
        return Box(x, y, width, height)

    def text(self, x: int, y: int, text: str, style: str = "") -> None:
        """A line of text whose baseline is at ``y``.

        Raises:
            ValueError: When it leaves the ground.
        """
        length = len(text) * (SMALL if "small" in style or "note" in style else SIZE) * MEAN
        start = x - (length / 2 if "mid" in style else 0)
        if start < PAD or start + length > self.width - PAD:
            raise ValueError(f"{self.name}: {text!r} leaves the ground; move or shorten it")
        chosen = f' class="{style}"' if style else ""
        self.parts.append(f'<text{chosen} x="{x}" y="{y}">{escape(text)}</text>')

    def arrow(
        self, *points: tuple[int, int], label: str = "", at: tuple[int, int] | None = None, dash: bool = False
    ) -> None:
        """A line through the points with a tip at its end; its label stands at ``at``, or over its middle."""
        self.line(*points, dash=dash)
        (x0, y0), (x1, y1) = points[-2:]
        across, down = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
        back = [
            (x1 - 8 * across - 4 * down, y1 - 8 * down - 4 * across),
            (x1 - 8 * across + 4 * down, y1 - 8 * down + 4 * across),
        ]
        corners = " ".join(f"{x},{y}" for x, y in [(x1, y1), *back])
        self.parts.append(f'<polygon class="tip" points="{corners}"/>')
        if label:
            middle = at or ((points[0][0] + points[1][0]) // 2, (points[0][1] + points[1][1]) // 2 - 5)
            self.text(*middle, label, "note mid")

    def line(self, *points: tuple[int, int], dash: bool = False) -> None:
        """A line through the points."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<polyline class="line{" dash" if dash else ""}" points="{path}"/>')

    def svg(self) -> str:
        """The whole file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" aria-label={quoteattr(self.title)}>'  # fmt: skip  # noqa: E501
        ground = f'<rect class="ground" x=".5" y=".5" width="{self.width - 1}" height="{self.height - 1}" rx="10"/>'
        described = f"<title>{escape(self.title)}</title>\n<desc>{escape(self.about)}</desc>"
        return "\n".join([head, described, f"<style>\n{_STYLE}\n</style>", ground, *self.parts, "</svg>", ""])

    def _fits(self, text: str, size: int, width: int) -> None:
        if len(text) * size * WIDE > width - 2 * PAD:
            raise ValueError(f"{self.name}: {text!r} does not fit into {width} pixels; shorten it or widen the box")

    def _within(self, x: int, y: int, width: int, height: int, what: str) -> None:
        if x < 4 or y < 4 or x + width > self.width - 4 or y + height > self.height - 4:
            raise ValueError(f"{self.name}: {what!r} leaves the ground; move it or enlarge the drawing")


def loop() -> Drawing:
    """From data to a prediction and back."""
    d = Drawing(
        "loop", 860, 400, "The loop",
        "Data are ingested, validated and joined; a model is trained, evaluated and gated; an approved one is "
        "deployed; the endpoint's captured requests and the outcomes are monitored; an alarm starts training again.",
    )  # fmt: skip
    d.area(16, 16, 828, 112, "training pipeline")
    names = [
        ("Ingest", "snapshot, hashed"), ("Validate", "or quarantine"), ("Dataset", "joined by time"),
        ("Train", "one job"), ("Evaluate", "on unseen rows"), ("Register", "with its verdict"),
    ]  # fmt: skip
    steps = [d.box(30 + 136 * place, 50, 120, 56, *lines) for place, lines in enumerate(names)]
    for one, other in pairwise(steps):
        d.arrow(one.right, other.left)
    registry = d.box(690, 176, 140, 60, "Model registry", "status: what serves", kind="store")
    endpoint = d.box(480, 176, 140, 60, "Endpoint", "blue/green, verified", kind="good")
    store = d.box(270, 176, 140, 60, "Feature store", "online and offline", kind="store")
    d.arrow((760, 106), registry.top, label="register", at=(792, 150))
    d.arrow(registry.left, endpoint.right, label="pulumi up")
    d.arrow((362, 106), (362, 176))
    d.arrow(store.right, endpoint.left, label="look-ups")
    capture = d.box(480, 292, 140, 60, "Data capture", "requests and answers", kind="store")
    monitor = d.box(270, 292, 140, 60, "Monitor", "every day")
    alarm = d.box(60, 292, 140, 60, "Alarm", "drift, calibration", kind="bad")
    d.box(60, 176, 140, 60, "Your data", "events, outcomes", kind="store")
    d.arrow(endpoint.bottom, capture.top)
    d.arrow(capture.left, monitor.right)
    d.arrow(monitor.left, alarm.right, label="metrics")
    d.arrow((175, 236), (175, 264), (320, 264), (320, 292), label="outcomes", at=(236, 259))
    d.arrow((70, 176), (70, 106), label="", at=None)
    d.arrow((60, 322), (28, 322), (28, 152), (48, 152), (48, 106))
    d.text(36, 378, "the rule that starts the training again is guarded: one at a time, and not too soon", "small")
    return d


def pieces() -> Drawing:
    """Use case, environment, stack."""
    d = Drawing(
        "pieces", 860, 330, "Use case, environment, stack",
        "A use case is a package of Python; an environment is in a stack's configuration; the one program makes of "
        "both a stack of resources in one account and region.",
    )  # fmt: skip
    case = d.area(16, 20, 236, 128, "use case")
    d.text(30, 66, "stacks/flights/__init__.py")
    d.text(30, 84, "the declaration", "small")
    d.text(30, 108, "stacks/flights/*.py")
    d.text(30, 126, "plain functions: data, features, model", "small")
    environment = d.area(16, 176, 236, 128, "environment")
    d.text(30, 222, "stacks/Pulumi.flights-dev.yaml")
    d.text(30, 240, "account, region, sizes, promotion,", "small")
    d.text(30, 256, "rollout, retention, notifications", "small")
    d.text(30, 284, "local, dev, prod, pr-123, …", "small")
    program = d.box(300, 126, 130, 72, "the program", "__main__.py", "one for all stacks")
    d.arrow(case.right, (276, 84), (276, 150), (300, 150))
    d.arrow(environment.right, (276, 240), (276, 174), (300, 174))
    d.area(504, 20, 340, 284, "stack flights-dev, on AWS or this machine")
    d.arrow(program.right, (504, 162), label="pulumi up")
    rows = [
        ("Lake", "bucket and key"), ("Access", "four roles"), ("Feature groups", "one a table"), ("Pipelines", "three"),
        ("Registry group", "versions of the model"), ("Endpoint", "once one is approved"),
        ("Alarms, topic", "and a dashboard"), ("Rules, schedules", "and their dead letters"),
    ]  # fmt: skip
    for place, lines in enumerate(rows):
        kind = "store" if place in (0, 2, 4) else "box"
        d.box(516 + 162 * (place % 2), 52 + 62 * (place // 2), 154, 52, *lines, kind=kind)
    return d


def times() -> Drawing:
    """Event time, lead time, when things were known."""
    d = Drawing(
        "times", 860, 300, "As it was known",
        "A flight at 12:00 is predicted at 11:00. A weather report of 10:00 is known at 11:00 and counts; that of "
        "11:00 is known at 12:00 and does not. The outcome is known after the landing.",
    )  # fmt: skip
    left, hour = 140, 134
    for place, clock in enumerate(("09:00", "10:00", "11:00", "12:00")):
        x = left + hour * place
        d.line((x, 50), (x, 288), dash=True)
        d.text(x, 40, clock, "mid head" if clock in ("11:00", "12:00") else "mid small")
    d.text(20, 84, "the event")
    d.box(left + 3 * hour - 44, 66, 88, 30, "departure", kind="good")
    d.box(left + 2 * hour - 46, 66, 92, 30, "prediction", kind="good")
    d.line((left + 2 * hour + 46, 81), (left + 3 * hour - 44, 81))
    d.text(left + 2 * hour + hour // 2, 112, "lead time: 1 h", "note mid")
    for place, (stamp, kind, said) in enumerate(
        [
            ("09:00", "store", "known at 10:00: an older row"),
            ("10:00", "good", "known at 11:00: the newest one that counts"),
            ("11:00", "bad", "known at 12:00: never joined, though stamped 11:00"),
        ]
    ):
        d.text(20, 148 + 42 * place, f"weather of {stamp}")
        d.box(left + hour * place, 130 + 42 * place, hour, 28, "of this hour", kind=kind)
        d.text(left + hour * (place + 1) + 10, 148 + 42 * place, said, "note")
    d.text(20, 276, "the outcome")
    d.arrow((left, 271), (left + 3 * hour, 271), dash=True)
    d.text(left + 3 * hour + 10, 275, "known when it has arrived: only then a label", "note")
    return d


def promotion() -> Drawing:
    """The way of a model."""
    d = Drawing(
        "promotion", 860, 310, "From a trained model to one that serves",
        "A model that fails its gate is refused and never registered. A registered one is rejected, waits for a "
        "person, or is approved; the newest approved one is what the next pulumi up deploys. To go back, the version "
        "that serves is rejected.",
    )  # fmt: skip
    trained = d.box(20, 40, 120, 52, "trained", "and evaluated")
    gate = d.box(190, 40, 120, 52, "gate", "and slices")
    refused = d.box(190, 130, 120, 52, "refused", "not registered", kind="bad")
    champion = d.box(360, 40, 140, 52, "better than", "the champion?")
    rejected = d.box(360, 220, 140, 56, "Rejected", "kept, never serves", kind="bad")
    pending = d.box(544, 130, 172, 56, "PendingManualApproval", "waits for a person", kind="store")
    approved = d.box(544, 40, 172, 52, "Approved", "the newest one counts", kind="good")
    serves = d.box(756, 40, 88, 52, "serves", kind="good")
    d.arrow(trained.right, gate.left)
    d.arrow(gate.bottom, refused.top, label="fails", at=(270, 114))
    d.arrow(gate.right, champion.left, label="passes")
    d.arrow(champion.right, approved.left, label="automatic", at=(522, 33))
    d.arrow((480, 92), (480, 158), pending.left, label="manual, or unclear", at=(536, 116))
    d.arrow((400, 92), (400, 220), label="no", at=(388, 160))
    d.arrow(pending.top, approved.bottom, label="approve", at=(660, 116))
    d.arrow((630, 186), (630, 248), rejected.right, label="reject", at=(600, 242))
    d.arrow(approved.right, serves.left, label="pulumi up", at=(736, 33))
    d.arrow(
        (800, 92), (800, 264), (500, 264), label="reject, then pulumi up: the one before serves again", at=(656, 282)
    )
    return d


def rollout() -> Drawing:
    """Blue/green in time."""
    d = Drawing(
        "rollout", 860, 320, "A deployment, and one that is undone",
        "The old fleet serves while the new one starts; traffic moves; alarms are watched while it bakes. Without an "
        "alarm the old fleet ends and the check finds the new configuration; with one, traffic goes back and the "
        "update fails.",
    )  # fmt: skip
    for top, label in ((30, "it goes well"), (172, "an alarm fires")):
        d.text(20, top + 4, label, "head")
    d.text(20, 64, "old fleet")
    d.text(20, 104, "new fleet")
    d.box(110, 48, 420, 28, "serves", kind="good")
    d.box(530, 48, 150, 28, "stands by")
    d.box(250, 88, 130, 28, "starts")
    d.box(380, 88, 150, 28, "canary share", kind="good")
    d.box(530, 88, 310, 28, "serves", kind="good")
    d.text(455, 136, "bake: alarms are watched", "small mid")
    d.text(605, 136, "bake once more", "small mid")
    d.text(760, 136, "verified: up succeeds", "small mid")
    d.text(20, 206, "old fleet")
    d.text(20, 246, "new fleet")
    d.box(110, 190, 730, 28, "serves", kind="good")
    d.box(250, 230, 130, 28, "starts")
    d.box(380, 230, 110, 28, "canary share", kind="bad")
    d.arrow((490, 244), (530, 244), (530, 218))
    d.text(435, 278, "errors or latency in ALARM", "small mid")
    d.text(545, 248, "all traffic goes back; no request is lost", "small")
    d.text(545, 278, "up fails and names the alarm; the approval stays", "small")
    d.text(20, 304, "time runs to the right; with traffic all_at_once the share is everything", "small")
    return d


def places() -> Drawing:
    """The same program in two places."""
    d = Drawing(
        "places", 860, 330, "One program, two places",
        "The same program runs with the stock Pulumi engine. On AWS its provider is the official one; on this machine "
        "the provider, SageMaker and the runtime are in one process, which runs jobs and model servers as child "
        "processes.",
    )  # fmt: skip
    program = d.box(350, 20, 160, 50, "the program", "unchanged")
    engine = d.box(350, 106, 160, 50, "Pulumi engine", "the official CLI")
    d.arrow(program.bottom, engine.top)
    d.area(20, 100, 270, 210, "AWS")
    d.box(40, 134, 230, 44, "official aws provider")
    d.box(40, 194, 230, 44, "S3, SageMaker, CloudWatch, …", kind="store")
    d.box(40, 254, 230, 44, "instances with your image", kind="good")
    d.area(570, 100, 274, 210, "this machine, one process")
    d.box(590, 134, 234, 44, "own aws provider", "the types that are used")
    d.box(590, 194, 112, 44, "moto", "S3, IAM, …", kind="store")
    d.box(712, 194, 112, 44, "SageMaker", "our own", kind="store")
    d.box(590, 254, 234, 44, "child processes", "no containers", kind="good")
    d.arrow(engine.left, (270, 131), (270, 150), label="")
    d.arrow(engine.right, (590, 131), (590, 150))
    for x in (155, 707):
        d.arrow((x, 178), (x, 194))
        d.arrow((x, 238), (x, 254))
    d.text(430, 196, "boto3, the AWS CLI and", "small mid")
    d.text(430, 212, "other SDKs speak to either", "small mid")
    d.arrow((350, 222), (290, 222))
    d.arrow((510, 222), (570, 222))
    d.line((350, 222), (510, 222))
    return d


ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32" role="img" aria-label="Millrace">
<title>Millrace</title>
<rect width="32" height="32" rx="7" fill="#0f766e"/>
<path d="M4 20q4-6 8 0t8 0 8 0M4 13q4-6 8 0t8 0 8 0" fill="none" stroke="#fff" stroke-width="2.6"
 stroke-linecap="round"/>
</svg>
"""


def files() -> dict[str, str]:
    """Every file, by its name."""
    drawn = [make() for make in (loop, pieces, times, promotion, rollout, places)]
    return {"icon.svg": ICON, **{f"{each.name}.svg": each.svg() for each in drawn}}


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (HERE / name).write_text(text)
        sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main()
