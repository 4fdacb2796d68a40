"""One batch of posts made usable: Markdown, one sentence, masked, measured, told apart.

A pure function of rows and parameters, so that any number of processes may share the work.
"""

import hashlib
import html
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from llmops.data import personal, similar
from llmops.data.params import DataParams, Split
from llmops.data.text import first_sentence, subject, to_markdown

if TYPE_CHECKING:
    import pyarrow as pa

CHARACTERS_PER_TOKEN = 4
"""As Google's documentation counts for Gemini (https://ai.google.dev/gemini-api/docs/tokens)."""

AT_ONCE = 2_500
"""Posts: what one process cleans before it hands over."""

_CLOSING = "*_`\"')]"
_ENDS = (".", "!", "?")
_HARMFUL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")


@dataclass(frozen=True, kw_only=True)
class Cleaner:
    """What is known before the first row is seen."""

    params: DataParams
    held_out: similar.Known
    """The cases of eval suites: what is near them must not be trained with."""

    def clean(self, batch: "pa.RecordBatch") -> "pa.Table":
        """Posts (id, title, tags, answer) -> rows of `schema`, in the same order.

        A row with a `reason` is left out, for that reason.
        """
        import pyarrow as pa

        rows = [self._row(post) for post in batch.to_pylist()]
        answers = similar.word_pairs([row["answer"] for row in rows])
        questions = similar.word_pairs([row["question"] for row in rows])
        near = self.held_out.near(questions) | self.held_out.near(answers)
        for row, is_near in zip(rows, near.tolist(), strict=True):
            if is_near and row["reason"] is None and row["split"] != "test":
                row["reason"] = "near a case of an eval suite"
        schema = self.schema()
        for row in rows:
            row["folded"] = similar.text_hash(row["answer"].lower())
        columns = [
            pa.array([row[field.name] for row in rows], field.type) for field in list(schema)[:-2]
        ]
        hashes = similar.bands(answers).ravel()
        return pa.table(
            [
                *columns,
                pa.ListArray.from_arrays(pa.array(answers.offsets, pa.int32()), answers.hashes),
                pa.FixedSizeListArray.from_arrays(pa.array(hashes), similar.BANDS),
            ],
            schema=schema,
        )

    @staticmethod
    def schema() -> "pa.Schema":
        """A cleaned row.

        `masked` counts personal data; `folded` is a hash of the answer in small letters, word pairs
        and bands are the answer's as well.
        """
        import pyarrow as pa

        text = pa.string()
        return pa.schema(
            {
                "id": pa.int64(),
                "key": text,
                "split": text,
                "topic": text,
                "question": text,
                "answer": text,
                "masked": pa.int32(),
                "reason": text,
                "folded": pa.uint64(),
                "word_pairs": pa.list_(pa.uint64()),
                "bands": pa.list_(pa.uint64(), similar.BANDS),
            }
        )

    def _row(self, post: dict[str, Any]) -> dict[str, Any]:
        title, in_title = self._plain(html.unescape(post["title"] or ""))
        row = {
            "id": post["id"],
            "key": subject(title),
            "topic": (post["tags"] or "").split("|")[-1],
            "question": title,
            "answer": "",
            "masked": in_title,
            "reason": None,
        }
        row["split"] = split_of(row["key"], self.params.split)
        limits = self.params.clean
        body = post["answer"] or ""
        if len(body) > limits.max_characters:
            return row | {"reason": f"answer of more than {limits.max_characters} characters"}
        answer, in_answer = self._plain(first_sentence(to_markdown(body)))
        if answer and answer.rstrip(_CLOSING)[-1:] not in _ENDS:
            answer += "."
        row |= {"answer": answer, "masked": in_title + in_answer}
        row["reason"] = self._reason(row)
        return row

    def _plain(self, text: str) -> tuple[str, int]:
        one_line = " ".join(_HARMFUL.sub("", unicodedata.normalize("NFC", text)).split())
        return personal.mask(one_line, self.params.clean.personal_data)

    def _reason(self, row: dict[str, Any]) -> str | None:
        limits = self.params.clean
        question, answer = row["question"], row["answer"]
        fewest, most = limits.words
        if not row["key"]:
            return "question without a word"
        if not fewest <= len(answer.split()) <= most:
            return f"first sentence not of {fewest} to {most} words"
        if (len(question) + len(answer)) / CHARACTERS_PER_TOKEN > limits.max_tokens:
            return f"more than {limits.max_tokens} tokens"
        if _foreign(f"{question} {answer}", limits.language, limits.language_confidence):
            return f"not in the language `{limits.language}`"
        return None


def split_of(key: str, shares: Split) -> str:
    """`train`, `validation` or `test`: by the key's MD5, so that a row never moves."""
    place = int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()[:8], 16) / 2**32
    if place < shares.test:
        return "test"
    return "validation" if place < shares.test + shares.validation else "train"


def _foreign(text: str, language: str, confidence: float) -> bool:
    if text.isascii() and language == "en" and _ENGLISH.search(text):
        return False
    found, sure = _identifier().classify(text)
    return bool(found != language and sure >= confidence)


_ENGLISH = re.compile(r"\b(the|is|are|of|and|does|what|how|this|for|an?)\b", re.IGNORECASE)
"""Most rows say one of these; the others are worth a tenth of a millisecond."""


@cache
def _identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
