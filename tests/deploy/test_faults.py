"""Whatever fails on the way: promoted or rolled back, never in between, and it is said why."""

import hashlib
import json
import signal
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import Cloud, load, until

pytestmark = pytest.mark.slow

ECHO = Path(__file__).parents[1] / "vertex" / "echo_container.py"


@pytest.mark.parametrize(
    ("rpc", "status"),
    [
        ("EndpointService.GetEndpoint", 503),
        ("EndpointService.UpdateEndpoint", 429),
        ("EndpointService.DeployModel", 429),
        ("ModelService.UploadModel", 503),
        ("Operations", 503),
    ],
)
def test_what_fails_for_a_moment_is_tried_again(cloud: Cloud, rpc: str, status: int) -> None:
    cloud.fault(rpc, status=status, count=2)

    report = cloud.deploy()

    assert report["ending"] == "promoted", report
    assert len(cloud.versions()) == 1
    assert cloud.status()["state"] == "in sync"


def test_a_quota_that_is_used_up_leaves_the_stable_release_alone(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("otherwise")
    cloud.fault("EndpointService.DeployModel", status=403, count=50)

    report = cloud.deploy()

    assert report["ending"] == "rolled back"
    assert "deploying the version" in report["reason"]
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]
    assert list(cloud.live()["trafficSplit"].values()) == [100]


def test_an_operation_that_never_ends_is_given_up(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.repository.replace(
        "models/assistant.yaml", "canary:", "serving: {deploy_timeout_seconds: 2}\ncanary:"
    )
    cloud.change("otherwise")
    cloud.fault("EndpointService.DeployModel", never_ends=True)

    report = cloud.deploy()

    assert report["ending"] == "rolled back"
    assert "did not end within 2 s" in report["reason"]
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]


def test_a_bundle_that_was_tampered_with_is_refused(cloud: Cloud) -> None:
    first = cloud.deploy()
    cloud.change("otherwise")
    built = json.loads(cloud.llmops("release", "build", "--json").out)[0]
    endpoints = json.loads((cloud.repository.root / ".llmops/local/endpoints.json").read_text())
    name = built["uri"].removeprefix("gs://llmops-local/") + "/bundle.json"
    objects = f"{endpoints['storage']}/storage/v1/b/llmops-local/o"
    content = httpx.get(f"{objects}/{name.replace('/', '%2F')}", params={"alt": "media"}).text
    assert "otherwise" in content
    httpx.post(
        f"{endpoints['storage']}/upload/storage/v1/b/llmops-local/o",
        params={"uploadType": "media", "name": name},
        content=content.replace("otherwise", "other wise").encode(),
    ).raise_for_status()

    report = cloud.deploy()

    assert report["ending"] == "rolled back"
    assert "was tampered with" in report["reason"]
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]


def test_an_endpoint_that_is_deleted_behind_our_back_ends_the_rollout_or_is_made_again(
    cloud: Cloud,
) -> None:
    cloud.deploy()
    cloud.change("otherwise")
    process = cloud.start("deploy")
    until(lambda: len(cloud.live().get("deployedModels", [])) == 2)
    until(lambda: emptied_and_deleted(cloud))
    said, _ = process.communicate(timeout=120)

    # While it was being emptied a smoke case may have found it without traffic: then it is over.
    assert process.returncode == 0 or "rolled back: " in said, said
    assert cloud.deploy("--retry")["ending"] in ("promoted", "unchanged")
    assert cloud.status()["state"] == "in sync"


def emptied_and_deleted(cloud: Cloud) -> bool:
    """Tries to; a rollout that goes on meanwhile may deploy again what was just undeployed."""
    httpx.patch(cloud.endpoint, params={"updateMask": "trafficSplit"}, json={"trafficSplit": {}})
    for each in cloud.live().get("deployedModels", []):
        httpx.post(f"{cloud.endpoint}:undeployModel", json={"deployedModelId": each["id"]})
    return httpx.delete(cloud.endpoint).status_code == 200


def test_an_expired_token_is_named(cloud: Cloud) -> None:
    cloud.fault("ModelService.ListModelVersions", status=401, count=60)

    ran = cloud.llmops("status")

    assert ran.code == 3
    assert "not signed in" in ran.err
    assert "gcloud auth application-default login" in ran.err


