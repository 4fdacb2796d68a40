"""What a merge does to Vertex AI, seen by whoever asks the endpoint."""

import json
import os
import signal
import subprocess
import time

import httpx
import pytest
from llmops.deploy.lock import Holder
from llmops.localcloud import storage

from tests.deploy.conftest import Cloud, load, until

pytestmark = pytest.mark.slow


def test_the_first_release_is_promoted_and_a_second_run_has_nothing_to_do(cloud: Cloud) -> None:
    planned = json.loads(cloud.llmops("deploy", "--dry-run", "--json").out)["assistant"]

    report = cloud.deploy()

    assert report["ending"] == "promoted"
    assert [each["step"] for each in report["steps"]] == planned
    answer = cloud.ask().json()["predictions"][0]
    assert answer["outcome"] == "answered"
    assert answer["release"] == report["release"]
    status = cloud.status()
    assert status["state"] == "in sync"
    assert status["health"].startswith("ok, ")
    assert cloud.deploy()["ending"] == "unchanged"
    assert "lock" not in cloud.live()["labels"]


def test_a_good_canary_takes_over_under_load_and_nothing_is_dropped(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("in two sentences")
    planned = json.loads(cloud.llmops("deploy", "--dry-run", "--json").out)["assistant"]

    with load(cloud) as seen:
        report = cloud.deploy()

    assert report["ending"] == "promoted", report
    assert [each["step"] for each in report["steps"]] == planned
    assert seen.all_answered()
    answered_by = {each.json()["predictions"][0]["release"] for each in seen.answers}
    assert answered_by == {first["release"], report["release"]}
    assert [each["share"] for each in _shares(cloud)] == [100], "the former one is gone"
    watched = next(each for each in report["steps"] if each["step"].startswith("watch"))
    assert "requests on the canary" in watched["note"]


def test_a_worse_canary_is_rolled_back_and_not_tried_again(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("badly")
    cloud.model.fail = lambda system, question: (
        400 if question == "Why?" and "badly" in system else None
    )

    with load(cloud) as seen:
        report = cloud.deploy()

    assert report["ending"] == "rolled back"
    assert "the canary is worse: " in report["reason"]
    assert all(each.status_code == 200 for each in seen.answers)
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]
    assert [each["share"] for each in _shares(cloud)] == [100]
    status = cloud.status()
    assert status["state"] == "rolled back"
    again = cloud.llmops("deploy")
    assert again.code == 3
    assert "was rolled back" in again.err
    assert "--retry" in again.err
    assert cloud.llmops("reconcile", "--apply").code == 0, "a rollback is on purpose"
    assert cloud.status()["state"] == "rolled back"


@pytest.mark.parametrize(
    ("rule", "ending"), [("hold", "held"), ("promote", "promoted"), ("roll_back", "rolled back")]
)
def test_too_little_traffic_is_said_and_decided_by_the_rule(
    cloud: Cloud, rule: str, ending: str
) -> None:
    cloud.deploy()
    cloud.repository.replace(
        "models/assistant.yaml",
        "window_seconds: 8",
        f"window_seconds: 1\n  on_too_little_traffic: {rule}",
    )
    cloud.change("once more")

    report = cloud.deploy()

    assert report["ending"] == ending
    said = report["reason"] or " ".join(each["note"] for each in report["steps"])
    assert "too little traffic to judge" in said
    if ending == "held":
        assert sorted(each["share"] for each in _shares(cloud)) == [50, 50]
        assert cloud.status()["state"] == "rolling out"


def test_a_rollback_is_one_call_and_drops_nothing(cloud: Cloud) -> None:
    cloud.repository.replace("models/assistant.yaml", "grace_seconds: 0", "grace_seconds: 600")
    first = cloud.deploy()
    cloud.change("otherwise")
    with load(cloud) as seen:
        second = cloud.deploy()
        assert second["ending"] == "promoted"
        done = json.loads(cloud.llmops("rollback", "--json").out)[0]
        count = len(seen.answers)
        until(lambda: len(seen.answers) > count + 20)

    assert seen.all_answered()
    assert not done["redeployed"]
    assert done["seconds"] < 5
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]
    assert cloud.status()["state"] == "rolled back"
    assert len(cloud.versions()) == 2

    cloud.repository.git("revert", "--no-edit", "HEAD")
    assert cloud.deploy()["ending"] in ("promoted", "unchanged")
    assert cloud.status()["state"] == "in sync"


def test_a_rollback_to_a_release_that_is_gone_deploys_it_without_uploading(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("otherwise")
    with load(cloud):
        cloud.deploy()

    ran = cloud.llmops("rollback", "--to", first["release"][:10], "--json")

    assert json.loads(ran.out)[0]["redeployed"]
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]
    assert len(cloud.versions()) == 2
    unknown = cloud.llmops("rollback", "--to", "ffff")
    assert unknown.code == 2
    assert "known releases: " in unknown.err


