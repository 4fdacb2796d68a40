"""params.yaml: what data/ is made of, key by key."""

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from llmops import yamlfile
from llmops.errors import UserError
from llmops.formats import Share, Text
from llmops.yamlfile import Number, Whole, Written

PATH = "params.yaml"

PersonalData = Literal["EMAIL", "PHONE", "SSN", "CREDIT_CARD", "IP_ADDRESS"]


def _in_quotes(value: object) -> object:
    if isinstance(value, dt.date):
        message = f'write "{value}", in quotes: DVC reads no other dates'
        raise ValueError(message)  # noqa: TRY004 - pydantic's way of saying it
    return value


Day = Annotated[dt.date, BeforeValidator(_in_quotes)]


class Retrieval(Written):
    """Which posts are taken, and what asking for them may cost."""

    tags: Annotated[tuple[Text, ...], Field(min_length=1)]
    """A question needs one of them."""
    since: Day
    until: Day
    """Creation of the question: from `since`, before `until`."""
    lowest_score: Whole
    """Of an answer that nobody accepted."""
    max_gib: Annotated[Number, Field(gt=0)]
    """A query that would read more is refused before it runs."""
    usd_per_tib: Annotated[Number, Field(ge=0)]
    """BigQuery's on-demand price."""

    @model_validator(mode="after")
    def _some_days(self) -> "Retrieval":
        if self.since >= self.until:
            message = f"since {self.since} is not before until {self.until}: no post is that old"
            raise ValueError(message)
        return self


class Cleaning(Written):
    """What makes a post usable."""

    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")]
    """ISO 639 code."""
    language_confidence: Share
    """A text is foreign when it is this surely another language."""
    max_characters: Annotated[Whole, Field(gt=0)]
    """Of an answer's HTML: a larger one is a dump, not an answer."""
    words: tuple[Whole, Whole]
    """Of a usable answer: fewest and most."""
    max_tokens: Annotated[Whole, Field(gt=0)]
    """Of question and answer together: what the model is tuned with at most."""
    personal_data: tuple[PersonalData, ...]
    """Kinds that are masked."""


class Duplicates(Written):
    """When two rows are one."""

    threshold: Annotated[Number, Field(ge=0.5, le=1)]
    """Share of word pairs in common (Jaccard)."""


class Split(Written):
    """Shares of the rows; the rest is for training."""

    test: Share
    validation: Share

    @model_validator(mode="after")
    def _some_are_left(self) -> "Split":
        if self.test + self.validation >= 1:
            message = "test and validation together leave nothing to train with"
            raise ValueError(message)
        return self


SplitName = Literal["train", "validation", "test"]


class Contract(Written):
    """What the built data must keep."""

    rows: dict[SplitName, Whole]
    """Split -> how many at least."""
    tokens: tuple[Whole, Whole]
    """Of question and answer together: fewest and most."""
    characters: Text
    """What questions and answers may consist of, as in the brackets of an RE2 pattern."""
    unique: tuple[Literal["key", "question", "answer"], ...]
    """What no two rows share, in small letters."""
    largest_topic: Share
    """At most so many of the rows are about one topic."""
    code: tuple[Share, Share]
    """Share of the answers with code in them: least and most."""

    @model_validator(mode="after")
    def _least_first(self) -> "Contract":
        for name, (least, most) in (("tokens", self.tokens), ("code", self.code)):
            if least > most:
                message = f"{name}: [{least}, {most}] holds nothing: the least comes first"
                raise ValueError(message)
        return self


class DataParams(Written):
    """Everything that decides what data/ holds, beside the source tables."""

    retrieve: Retrieval
    clean: Cleaning
    duplicates: Duplicates
    split: Split
    system_instruction: Text
    contract: Contract


class _Params(Written):
    data: DataParams


def load(root: Path) -> DataParams:
    """The parameters. Raises UserError with the line of what is wrong in params.yaml."""
    try:
        text = (root / PATH).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("this file is missing", path=PATH, fix=f"git checkout {PATH}") from None
    return parse(text)


def parse(text: str) -> DataParams:
    """The parameters in a text of params.yaml. Raises UserError with the line of what is wrong."""
    return yamlfile.parse(text, PATH, _Params).data
