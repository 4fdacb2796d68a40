"""What a post says in plain text: HTML in, questions and one-sentence answers out."""

import re

EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
EMAIL_MASK = "[e-mail]"

# A full stop after one of these does not end a sentence.
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "sec.", "fig.", "approx.", "resp.", "no.")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[`*]?[A-Z])")
_SUBJECT = re.compile(r"\b[A-Za-z_]\w*(?:\.\w+)+|\b[A-Za-z_]\w*(?=\(\))")
_FENCE = re.compile(r"^```.*?^```\s*$", re.MULTILINE | re.DOTALL)


def to_markdown(html: str) -> str:
    """The HTML body of a post as Markdown: entities decoded, e-mail addresses masked."""
    from markdownify import markdownify

    text = markdownify(
        html,
        heading_style="ATX",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    return mask_emails(str(text).strip())


def mask_emails(text: str) -> str:
    """The text with every e-mail address as `[e-mail]`: a model must not learn them."""
    return EMAIL.sub(EMAIL_MASK, text)


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
