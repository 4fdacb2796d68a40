"""What a post says in plain text: HTML in, questions and one-sentence answers out."""

import re
import unicodedata

# A full stop after one of these does not end a sentence.
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "sec.", "fig.", "approx.", "resp.", "no.")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[`*]?[A-Z])")
_SUBJECT = re.compile(r"\b[A-Za-z_]\w*(?:\.\w+)+|\b[A-Za-z_]\w*(?=\(\))")
_FENCE = re.compile(r"^```.*?^```\s*$", re.MULTILINE | re.DOTALL)


def to_markdown(html: str) -> str:
    """The HTML body of a post as Markdown in NFC, with its code in fences."""
    from html_to_markdown import convert

    return unicodedata.normalize("NFC", convert(html).content or "").strip()


def first_sentence(markdown: str) -> str:
    """The first sentence outside of code blocks, on one line; empty where there is none."""
    paragraphs = re.split(r"\n\s*\n", _FENCE.sub("", markdown).strip())
    text = " ".join(paragraphs[0].split())
    for end in _SENTENCE_END.finditer(text):
        if not text[: end.start()].rstrip().lower().endswith(_ABBREVIATIONS):
            return text[: end.end()].strip()
    return text


def subject(question: str) -> str:
    """What a question is about: `pathlib.PurePath.suffix` of "What does … do?".

    A question that names nothing is its own subject, without its punctuation and in small letters,
    so that two spellings of one question have one subject.
    """
    named = _SUBJECT.search(question)
    return (named[0] if named else " ".join(re.findall(r"\w+", question))).lower()
