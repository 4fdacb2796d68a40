"""`llmops data pull`: through DVC, only what is needed, and a clear word when it is not there."""

import hashlib
import json
from pathlib import Path

import pytest
from llmops.config import Endpoints, Environment, tools
from llmops.data import remote
from llmops.data.objects import ObjectCache
from llmops.data.pointer import directory_md5, directory_object
from llmops.formats import DataPointer
from llmops.resources import Resource

from tests.repository import SUITE, Repository
from tests.services import PROJECT

pytestmark = pytest.mark.slow

CASES = b'{"vars": {"question": "What does len() do?"}, "metadata": {"id": "one"}}\n'


def pointer_text(md5: str) -> str:
    return f"outs:\n- md5: {md5}\n  nfiles: 1\n  hash: md5\n  path: data\n"


def suite_on_data(repository: Repository, md5: str) -> None:
    repository.write("data.dvc", pointer_text(md5))
    cases = SUITE[SUITE.index("tests:") : SUITE.index("gates:")]
    repository.replace("evals/quality.yaml", cases, "tests: file://../data/test.jsonl\n")


def test_data_comes_from_the_bucket_by_its_pointer(
    repository: Repository, cloud: dict[str, str], storage_url: str, tmp_path: Path
) -> None:
    inner = hashlib.md5(CASES, usedforsecurity=False).hexdigest()
    files = {"test.jsonl": inner}
    md5 = directory_md5(files)
    suite_on_data(repository, md5)
    elsewhere = ObjectCache(folder=tmp_path / "elsewhere")
    manifest = directory_object(files)
    for name, content in ((md5, manifest), (inner, CASES)):
        elsewhere.path(name).parent.mkdir(parents=True, exist_ok=True)
        elsewhere.path(name).write_bytes(content)
    environment = Environment(
        name="local",
        local=True,
        project="local",
        region="here",
        bucket="gs://llmops-local",
        endpoints=Endpoints(storage=storage_url),
    )
    value = DataPointer.model_validate({"outs": [{"md5": md5, "path": "data"}]})
    resource = Resource(path="data.dvc", value=value, digest="", source=pointer_text(md5))
    remote.push([resource], environment, tools(PROJECT), elsewhere)

    assert "after `llmops data pull`" in repository.llmops("plan", env=cloud).out
    first = repository.llmops("data", "pull", env=cloud)
    second = repository.llmops("data", "pull", env=cloud)

    assert (first.code, first.out) == (0, "data.dvc: fetched\n"), first.err
    assert second.out == "data.dvc: already at hand\n"
    (evaluation,) = json.loads(repository.llmops("plan", "--json", env=cloud).out)["evaluations"]
    assert evaluation["cases"] == 1


def test_a_pointer_whose_object_is_not_in_the_remote(
    repository: Repository, cloud: dict[str, str]
) -> None:
    suite_on_data(repository, "a" * 32 + ".dir")

    ran = repository.llmops("data", "pull", env=cloud)

    assert ran.code == 2
    assert "data.dvc:2" in ran.err
    assert "gs://llmops-local/dvc does not have" in ran.err
    assert "llmops data push" in ran.err


def test_nothing_is_pulled_where_no_touched_suite_needs_it(
    repository: Repository, cloud: dict[str, str]
) -> None:
    assert repository.llmops("data", "pull", env=cloud).out == "No touched suite needs data.\n"
