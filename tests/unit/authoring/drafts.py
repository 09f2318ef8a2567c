"""Drafts in short, and what a bundle holds."""

import json

from cloche.authoring.draft import Draft
from cloche.authoring.preparing import GOLDEN


def draft(model, examples, **options):
    return Draft(**({"name": "flights", "version": "1.0.0"} | options), model=model, examples=examples)


def golden(prepared):
    return [json.loads(line) for line in prepared.contents[GOLDEN].decode().splitlines()]
