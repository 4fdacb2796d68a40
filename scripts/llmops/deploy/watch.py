"""Watching the canary beside stable, until it is clear or the window is over."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmops.formats import Canary
from llmops.sequential import Outcome, Served, Verification, at_the_end, verify

_SAID_EVERY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the window came to."""

    failed: bool
    held: bool
    words: str


def watch(
    served: Callable[[], Sequence[Served]],
    canary: str,
    rules: Canary,
    *,
    started: float,
    say: Callable[[str], None],
    keep_lock: Callable[[], object],
) -> Seen:
    """Looks again and again; `started` is when the window began, in seconds since the epoch."""
    pause = min(max(rules.window_seconds / 20, 0.2), 5.0)
    said = locked = time.monotonic()
    while True:
        over = time.time() - started >= rules.window_seconds
        verification = verify(served(), canary, rules)
        if verification.outcome is not Outcome.GOING_ON or over:
            return _judged(verification, rules)
        now = time.monotonic()
        if now - said >= _SAID_EVERY_SECONDS:
            left = rules.window_seconds - (time.time() - started)
            say(f"{verification.words}; {left:.0f} s left")
            said = now
        if now - locked >= 60:
            keep_lock()
            locked = now
        time.sleep(pause)


def _judged(verification: Verification, rules: Canary) -> Seen:
    outcome = at_the_end(verification, rules)
    words = verification.words
    if outcome is Outcome.WORSE:
        return Seen(failed=True, held=False, words=f"the canary is worse: {words}")
    if outcome is Outcome.HEALTHY:
        return Seen(failed=False, held=False, words=words)
    little = (
        f"too little traffic to judge: {verification.canary_requests} of {rules.min_requests} "
        f"requests on the canary within {rules.window_seconds:g} s"
    )
    rule = rules.on_too_little_traffic
    decided = {
        "hold": "held, as on_too_little_traffic says",
        "promote": "goes on, as on_too_little_traffic says",
        "roll_back": "rolled back, as on_too_little_traffic says",
    }[rule]
    return Seen(failed=rule == "roll_back", held=rule == "hold", words=f"{little}: {decided}")
