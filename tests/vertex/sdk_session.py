"""google-cloud-aiplatform as it is, through a whole life: run by test_sdk.py in its own process."""

import collections
import sys
from pathlib import Path

import httpx
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform

url = sys.argv[1]
aiplatform.init(
    project="p",
    location="us-central1",
    api_endpoint=url,
    api_transport="rest",
    credentials=AnonymousCredentials(),
)
container = {
    "serving_container_image_uri": "example/echo:1",
    "serving_container_command": ["python", str(Path(__file__).with_name("echo_container.py"))],
    "serving_container_predict_route": "/predict",
    "serving_container_health_route": "/health",
}


def upload(name: str, **options: object) -> aiplatform.Model:
    return aiplatform.Model.upload(
        display_name="echo",
        serving_container_environment_variables={"NAME": name},
        labels={"of": name},
        **container,
        **options,
    )


first = upload("first")
second = upload(
    "second", parent_model=first.resource_name, is_default_version=False, version_aliases=["next"]
)
assert (first.version_id, second.version_id) == ("1", "2")
registry = first.versioning_registry
assert {v.version_id: v.version_aliases for v in registry.list_versions()} == {
    "1": ["default"],
    "2": ["next"],
}
registry.add_version_aliases(["default"], version="next")
assert aiplatform.Model(first.resource_name.partition("@")[0]).version_id == "2"
assert [m.labels["of"] for m in aiplatform.Model.list(filter='labels.of="second"')] == ["second"]
assert aiplatform.Model.list(filter='display_name="none" OR labels.of=nobody') == []

endpoint = aiplatform.Endpoint.create(display_name="echo", labels={"tier": "test"})
endpoint.deploy(first, machine_type="e2-standard-2", traffic_percentage=100)
endpoint.deploy(second, machine_type="e2-standard-2", traffic_percentage=10)
seen = collections.Counter(
    endpoint.predict(instances=["x"]).predictions[0]["by"] for _ in range(300)
)
assert set(seen) == {"first", "second"}, seen
assert 8 <= seen["second"] <= 60, seen  # 10% of 300, five standard deviations wide
(found,) = aiplatform.Endpoint.list(filter="labels.tier=test", order_by="create_time desc")
assert sorted(endpoint.traffic_split[each.id] for each in endpoint.list_models()) == [10, 90]
second_id = next(key for key, share in endpoint.traffic_split.items() if share == 10)
endpoint.update(traffic_split={key: 100 * (key == second_id) for key in endpoint.traffic_split})
assert endpoint.predict(instances=["x"]).predictions[0]["by"] == "second"
# The SDK's own raw_predict builds Google's address, whatever it was told.
raw = httpx.post(f"{url}/v1/{endpoint.resource_name}:rawPredict", json={"instances": ["x", "y"]})
assert len(raw.json()["predictions"]) == 2
for each in endpoint.list_models():
    if each.id != second_id:
        endpoint.undeploy(each.id)
endpoint.undeploy_all()
endpoint.delete()
registry.delete_version("1")
first_name = first.resource_name.partition("@")[0]
aiplatform.Model(first_name).delete()
assert aiplatform.Model.list() == []
assert aiplatform.PipelineJob.list() == []
print("whole")
