"""What to do next so that a release answers all traffic: desired against live (pure).

`next_step` looks at the live state alone, never at what was done before: after a crash it goes on
where the live state is. `steps` is the same function run on a live state that it imagines, so that
a dry run prints exactly what the real run does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmops.formats import Canary
from llmops.vertex.live import Deployed, Labels, Live, ReleaseLabel, Version, numeric_id


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What should be live."""

    application: str
    environment: str
    digest: str
    """The release's."""
    release: ReleaseLabel
    commit: str
    model: str
    rules: Canary
    tuning: str | None = None
    """The tuning digest, where the model is a tuned one."""
    retry: bool = False
    """Whether a release that was rolled back is tried again."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; done twice it does no more than once."""


@dataclass(frozen=True, kw_only=True)
class CreateEndpoint(Step):
    """The application's address in this environment."""


@dataclass(frozen=True, kw_only=True)
class Tune(Step):
    """A tuned model that does not exist yet."""

    tuning: str


@dataclass(frozen=True, kw_only=True)
class Upload(Step):
    """The bundle into the bucket, a version into the registry."""

    release: ReleaseLabel


@dataclass(frozen=True, kw_only=True)
class Deploy(Step):
    """The version behind the endpoint, beside what is there."""

    release: ReleaseLabel
    share: int


@dataclass(frozen=True, kw_only=True)
class Smoke(Step):
    """A few cases, answered by the release itself."""

    release: ReleaseLabel
    cases: int


@dataclass(frozen=True, kw_only=True)
class Watch(Step):
    """Live traffic, canary against stable."""

    release: ReleaseLabel
    share: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Shift(Step):
    """Traffic to a release that is deployed; the rest stays with the stable one."""

    release: ReleaseLabel
    share: int


@dataclass(frozen=True, kw_only=True)
class MarkVerified(Step):
    """A label on the version: the next environment may have it."""

    release: ReleaseLabel


@dataclass(frozen=True, kw_only=True)
class Restore(Step):
    """All traffic back to the stable release, in one call."""

    release: ReleaseLabel


@dataclass(frozen=True, kw_only=True)
class Undeploy(Step):
    """A deployed model that has no traffic any more."""

    deployed: str
    release: ReleaseLabel


def words(step: Step) -> str:
    """The step for people."""
    match step:
        case CreateEndpoint():
            return "create the endpoint"
        case Tune(tuning=tuning):
            return f"tune the model ({tuning[:12]})"
        case Upload(release=release):
            return f"upload release {release[:12]} as a new version"
        case Deploy(release=release, share=share):
            return f"deploy release {release[:12]} at {share}% of the traffic"
        case Smoke(release=release, cases=cases):
            return f"ask release {release[:12]} {cases} smoke cases through the endpoint"
        case Watch(share=share, seconds=seconds):
            return f"watch live traffic at {share}% for up to {seconds:g} s"
        case Shift(release=release, share=share):
            verb = "promote" if share == 100 else "raise"
            return f"{verb} release {release[:12]} to {share}% of the traffic"
        case MarkVerified(release=release):
            return f"mark release {release[:12]} as verified"
        case Restore(release=release):
            return f"give all traffic to release {release[:12]}"
        case Undeploy(deployed=deployed, release=release):
            return f"undeploy {f'release {release[:12]}' if release else f'model {deployed}'}"
        case _:
            raise TypeError(f"no such step: {step}")


def next_step(goal: Goal, live: Live, *, now: float, done: frozenset[Step]) -> Step | None:
    """The next step, or None where live is as desired.

    `done` are the steps that leave no trace in the live state (Smoke, Watch) and that this run has
    behind it: after a crash they are done again.
    """
    if live.endpoint is None:
        return CreateEndpoint()
    version = live.version(goal.release)
    if version is None:
        if goal.tuning is not None and Tune(tuning=goal.tuning) not in done:
            return Tune(tuning=goal.tuning)
        return Upload(release=goal.release)
    stable = ReleaseLabel(live.label(Labels.STABLE))
    clearing = _clear(goal, live, stable)
    if clearing is not None:
        return clearing
    mine = live.serving(goal.release)
    if mine is None:
        first = 100 if live.serving(stable) is None else goal.rules.steps[0]
        return Deploy(release=goal.release, share=first)
    if stable == goal.release:
        return _settle(goal, live, version, mine, now)
    if mine.share == 0:
        return Shift(release=goal.release, share=goal.rules.steps[0])
    smoke = Smoke(release=goal.release, cases=goal.rules.smoke_cases)
    if smoke not in done:
        return smoke
    if live.serving(stable) is None:
        return Shift(release=goal.release, share=100)
    return _rise(goal, mine, done)


