"""HTML in, one subject and one sentence out."""

import pytest
from llmops.data.text import first_sentence, subject, to_markdown


@pytest.mark.parametrize(
    ("html", "sentence"),
    [
        ("<p>Return the suffix. It may be empty.</p>", "Return the suffix."),
        ("<p>Return x, e.g. the\nfirst one. More.</p>", "Return x, e.g. the first one."),
        ("<p>Join a &amp; b &lt;fast&gt;.</p><p>Second.</p>", "Join a & b <fast>."),
        ("<p>Set __name__ of *args.</p>", "Set __name__ of *args."),
        ("<p>No full stop</p>", "No full stop"),
        ("<pre><code>x = 1. Y = 2.\n</code></pre>\n<p>Return one.</p>", "Return one."),
        ("<pre><code>only code\n</code></pre>", ""),
        ("", ""),
    ],
)
def test_the_answer_is_the_first_sentence_of_prose(html: str, sentence: str) -> None:
    assert first_sentence(to_markdown(html)) == sentence


@pytest.mark.parametrize(
    "question",
    [
        "What does pathlib.PurePath.suffix() do?",
        "What is pathlib.PurePath.suffix for?",
        "what does PATHLIB.purepath.suffix do in python?",
    ],
)
def test_two_phrasings_of_a_question_have_one_subject(question: str) -> None:
    assert subject(question) == "pathlib.purepath.suffix"


def test_a_question_that_names_nothing_is_its_own_subject() -> None:
    assert subject("How do I  read a file?") == subject("how do i read a file") != ""


def test_code_stays_as_it_is_between_fences() -> None:
    html = "<p>So:</p><pre><code>if a &lt; b:\n    return a_b * c\n</code></pre><p>Done.</p>"
    assert to_markdown(html) == "So:\n\n```\nif a < b:\n    return a_b * c\n```\n\nDone."
