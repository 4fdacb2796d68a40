"""The bundle: a release as an immutable file in the bucket, which the container loads."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llmops.bucket import Bucket
from llmops.digest import canonical
from llmops.errors import MachineryError
from llmops.release import Release

FILE = "bundle.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What is deployed, and where it came from."""

    release: Release
    commit: str
    """The git commit that first asked for this release."""
    sources: dict[str, str]
    """Path -> digest of the resources that it was made of."""
    evaluation: dict[str, Any] | None
    """What the pull request's evaluation decided; None where this release was never evaluated."""
    tuned_model: str | None = None
    """What the release's tuning made of its base model: the resource that is asked."""

    @property
    def asked(self) -> Release:
        """The release as it is put to the model: to the tuned one, where there is one."""
        return replace(self.release, model=self.tuned_model or self.release.model)


def folder(release_digest: str) -> str:
    """Where the bundle of a release lies in its bucket."""
    return f"releases/{release_digest}"


def uri(bucket: str, release_digest: str) -> str:
    """`gs://BUCKET/releases/DIGEST`, given `gs://BUCKET`."""
    return f"{bucket}/{folder(release_digest)}"


def dump(bundle: Bundle) -> bytes:
    """The file: byte for byte the same for the same bundle."""
    release = bundle.release
    return canonical(
        {
            "format": _FORMAT,
            "digest": release.digest,
            "release": TypeAdapter(Release).dump_python(release, mode="json"),
            "inputs": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in sorted(release.variables)},
                "required": sorted(release.variables),
                "additionalProperties": False,
            },
            "outputs": OUTPUTS,
            "commit": bundle.commit,
            "sources": bundle.sources,
            "evaluation": bundle.evaluation,
            "tuned_model": bundle.tuned_model,
        }
    )


def load(content: bytes, expected: str, where: str) -> Bundle:
    """The bundle that `dump` wrote.

    Raises MachineryError when it is not the release of that digest: it was tampered with.
    """
    try:
        value = TypeAdapter(dict[str, Any]).validate_json(content)
        bundle = Bundle(
            release=TypeAdapter(Release).validate_python(value["release"]),
            commit=value["commit"],
            sources=value["sources"],
            evaluation=value["evaluation"],
            tuned_model=value["tuned_model"],
        )
    except (ValidationError, KeyError) as error:
        raise MachineryError(f"{where} is not a bundle: {error}", fix=_FIX) from None
    if bundle.release.digest != expected:
        message = f"{where} was tampered with: its digest is {bundle.release.digest}"
        raise MachineryError(message, fix=_FIX)
    return bundle


def fetch(bucket: Bucket, release_digest: str) -> Bundle | None:
    """The bundle in the bucket, or None. Raises MachineryError when it was tampered with."""
    name = f"{folder(release_digest)}/{FILE}"
    content = bucket.read(name)
    return None if content is None else load(content, release_digest, f"{bucket.url}/{name}")


def keep(bucket: Bucket, bundle: Bundle) -> str:
    """Writes the bundle unless it is there: what was built once never changes. Returns its URI."""
    if fetch(bucket, bundle.release.digest) is None:
        bucket.write(f"{folder(bundle.release.digest)}/{FILE}", dump(bundle))
    return uri(bucket.url, bundle.release.digest)


def evaluation_name(release_digest: str) -> str:
    """Where a pull request keeps what it decided about a release."""
    return f"evaluations/{release_digest}.json"


_FIX = "delete that folder of the bucket and run `llmops release build` again"

OUTPUTS = {
    "type": "object",
    "properties": {
        "outcome": {"enum": ["answered", "blocked", "failed"]},
        "text": {"type": "string"},
        "finish_reason": {"type": "string"},
        "safety_ratings": {"type": "array"},
        "input_tokens": {"type": "integer"},
        "output_tokens": {"type": "integer"},
        "latency_ms": {"type": "number"},
        "model_version": {"type": "string"},
        "release": {"type": "string"},
        "error": {"type": ["string", "null"]},
    },
}
"""JSON Schema of one prediction."""