def test_drift_is_found_with_its_cause_and_repaired(cloud: Cloud) -> None:
    cloud.repository.replace("models/assistant.yaml", "grace_seconds: 0", "grace_seconds: 600")
    cloud.deploy()
    cloud.change("otherwise")
    with load(cloud):
        cloud.deploy()
    live = cloud.live()
    halves = dict.fromkeys(live["trafficSplit"], 50)
    httpx.patch(
        cloud.endpoint, params={"updateMask": "trafficSplit"}, json={"trafficSplit": halves}
    ).raise_for_status()

    status = cloud.status()
    assert status["state"] == "drifted"
    assert "traffic split 50/50, main says 100" in status["cause"]
    assert cloud.llmops("reconcile").code == 1
    ran = cloud.llmops("reconcile", "--apply")
    assert ran.code == 0, ran.err
    assert cloud.status()["state"] == "in sync"
    assert sorted(each["share"] for each in _shares(cloud)) == [0, 100]


def test_a_release_that_waits_for_its_deploy_is_no_drift(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("otherwise")

    status = cloud.status()
    assert status["state"] == "waiting"
    assert "which was not deployed here yet" in status["cause"]
    assert cloud.llmops("reconcile", "--apply").code == 0
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]


def test_killed_after_every_step_it_ends_the_same(cloud: Cloud) -> None:
    cloud.deploy()
    cloud.change("otherwise")
    planned = json.loads(cloud.llmops("deploy", "--dry-run", "--json").out)["assistant"]
    with load(cloud):
        for step in planned[:-1]:
            process = cloud.start("deploy")
            assert process.stdout is not None
            seen = False
            for line in process.stdout:
                seen = seen or f"{step} …" in line
                if seen and "done in" in line:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
        report = cloud.deploy()

    assert report["ending"] in ("promoted", "unchanged")
    assert cloud.status()["state"] == "in sync"
    assert len(cloud.versions()) == 2
    assert [each["share"] for each in _shares(cloud)] == [100]


def test_the_lock_of_one_that_was_killed_after_its_last_step_is_taken_away(cloud: Cloud) -> None:
    cloud.deploy()
    gone = subprocess.Popen(["true"])
    gone.wait()
    killed = Holder.this("").name.replace(str(os.getpid()), str(gone.pid), 1)
    until_then = {"lock": killed, "lock-until": str(int(time.time()) + 200)}
    labels = {"labels": {**cloud.live()["labels"], **until_then}}
    httpx.patch(cloud.endpoint, params={"updateMask": "labels"}, json=labels).raise_for_status()
    assert cloud.status()["state"] == "rolling out"

    assert cloud.deploy()["ending"] == "unchanged"
    assert cloud.status()["state"] == "in sync"


def test_of_two_deploys_at_once_the_second_waits_or_refuses(cloud: Cloud) -> None:
    cloud.deploy()
    cloud.change("otherwise")
    with load(cloud):
        one = cloud.start("deploy")
        until(lambda: "lock" in cloud.live().get("labels", {}))
        two = cloud.start("deploy")
        said_one, _ = one.communicate(timeout=120)
        said_two, _ = two.communicate(timeout=120)
    assert (one.returncode, two.returncode) == (0, 0), said_one + said_two
    assert "waiting for " in said_one + said_two
    assert len(cloud.versions()) == 2

    cloud.repository.replace(
        "models/assistant.yaml", "grace_seconds: 0", "grace_seconds: 0\n  when_busy: refuse"
    )
    cloud.change("once more")
    with load(cloud):
        one = cloud.start("deploy")
        until(lambda: "lock" in cloud.live().get("labels", {}))
        refused = cloud.llmops("deploy")
        one.communicate(timeout=120)
    assert refused.code == 3
    assert "is deploying to" in refused.err


def test_production_takes_only_what_staging_has_verified(cloud: Cloud) -> None:
    cloud.repository.replace(
        "llmops.yaml",
        "  production: {project: shop,",
        "  production: {local: true, promotes_from: local, project: shop,",
    )
    text = (cloud.repository.root / "models/assistant.yaml").read_text(encoding="utf-8")
    model = text.partition("local: ")[2].partition(",")[0]
    cloud.repository.replace("models/assistant.yaml", "production: small", f"production: {model}")
    cloud.repository.commit("promotion")
    endpoints = json.loads((cloud.repository.root / ".llmops/local/endpoints.json").read_text())
    storage.make_bucket(endpoints["storage"], "gs://shop-llmops")

    refused = cloud.llmops("deploy", "--env", "production")
    assert refused.code == 2
    assert "local does not have release" in refused.err

    local = cloud.deploy()
    production = cloud.deploy("--env", "production")
    assert production["ending"] == "promoted"
    assert production["release"] == local["release"]
    assert httpx.get(production["endpoint"]).status_code == 200


def _shares(cloud: Cloud) -> list[dict[str, int]]:
    live = cloud.live()
    split = live.get("trafficSplit", {})
    return [{"share": split.get(each["id"], 0)} for each in live["deployedModels"]]
