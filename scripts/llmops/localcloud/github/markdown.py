"""Markdown as GitHub shows it: its tables and folds, and none of the HTML that it forbids."""

import re

import nh3
from markdown_it import MarkdownIt

_TAGS = set(
    re.findall(
        r"\w+",
        "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img input ins "
        "kbd li ol p picture pre q s samp source span strike strong sub summary sup table tbody "
        "td tfoot th thead tr tt ul var",
    )
)
_ATTRIBUTES = {
    "*": {"align", "title", "width", "height", "class", "id"},
    "a": {"href"},
    "img": {"src", "alt"},
    "details": {"open"},
    "input": {"type", "checked", "disabled"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_ALERT = re.compile(
    r"<blockquote>\s*<p>\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\](?:<br\s*/?>)?\s*(.*?)</blockquote>",
    re.DOTALL,
)
_TASK = re.compile(r"<li>\[([ xX])\] ")
_PARSER = MarkdownIt("gfm-like", {"html": True, "breaks": True})


def render(text: str) -> str:
    """Safe HTML."""
    html = nh3.clean(_PARSER.render(text), tags=_TAGS, attributes=_ATTRIBUTES)
    html = _ALERT.sub(_alert, html)
    return _TASK.sub(_task, html)


def _alert(match: re.Match[str]) -> str:
    kind = match[1].lower()
    title = f'<p class="markdown-alert-title">{match[1].capitalize()}</p>'
    return f'<div class="markdown-alert markdown-alert-{kind}">{title}<p>{match[2]}</div>'


def _task(match: re.Match[str]) -> str:
    checked = "" if match[1] == " " else " checked"
    return f'<li class="task-list-item"><input type="checkbox" disabled{checked}> '
