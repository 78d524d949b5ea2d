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
    a person", the form that prompts of domains have. Captions of other forms stay as they are.
    """
    match = re.match(r"(.+? of )an? (?:[\w-]+ )*person\b", caption)
    return (match.group(), f"{match.group(1)}a person") if match else (caption, caption)
