"""Sentences around a prompt, and shorter forms of a caption."""

import re

TEMPLATES = (
    "{}",
    "this is {}",
    "a picture of {}",
    "an image showing {}",
    "here we see {}",
    "{} on a plain page",
    "one example of {}",
)


def fill_templates(text: str) -> list[str]:
    """The text in every template, the bare text first."""
    return [template.format(text) for template in TEMPLATES]


def shortened(caption: str) -> tuple[str, str]:
    """Two shorter captions that are as true: without the details, and of any person.

    "a photo of a smiling person with glasses" gives "a photo of a smiling person" and "a photo of
    a person", the form that prompts of domains have.
    """
    brief = re.split(r" with |, ", caption, maxsplit=1)[0]
    return brief, re.sub(r"\ban? (?:[\w-]+ )+person\b", _anyone, brief)


def _anyone(match: re.Match) -> str:
    """Drop the words about the person, keep those about the medium."""
    head, separator, _ = match.group().rpartition(" of ")
    return f"{head}{separator}a person"