def test_a_network_that_is_cut_in_the_middle_is_waited_for(cloud: Cloud) -> None:
    cloud.deploy()
    cloud.change("otherwise")
    with load(cloud):
        process = cloud.start("deploy")
        until(lambda: len(cloud.live().get("deployedModels", [])) == 2)
    cloud.restart()
    with load(cloud):
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert cloud.status()["state"] == "in sync"


def test_interrupted_it_can_be_run_again(cloud: Cloud) -> None:
    cloud.deploy()
    cloud.change("otherwise")
    process = cloud.start("deploy")
    until(lambda: len(cloud.live().get("deployedModels", [])) == 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert cloud.status()["state"] == "rolling out"
    with load(cloud):
        assert cloud.deploy()["ending"] == "promoted"


def tuned(cloud: Cloud) -> None:
    """The application, to be tuned on one row of data."""
    rows = b'{"contents": []}\n'
    listing = json.dumps([{"md5": _md5(rows), "relpath": "train.jsonl"}]).encode()
    for md5, content in ((_md5(rows), rows), (f"{_md5(listing)}.dir", listing)):
        path = cloud.repository.root / ".llmops/dvc/files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    cloud.repository.write(
        "data.dvc", f"outs:\n- {{md5: {_md5(listing)}.dir, hash: md5, path: data}}\n"
    )
    cloud.repository.replace(
        "models/assistant.yaml", "canary:", "tuning: {data: data.dvc}\ncanary:"
    )
    cloud.repository.commit("tune it")


def test_a_tuning_job_that_fails_leaves_the_stable_release_alone(cloud: Cloud) -> None:
    first = cloud.deploy()
    tuned(cloud)
    planned = json.loads(cloud.llmops("deploy", "--dry-run", "--json").out)["assistant"]
    assert planned[0].startswith("tune the model")

    report = cloud.deploy()

    assert report["ending"] == "rolled back"
    assert "JOB_STATE_FAILED: the local cloud has no tuner" in report["reason"]
    assert len(cloud.versions()) == 1
    assert cloud.ask().json()["predictions"][0]["release"] == first["release"]


def test_a_release_is_tuned_once_and_answers_from_the_tuned_model(cloud: Cloud) -> None:
    tuned(cloud)
    name = "projects/local/locations/us-central1/endpoints/77"
    cloud.fault("GenAiTuningService.CreateTuningJob", tuned_model=name)

    report = cloud.deploy()

    assert report["ending"] == "promoted", report
    assert report["steps"][1]["note"] == f"tuned model {name}"
    cloud.ask()
    assert cloud.model.paths[-1].endswith("/endpoints/77:generateContent")
    assert cloud.deploy()["ending"] == "unchanged"
    jobs = httpx.get(f"{cloud.location}/tuningJobs").json()["tuningJobs"]
    assert len(jobs) == 1


def test_a_foreign_model_behind_the_endpoint_is_found_and_taken_away(cloud: Cloud) -> None:
    cloud.deploy()
    container = {"imageUri": "x", "command": ["python", str(ECHO)], "predictRoute": "/predict"}
    container |= {"healthRoute": "/health", "env": [{"name": "NAME", "value": "stranger"}]}
    body = {"model": {"displayName": "stranger", "containerSpec": container}}
    model = httpx.post(f"{cloud.location}/models:upload", json=body).json()["response"]["model"]
    split = {"0": 40, cloud.live()["deployedModels"][0]["id"]: 60}
    wanted = {"deployedModel": {"id": "7", "model": model}, "trafficSplit": split}
    httpx.post(f"{cloud.endpoint}:deployModel", json=wanted).raise_for_status()
    until(lambda: len(cloud.live()["deployedModels"]) == 2)

    status = cloud.status()
    assert status["state"] == "foreign"
    assert "7 was not put there by llmops" in status["cause"]
    ran = cloud.llmops("reconcile", "--apply")
    assert ran.code == 0, ran.out + ran.err
    assert cloud.status()["state"] == "in sync"
    assert len(cloud.live()["deployedModels"]) == 1


def test_the_doctor_checks_the_set_up_and_names_the_fix(cloud: Cloud) -> None:
    good = cloud.llmops("doctor")
    assert good.code == 0, good.out
    assert "ok    the bucket gs://llmops-local can be written and read" in good.out
    assert "ok    Vertex AI answers: model registry and endpoints" in good.out
    cloud.fault("EndpointService.ListEndpoints", status=403, count=9)
    bad = cloud.llmops("doctor")
    assert "FAIL  Vertex AI answers" in bad.out
    assert "roles/aiplatform.user" in bad.out


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
