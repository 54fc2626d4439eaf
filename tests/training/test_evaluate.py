"""The evaluation: gate, audit, comparison with the champion, decision."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from millrace import Gate, Slice, UseCase
from millrace.documents import Comparison, Verdict
from millrace.environment import ApprovalMode
from queries.packages import APPROVED, PENDING, REJECTED
from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE
from tests.local.watched import make_topic
from tests.training import synthetic
from training import columns as c
from training.data.dataset import FIT, HOLDOUT, Dataset
from training.modeling.evaluate import audit_slices, compare_with_champion, decide_approval
from training.modeling.gates import find_failures
from training.modeling.model import Model
from training.registry import Package

PACKAGE = Package("arn:aws:sagemaker:eu-west-1:123456789012:model-package/toy/3", 3, "s3://b/k", Path("/nowhere"))
MANUAL, AUTOMATIC = ApprovalMode.MANUAL, ApprovalMode.AUTOMATIC
BETTER, WORSE, UNCLEAR = (
    Comparison(text=text, rows=500, verdict=verdict)
    for text, verdict in (("better", Verdict.BETTER), ("worse", Verdict.BEATEN), ("unclear", Verdict.UNDECIDED))
)


@pytest.mark.parametrize(("failed", "package", "comparison", "mode", "status", "reason"), [
    ([], None, UNCLEAR, MANUAL, PENDING, "the gate is passed and no champion exists"),
    ([], None, UNCLEAR, AUTOMATIC, APPROVED, "the gate is passed and no champion exists"),
    (["a", "b"], None, UNCLEAR, AUTOMATIC, REJECTED, "a; b"),
    (["a"], PACKAGE, BETTER, AUTOMATIC, REJECTED, "a"),
    ([], PACKAGE, BETTER, MANUAL, PENDING, "better"),
    ([], PACKAGE, BETTER, AUTOMATIC, APPROVED, "better"),
    ([], PACKAGE, WORSE, MANUAL, REJECTED, "worse"),
    ([], PACKAGE, WORSE, AUTOMATIC, REJECTED, "worse"),
    ([], PACKAGE, UNCLEAR, MANUAL, PENDING, "unclear"),
    # Without rows to compare on, nothing is approved automatically.
    ([], PACKAGE, UNCLEAR, AUTOMATIC, PENDING, "unclear"),
])  # fmt: skip
def test_the_approval_decision(
    failed: list[str], package: Package | None, comparison: Comparison, mode: ApprovalMode, status: str, reason: str
) -> None:
    assert decide_approval(failed, package, comparison, mode) == (status, reason)


def make_holdout(seed: int = 0) -> dict[str, Any]:
    """Return three groups: half of the positives of `a` are found, all of `b`; `c` is too small to judge."""
    rng = np.random.default_rng(seed)
    band = np.array(["a"] * 400 + ["b"] * 400 + ["c"] * 20, dtype=object)
    y = np.tile([1.0, 0.0], 410)
    p = np.where(y == 1, 0.9, 0.1)
    p[:400][(y[:400] == 1) & (np.arange(400) % 4 == 0)] = 0.1
    p[800:] = 0.1
    times = np.datetime64("2026-01-01", "us") + np.arange(820) // 41 * np.timedelta64(1, "D")
    return {"y": y, "p": p, "placed_at": times, "band": band, "size": rng.random(820).astype(np.float32)}


def list_failures(case: UseCase) -> list[str]:
    holdout = make_holdout()
    return find_failures(case, [], audit_slices(case, holdout), holdout["y"], holdout["p"], {})


def test_gaps_between_groups_with_enough_rows_are_gated() -> None:
    case = synthetic.use_case(slices=[Slice("band", max_tpr_gap=0.4, max_fpr_gap=0.1, min_rows=100)], gates=[])
    found = audit_slices(case, make_holdout())
    rates = {name: group.tpr for name, group in found["band"].groups.items()}
    assert rates == {"a": 0.5, "b": 1.0, "c": 0.0}
    gaps = found["band"].gaps
    assert {rate: gap.value for rate, gap in gaps.items()} == {
        "tpr": 0.5, "fpr": 0.0, "selection": 0.25, "precision": 0.0,
    }  # fmt: skip
    assert (gaps["tpr"].between, gaps["tpr"].unclear, gaps["tpr"].bound) == (["a", "b"], ["c"], 0.4)
    [failure] = list_failures(case)
    assert failure.startswith("tpr gap between the groups a and b of band is 0.500, at least 0.4")
    assert failure.endswith("; expected at most 0.4")
    assert list_failures(synthetic.use_case(slices=[Slice("band", min_rows=100)], gates=[])) == []


def test_a_number_is_audited_in_quarters() -> None:
    case = synthetic.use_case(slices=[Slice("size", min_rows=30)])
    groups = audit_slices(case, make_holdout())["size"].groups
    assert len(groups) == 4
    assert [group.rows for group in groups.values()] == [205] * 4


def make_identity(name: str) -> dict[str, Any]:
    return {"identity": {"snapshot": name, "dataset": name, "code": "same", "parameters": "same", "runtime": "same"}}


def test_models_that_cannot_share_rows_are_compared_on_what_both_held_out(tmp_path: Path) -> None:
    """Always predicting one half has a Brier score of a quarter; the challenger is nearer by 0.01."""
    y = np.tile([0.0, 1.0], 50)
    keys = np.array([f"k{row}" for row in range(100)], dtype=object)
    times = np.datetime64("2026-01-01", "us") + np.arange(100) * np.timedelta64(6, "h")
    nearer = 0.5 - np.sqrt(0.25 - 0.01)
    for name, p in (("champion", np.full(100, 0.5)), ("challenger", np.where(y == 1, 0.5 + nearer, 0.5 - nearer))):
        # The champion held out ten additional rows.
        kept = slice(0, 100 if name == "champion" else 90)
        held = {"order_id": keys[kept], "placed_at": times[kept], "y": y[kept], "p": p[kept]}
        c.write(held, tmp_path / name / "holdout.parquet")
        (tmp_path / name / "model.json").write_text(json.dumps(make_identity(name)))
    case = synthetic.use_case()
    package = Package(PACKAGE.arn, 3, PACKAGE.model_data, tmp_path / "champion")
    challenger = Model(synthetic.functions(case), {**make_identity("challenger"), "categories": {}}, None)
    seen = Dataset({"order_id": keys[:0], "fold": keys[:0]}, {"unseen": False})
    found = compare_with_champion(case, challenger, tmp_path / "challenger", seen, package, 1, tmp_path)
    assert found.verdict is Verdict.BETTER
    assert (found.rows, found.blocks, found.champion) == (90, 23, 0.25)
    assert (found.challenger, found.gain) == (pytest.approx(0.24), pytest.approx(0.01))
    assert "champion version 3: brier 0.24000 against 0.25000 on 90 rows that both held out" in found.text


def test_without_common_rows_nothing_is_decided(tmp_path: Path) -> None:
    for name in ("champion", "challenger"):
        keys = np.array([f"{name}{row}" for row in range(100)], dtype=object)
        times = np.full(100, np.datetime64("2026-01-01", "us"))
        held = {"order_id": keys, "placed_at": times, "y": np.zeros(100), "p": np.zeros(100)}
        c.write(held, tmp_path / name / "holdout.parquet")
        (tmp_path / name / "model.json").write_text(json.dumps(make_identity(name)))
    case = synthetic.use_case()
    package = Package(PACKAGE.arn, 3, PACKAGE.model_data, tmp_path / "champion")
    challenger = Model(synthetic.functions(case), {**make_identity("challenger"), "categories": {}}, None)
    seen = Dataset({"order_id": keys[:0], "fold": keys[:0]}, {"unseen": False})
    found = compare_with_champion(case, challenger, tmp_path / "challenger", seen, package, 1, tmp_path)
    assert found.verdict is Verdict.INCOMPARABLE
    assert found.text.startswith("champion version 3 was fitted on all rows")


# -- the step ----------------------------------------------------------------------------------------------------------


@dataclass
class Loop:
    """Registered champion as of March and challenger as of April."""

    daemon: CloudDaemon
    pyz: Path
    folder: Path
    champion: Path
    challenger: Path
    arn: str

    def evaluate(
        self, base: Path, *arguments: str, promotion: str = "automatic", topic: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """Evaluate the challenger."""
        write_archive(self.challenger / "model", base / "processing/input/model/model.tar.gz")
        synthetic.hand_over(self.challenger / "dataset", base / "processing/input/dataset")
        env = {**self.daemon.access, "MILLRACE_PROMOTION": promotion, "MILLRACE_TOPIC": topic}
        done = synthetic.run_step(self.pyz, base, "evaluate", *arguments, env=env)
        return done.stdout, json.loads((base / "processing/output/evaluation/evaluation.json").read_text())


def write_archive(model: Path, target: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(buffer.getvalue())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def loop(cloud_daemon: CloudDaemon, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    folder = tmp_path_factory.mktemp("evaluate")
    case = synthetic.use_case(name="toy-judged")
    pyz = synthetic.build(folder, case)
    champion = synthetic.train_model(pyz, folder / "champion", "2024-03-01T00:00:00Z")
    s3, sagemaker = cloud_daemon.client("s3"), cloud_daemon.client("sagemaker")
    s3.create_bucket(Bucket="toy-judged", CreateBucketConfiguration={"LocationConstraint": synthetic.REGION})
    s3.put_object(Bucket="toy-judged", Key="m.tar.gz", Body=write_archive(champion / "model", folder / "m.tar.gz"))
    sagemaker.create_model_package_group(ModelPackageGroupName="toy-judged-local")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="toy-judged-local",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://toy-judged/m.tar.gz"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]  # fmt: skip
    base = folder / "challenger"
    env = cloud_daemon.access
    synthetic.run_step(pyz, base / "job", "ingest", "--as-of", synthetic.AS_OF)
    synthetic.hand_over(base / "job/processing/output/snapshot", base / "job/processing/input/snapshot")
    synthetic.run_step(pyz, base / "job", "dataset", "--champion", "approved", env=env)
    synthetic.hand_over(base / "job/processing/output/dataset", base / "training/input/data/dataset")
    synthetic.hand_over(base / "job/processing/output/dataset", base / "training/dataset")
    synthetic.run_step(pyz, base / "training", "train")
    return Loop(cloud_daemon, pyz, folder, champion, base / "training", arn)


def test_the_challenger_is_judged_on_days_that_neither_has_seen(loop: Loop, tmp_path: Path) -> None:
    log, evaluation = loop.evaluate(tmp_path, "--champion", "approved")
    dataset = Dataset.read(loop.challenger / "dataset")
    judge = dataset.select_folds(HOLDOUT)
    assert dataset.manifest["champion"] == loop.arn
    # The champion knows February; of March, at most the newest seven days judge. Of three orders no label is known yet.
    assert dataset.is_unseen
    assert c.count_rows(judge) == 7 * 48 - 3
    case = synthetic.use_case(name="toy-judged")
    functions = synthetic.functions(case)
    # The challenger's scores are those of a fit that has not seen the seven days; the model that serves has.
    held = c.read(loop.challenger / "model/holdout.parquet")
    assert held["order_id"].tolist() == judge["order_id"].tolist()
    champion = Model.load(loop.champion / "model", functions).predict(judge)
    scores = {
        "champion": brier_score_loss(judge["late"], champion),
        "challenger": brier_score_loss(judge["late"], held["p"]),
    }
    found = evaluation["champion"]
    assert found["package"] == loop.arn
    assert (found["rows"], found["blocks"], found["look"]) == (333, 7, 1)
    assert {name: found[name] for name in scores} == pytest.approx(scores, abs=1e-6)
    days = np.split(np.arange(333), range(48, 333, 48))
    losses = (judge["late"] - champion) ** 2 - (judge["late"] - held["p"]) ** 2
    without = np.array([np.delete(losses, day).mean() for day in days])
    error = np.sqrt(6 / 7 * np.sum((without - without.mean()) ** 2))
    reach = stats.t.ppf(1 - 0.05 * 6 / np.pi**2 / 2, 6) * error
    gain = scores["champion"] - scores["challenger"]
    assert (found["gain"], found["lower"], found["upper"], found["margin"]) == pytest.approx(
        (gain, gain - reach, gain + reach, 0.005 * scores["champion"]), abs=2e-6
    )
    statuses = {"better": APPROVED, "beaten": REJECTED, "undecided": PENDING}
    assert evaluation["approval"] == {"status": statuses[found["verdict"]], "description": found["text"]}
    # So few rows are judged with those before them, by the scores of a fit before both.
    earlier = c.read(loop.challenger / "model/earlier.parquet")
    assert earlier["placed_at"].max() < held["placed_at"].min()
    y, p = (np.concatenate([earlier[name], held[name]]) for name in ("y", "p"))
    assert evaluation["metrics"]["rows"] == len(y) == 333 + round(0.2 * c.count_rows(dataset.select_folds(FIT)))
    assert evaluation["metrics"]["roc_auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-6)
    metadata = evaluation["metadata"]
    assert metadata["as_of"] == "2024-04-01T00:00:00Z"
    assert (metadata["champion"], metadata["verdict"], metadata["look"]) == (loop.arn, found["verdict"], "1")
    assert set(metadata) == {
        "as_of", "brier", "champion", "code", "comparison", "dataset", "gain", "gain_lower", "gain_upper", "look",
        "margin", "model", "parameters", "roc_auc", "roc_auc_lower", "roc_auc_upper", "runtime", "snapshot",
        "verdict",
    }  # fmt: skip
    assert metadata["dataset"] == dataset.manifest["sha256"]
    assert all(isinstance(value, str) and 0 < len(value) <= 256 for value in metadata.values())
    assert f"roc_auc={evaluation['metrics']['roc_auc']:.6f};" in log


def test_every_model_since_the_champion_is_a_look_at_it(loop: Loop, tmp_path: Path) -> None:
    sagemaker = loop.daemon.client("sagemaker")
    described = sagemaker.describe_model_package(ModelPackageName=loop.arn)
    for status in ("Rejected", "PendingManualApproval"):
        sagemaker.create_model_package(
            ModelPackageGroupName=described["ModelPackageGroupName"],
            ModelApprovalStatus=status,
            InferenceSpecification=described["InferenceSpecification"],
        )
    _, evaluation = loop.evaluate(tmp_path, "--champion", "approved")
    assert evaluation["champion"]["package"] == loop.arn
    assert evaluation["champion"]["look"] == 3
    assert evaluation["champion"]["level"] == pytest.approx(0.05 * 6 / np.pi**2 / 9, abs=1e-6)


def train_strictly(loop: Loop, folder: Path) -> Loop:
    """Train the challenger again for a use case whose gate it misses."""
    pyz = synthetic.build(folder, synthetic.use_case(name="toy-judged", gates=[Gate("roc_auc", at_least=0.99)]))
    base = folder / "training"
    shutil.copytree(loop.challenger / "dataset", base / "input/data/dataset")
    synthetic.run_step(pyz, base, "train")
    shutil.copytree(loop.challenger / "dataset", base / "dataset")
    return replace(loop, pyz=pyz, folder=folder, challenger=base)


def test_a_failed_gate_rejects_but_the_report_is_written(loop: Loop, tmp_path: Path) -> None:
    _, evaluation = train_strictly(loop, tmp_path).evaluate(tmp_path / "job", "--champion", "none")
    assert evaluation["gate"]["passed"] == 0
    assert evaluation["approval"]["status"] == REJECTED
    assert "expected at least 0.99" in evaluation["gate"]["failed"]
    assert evaluation["champion"]["package"] == ""
    (gate,) = evaluation["gate"]["measured"]
    assert (gate["metric"], gate["passed"], gate["at_least"]) == ("roc_auc", False, 0.99)
    assert gate["lower"] < gate["value"] < gate["upper"]
    assert evaluation["metadata"]["roc_auc_lower"] == f"{gate['lower']:.5f}"


def test_people_are_told_of_a_refusal_and_of_a_model_that_waits(loop: Loop, tmp_path: Path) -> None:
    topic, inbox = make_topic(loop.daemon)
    _, evaluation = train_strictly(loop, tmp_path).evaluate(tmp_path / "1", "--champion", "none", topic=topic)
    told = inbox.next_event()
    assert told["Subject"] == "toy-judged-local: a model was refused"
    assert evaluation["approval"]["description"] in told["Message"]
    assert told["Message"].endswith("See `millrace status toy-judged --env local`.")
    loop.evaluate(tmp_path / "2", "--champion", "none", promotion="manual", topic=topic)
    told = inbox.next_event()
    assert told["Subject"] == "toy-judged-local: a model waits for approval"
    assert "the gate is passed and no champion exists" in told["Message"]
    # An approval by the pipeline needs nobody.
    loop.evaluate(tmp_path / "3", "--champion", "none", topic=topic)
    assert inbox.messages() == []


def test_a_model_identical_to_the_champion_is_not_promoted(loop: Loop, tmp_path: Path) -> None:
    shutil.copytree(loop.champion, tmp_path / "twin")
    twin = Loop(loop.daemon, loop.pyz, tmp_path, loop.champion, tmp_path / "twin", loop.arn)
    _, evaluation = twin.evaluate(tmp_path / "job", "--champion", loop.arn)
    assert (
        evaluation["champion"]["text"]
        == "champion version 1 is the same model: same data, code, parameters and libraries"
    )
    assert evaluation["approval"]["status"] == REJECTED


def test_a_model_trained_by_another_bundle_is_not_evaluated(loop: Loop, tmp_path: Path) -> None:
    case = synthetic.use_case(name="toy-judged")
    pyz = synthetic.build(tmp_path, case, synthetic.data(case) + "\n# Other code.\n")
    write_archive(loop.challenger / "model", tmp_path / "job/processing/input/model/model.tar.gz")
    synthetic.hand_over(loop.challenger / "dataset", tmp_path / "job/processing/input/dataset")
    done = synthetic.run_step(pyz, tmp_path / "job", "evaluate", "--champion", "none", check=False)
    assert done.returncode == 1
    assert "the model was trained by a different bundle than the one that evaluates it; train again" in done.stderr