def steps(goal: Goal, live: Live, *, now: float) -> tuple[Step, ...]:
    """All steps from this live state on, where every check passes."""
    return tuple(_imagined(goal, live, now))


def _clear(goal: Goal, live: Live, stable: ReleaseLabel) -> Step | None:
    """Whatever else rises or is not ours goes first: two canaries at once prove nothing."""
    settled = live.serving(stable)
    strangers = [each for each in live.deployed if each.release not in (goal.release, stable)]
    if settled is not None and any(each.share for each in strangers):
        return Restore(release=stable)
    for each in strangers:
        if not each.share and stable != goal.release:
            return Undeploy(deployed=each.id, release=each.release)
    return None


def _settle(goal: Goal, live: Live, version: Version, mine: Deployed, now: float) -> Step | None:
    """The release has passed: it has all traffic, is marked, and the former one goes in time."""
    if mine.share != 100:
        return Restore(release=goal.release)
    if not version.verified:
        return MarkVerified(release=goal.release)
    for each in live.deployed:
        waited = now - live.since >= goal.rules.grace_seconds
        if each.id != mine.id and (waited or not each.release):
            return Undeploy(deployed=each.id, release=each.release)
    return None


def _rise(goal: Goal, mine: Deployed, done: frozenset[Step]) -> Step:
    watch = Watch(release=goal.release, share=mine.share, seconds=goal.rules.window_seconds)
    if watch not in done:
        return watch
    # One that has everything already, by somebody's hand, is promoted once it was watched.
    following = next((step for step in goal.rules.steps if step > mine.share), 100)
    return Shift(release=goal.release, share=following)


def _imagined(goal: Goal, live: Live, now: float) -> Iterator[Step]:
    done: frozenset[Step] = frozenset()
    while (step := next_step(goal, live, now=now, done=done)) is not None:
        yield step
        live, done = _after(step, goal, live, now), done | {step}


def _after(step: Step, goal: Goal, live: Live, now: float) -> Live:
    """The live state that a step leaves behind when it goes well."""
    match step:
        case CreateEndpoint():
            return replace(live, endpoint="new")
        case Upload():
            version = Version(
                number="new",
                name="new",
                release=goal.release,
                artifact="",
                commit=goal.commit,
                verified=False,
            )
            return replace(live, versions=(*live.versions, version))
        case Deploy(share=share):
            new = Deployed(
                id=numeric_id(goal.digest),
                version="new",
                release=goal.release,
                share=0,
                created=0,
            )
            return _shifted(replace(live, deployed=(*live.deployed, new)), goal.release, share)
        case Shift(share=share):
            shifted = _shifted(live, goal.release, share)
            if share == 100:
                labels = {**live.labels, Labels.STABLE: goal.release, Labels.SINCE: str(now)}
                return replace(shifted, labels=labels)
            return shifted
        case Restore(release=release):
            return _shifted(live, release, 100)
        case MarkVerified(release=release):
            versions = tuple(
                replace(each, verified=True) if each.release == release else each
                for each in live.versions
            )
            return replace(live, versions=versions)
        case Undeploy(deployed=identifier):
            rest = tuple(each for each in live.deployed if each.id != identifier)
            return replace(live, deployed=rest)
        case _:
            return live


def _shifted(live: Live, release: ReleaseLabel, share: int) -> Live:
    """The split after a shift: the stable release has what the other does not."""
    split = split_for(live, release, share)
    return replace(
        live, deployed=tuple(replace(each, share=split[each.id]) for each in live.deployed)
    )


def split_for(live: Live, release: ReleaseLabel, share: int) -> dict[str, int]:
    """Deployed model's id -> percent: `share` to the release, the rest to the stable one."""
    stable = live.label(Labels.STABLE)
    mine = live.serving(release)
    others = [each for each in live.deployed if each.release != release]
    rest = next((each for each in others if each.release == stable), None)
    split = {each.id: 0 for each in live.deployed}
    if mine is not None:
        split[mine.id] = share if rest is not None else 100
    if rest is not None:
        split[rest.id] = 100 - (share if mine is not None else 0)
    return split
