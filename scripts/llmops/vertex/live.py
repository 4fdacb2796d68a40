"""The live state: what Vertex AI holds, read back from the labels that deploy wrote (values)."""

import hashlib
from dataclasses import dataclass, field
from typing import NewType

LABEL_LENGTH = 40
"""A label holds 63 characters: 160 bits of a digest name it well enough."""

ReleaseLabel = NewType("ReleaseLabel", str)
"""The first 40 characters of a release's digest."""


class Labels:
    """The labels' names, on endpoints (E) and on versions of models (V)."""

    MANAGED_BY = "managed-by"  # E, V
    APPLICATION = "application"  # E, V
    ENVIRONMENT = "environment"  # E, V
    RELEASE = "release"  # V: which release this version is
    COMMIT = "commit"  # E: of the last deploy; V: that first asked for the release
    PROMPT = "prompt"  # V: digest of the prompt
    VERIFIED = "verified"  # V: `yes` once it has passed the whole canary
    STABLE = "stable"  # E: the release that has passed
    CANARY = "canary"  # E: the release that is rising
    SINCE = "since"  # E: seconds since the epoch of the last shift of traffic
    REJECTED = "rejected"  # E: the release that was rolled back
    BY = "by"  # E: who shifted traffic last
    RUN = "run"  # E: the workflow run that did
    TOUCHED = "touched"  # E: seconds since the epoch of our last write, whatever it was
    LOCK = "lock"  # E: who is deploying
    LOCK_UNTIL = "lock-until"  # E: seconds since the epoch


MANAGER = "llmops"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version in the model registry."""

    number: str
    name: str
    """`projects/…/models/ID@N`."""
    release: ReleaseLabel
    artifact: str
    """Its bundle's `gs://…/releases/DIGEST`."""
    commit: str
    verified: bool


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One version behind the endpoint."""

    id: str
    version: str
    """Its number, or the empty string where the model is not ours."""
    release: ReleaseLabel
    """The empty string where it is foreign."""
    share: int
    """Percent of the traffic."""
    created: float
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """One application in one environment, as it is."""

    endpoint: str | None
    """Its resource name."""
    etag: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    deployed: tuple[Deployed, ...] = ()
    versions: tuple[Version, ...] = ()
    updated: float = 0.0
    """When the endpoint was changed last, by whomever: seconds since the epoch."""

    def serving(self, release: ReleaseLabel) -> Deployed | None:
        """The release behind the endpoint, if it is there."""
        found = (each for each in self.deployed if release and each.release == release)
        return next(found, None)

    def version(self, release: ReleaseLabel) -> Version | None:
        """The release's version in the registry: of several, the oldest."""
        return next((each for each in self.versions if each.release == release), None)

    def label(self, name: str) -> str:
        """One of the endpoint's labels, or the empty string."""
        return self.labels.get(name, "")

    @property
    def since(self) -> float:
        """When traffic was last shifted, in seconds since the epoch."""
        return float(self.label(Labels.SINCE) or 0)


def settled(release: ReleaseLabel) -> Live:
    """A live state in which one release answers everything, as after its rollout."""
    deployed = Deployed(id="0", version="1", release=release, share=100, created=0.0)
    version = Version(number="1", name="", release=release, artifact="", commit="", verified=True)
    return Live(
        endpoint="endpoint",
        labels={Labels.STABLE: release},
        deployed=(deployed,),
        versions=(version,),
    )


def release_label(digest: str) -> ReleaseLabel:
    """How a label names the release of that digest."""
    return ReleaseLabel(digest[:LABEL_LENGTH])


def as_label(text: str) -> str:
    """The text as far as a label can hold it: lower case, no signs but - and _, 63 characters."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())[:63]


def numeric_id(*parts: str) -> str:
    """An id of ten digits, the same for the same parts.

    Vertex AI takes such ids for endpoints and deployed models: with ids of our choice, a step done
    again after a crash meets what it made before, and makes no second one.
    """
    number = int(hashlib.sha256("/".join(parts).encode()).hexdigest(), 16)
    return str(10**9 + number % (9 * 10**9))
