"""One answer of a release, and what it cost."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model said, or why it did not."""

    text: str
    finish_reason: str = "STOP"
    """Vertex AI's: STOP, MAX_TOKENS, SAFETY, …; ERROR where the call failed."""
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: float = 0.0
    """Of the call that produced this answer, however long ago that was."""
    model_version: str = ""
    safety_ratings: tuple[tuple[str, str], ...] = ()
    """Category and probability of harm, as Vertex AI names them; none where it rated nothing."""
    error: str | None = None
    """Why there is no answer, after all retries."""

    @property
    def blocked(self) -> bool:
        """Whether a safety filter stopped the answer: a result, not an error."""
        return self.finish_reason in {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"}
