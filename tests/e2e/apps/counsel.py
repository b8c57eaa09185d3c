"""An app whose cloud services get pseudonyms, and tell in hexadecimal digits what they got."""

import os
from collections.abc import Iterator
from contextlib import suppress

from orchestrator import Orchestrator, Sensitive, cloud_service, edge_service

office = Orchestrator("isthmus.yaml")


@cloud_service(privacy="pseudonymise")
def answer(text: Sensitive[str]) -> Sensitive[dict[str, str]]:
    """Answers as a model would, and shows what it was given."""
    said = text.value
    wrapped = said.replace("_", "\\_").replace("EMAIL", "**email")
    return text.with_value({"said": f"Dear {said}", "wrapped": wrapped, "got": said.encode().hex()})


@cloud_service(privacy="pseudonymise")
def spell(text: Sensitive[str]) -> Iterator[Sensitive[str]]:
    """Writes letter by letter."""
    for letter in text.value:
        yield text.with_value(letter)


@cloud_service(privacy="pseudonymise")
def fail(text: Sensitive[str]) -> Sensitive[str]:
    raise ValueError(text.value)


@cloud_service(privacy="pseudonymise", idempotent=True)
def survive(text: Sensitive[str]) -> Sensitive[str]:
    """Ends the first process that runs it, while there is a file to be deleted."""
    with suppress(OSError):
        os.unlink(os.environ.get("COUNSEL_CRASHES", ""))
        os._exit(1)
    return text


@cloud_service
def show(text: str) -> str:
    """Shows what it was given, which is public."""
    return text.encode().hex()


@cloud_service(privacy="local")
def stay(text: Sensitive[str]) -> Sensitive[int]:
    return text.with_value(os.getpid())


@edge_service
def consult(text: Sensitive[str]) -> Sensitive[str]:
    """Asks the cloud from inside of a body on labelled data."""
    return text.with_value(answer(text).value["said"])


@edge_service
def slip(text: Sensitive[str]) -> Sensitive[str]:
    """Would tell the cloud in plain words what it has opened."""
    return text.with_value(hint(text, len(text.value)).value)


@cloud_service(privacy="pseudonymise")
def hint(text: Sensitive[str], length: int) -> Sensitive[str]:
    return text.with_value(f"{length}")
