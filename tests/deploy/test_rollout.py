"""The rollout as a state machine: from any live state it ends with the release at 100%."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from llmops.formats import Canary
from llmops.rollout import Goal, Shift, Smoke, Undeploy, Watch, next_step, split_for, steps, words
from llmops.vertex.live import Deployed, Labels, Live, ReleaseLabel, Version, numeric_id

RELEASES = [ReleaseLabel(letter * 40) for letter in "abc"]
GOAL = Goal(
    application="shop",
    environment="local",
    digest="a" * 64,
    release=RELEASES[0],
    commit="1" * 40,
    model="m",
    rules=Canary(grace_seconds=0),
)


@st.composite
def lives(draw: st.DrawFn) -> Live:
    """Whatever may be behind an endpoint, foreign models and a half-done canary included."""
    if draw(st.booleans()) and draw(st.booleans()):
        return Live(endpoint=None)
    known = draw(st.lists(st.sampled_from(RELEASES), unique=True))
    there = draw(st.lists(st.sampled_from([*known, ReleaseLabel("")]), unique=True, max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=2, max_size=2)))
    shares = [cuts[0], cuts[1] - cuts[0], 100 - cuts[1]][: len(there)]
    if shares:
        shares[-1] += 100 - sum(shares)
    return Live(
        endpoint="e",
        labels={Labels.STABLE: draw(st.sampled_from([*RELEASES, ""])), Labels.SINCE: "0"},
        deployed=tuple(
            Deployed(id=f"{n}", version="1", release=each, share=share, created=0)
            for n, (each, share) in enumerate(zip(there, shares, strict=True))
        ),
        versions=tuple(
            Version(
                number=f"{n}",
                name=f"m@{n}",
                release=each,
                artifact="",
                commit="",
                verified=draw(st.booleans()),
            )
            for n, each in enumerate(known)
        ),
    )


@settings(max_examples=1000)
@given(lives())
def test_from_any_state_it_ends_and_the_release_has_everything(live: Live) -> None:
    planned = steps(GOAL, live, now=100.0)
    assert len(planned) < 30
    assert len(set(planned)) == len(planned), "no step is taken twice"
    assert all(words(step) for step in planned)
    settled = live.serving(GOAL.release)
    if not planned:
        assert settled is not None
        assert settled.share == 100


@given(lives())
def test_no_share_is_raised_that_was_not_watched_beside_a_stable_release(live: Live) -> None:
    planned = steps(GOAL, live, now=100.0)
    stable = live.label(Labels.STABLE)
    beside = stable != GOAL.release and live.serving(ReleaseLabel(stable)) is not None
    for before, step in pairwise(planned):
        if isinstance(step, Shift) and beside and step.share > GOAL.rules.steps[0]:
            assert isinstance(before, Watch)
        if isinstance(step, Watch):
            assert isinstance(before, Smoke | Shift)


@given(lives(), st.sampled_from(GOAL.rules.steps))
def test_a_split_sums_to_100(live: Live, share: int) -> None:
    split = split_for(live, GOAL.release, share)
    if any(split.values()):
        assert sum(split.values()) == 100
    assert set(split) == {each.id for each in live.deployed}


def test_the_former_release_stays_for_its_grace_time() -> None:
    rules = Canary(grace_seconds=60)
    goal = replace(GOAL, rules=rules)
    live = Live(
        endpoint="e",
        labels={Labels.STABLE: GOAL.release, Labels.SINCE: "100"},
        deployed=(
            Deployed(id="1", version="1", release=GOAL.release, share=100, created=0),
            Deployed(id="2", version="2", release=RELEASES[1], share=0, created=0),
        ),
        versions=(
            Version(
                number="1",
                name="m@1",
                release=GOAL.release,
                artifact="",
                commit="",
                verified=True,
            ),
        ),
    )
    assert next_step(goal, live, now=159.0, done=frozenset()) is None
    due = next_step(goal, live, now=160.0, done=frozenset())
    assert due == Undeploy(deployed="2", release=RELEASES[1])


def test_ids_are_of_ten_digits_and_of_what_they_are_made_of() -> None:
    assert numeric_id("a", "b") == numeric_id("a", "b") != numeric_id("ab")
    assert len(numeric_id("a")) == 10
