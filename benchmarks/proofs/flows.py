"""Services through which labelled values flow, and which try every way to let them slip out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from orchestrator.core.errors import CallError
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import fresh_catalogue

VAULT: dict[int, Labelled[str]] = {}
"""What `look_up` finds."""

with fresh_catalogue():  # they are no part of whatever app runs beside a proof

    @cloud_service(inline=True)
    def upload(text: str) -> str:
        """Take what the cloud may see."""
        return text

    @cloud_service
    async def chunks(text: str) -> AsyncIterator[str]:
        """Give a text back in parts."""
        for word in text.split():
            yield word

    @cloud_service(overflow="edge", inline=True)
    def mirror(text: Labelled[str]) -> Labelled[str]:
        """Give a value back, from wherever it may go."""
        return text

    @cloud_service(fallback="edge", idempotent=True, inline=True)
    def anywhere(texts: Labelled[list[str]]) -> Labelled[int]:
        """Run in the cloud, or on the edge when that fails or may not be."""
        return texts.with_value(len(texts.value))

    @edge_service(inline=True)
    def look_up(number: int) -> Secret[str]:
        """Give a secret for a plain argument."""
        found: Any = VAULT[number]
        return Secret(found.value, *found.categories) if type(found) is Labelled else found

    @edge_service(inline=True)
    def both(one: Labelled[str], other: Labelled[str]) -> Labelled[list[str]]:
        """Put one value beside the other, under the label of the first."""
        return one.with_value([one.value, other.value])

    @edge_service(inline=True)
    def lower(text: Labelled[str]) -> list[Labelled[str]]:
        """Put a value under a lower label."""
        return [Internal(text.value + "."), text]

    @edge_service(inline=True)
    def tell(number: int) -> str:
        """Give what another service gave labelled as a plain result."""
        return look_up.local(number).value

    @edge_service
    async def ask_and_tell(number: int) -> str:
        """Do the same over a call."""
        return (await look_up.aio(number)).value

    @edge_service
    async def slip(text: Labelled[str]) -> Labelled[str]:
        """Send what was opened to the cloud: by a call, a task, a thread, a stream."""
        opened = text.value
        with suppress(CallError):
            await upload.aio(opened)
        await asyncio.gather(
            upload.aio(opened), mirror.aio(Internal(opened)), return_exceptions=True
        )
        with suppress(CallError):
            await asyncio.to_thread(upload, opened)
        with suppress(CallError):
            async for _ in chunks.aio(opened):
                pass
        return text

    @edge_service
    async def slip_later(number: int) -> Secret[str]:
        """Ask for a stream before a value is opened, and begin it by what was found inside."""
        words = chunks.aio(f"it <bit{number}> is")
        hidden = await look_up.aio(number)
        if hidden.value:
            with suppress(CallError):
                await anext(words)
        return hidden

    @edge_service(inline=True)
    def choke(text: Labelled[str]) -> Labelled[str]:
        """Fail with a value in the exception."""
        raise ValueError(text.value)

    @edge_service
    async def slip_by_error(number: int) -> int:
        """Tell the cloud whether a call on a hidden value failed."""
        hidden = await look_up.aio(number)
        try:
            await choke.aio(hidden)
        except CallError:
            with suppress(CallError):
                await upload.aio(f"it <bit{number}> failed")
        return 0

    @edge_service
    async def late(number: int) -> AsyncIterator[Labelled[str]]:
        """Open a secret after the first chunk is out."""
        yield Internal("begin")
        hidden = await look_up.aio(number)
        yield Internal(hidden.value)
        with suppress(CallError):
            await upload.aio(hidden.value)
        yield Internal("end")

    @edge_service(declassifies=True, inline=True)
    def release(text: Sensitive[str]) -> str:
        """Give a value out in plain: trusted to, and audited."""
        return text.value

    @edge_service(declassifies=True)
    async def release_another(text: Sensitive[str], number: int) -> str:
        """Give a secret out that was not declared to come in."""
        hidden = await look_up.aio(number)
        with suppress(CallError):
            await upload.aio(hidden.value)
        return hidden.value

    @edge_service(declassifies=True, inline=True)
    def mask(text: Labelled[str]) -> str:
        """Give out nothing of a value."""
        text.value  # noqa: B018
        return "****"

    @edge_service
    async def mask_and_send(text: Labelled[str]) -> Labelled[str]:
        """Send what a declassifier made of a value, which the floor still forbids here."""
        clean = await mask.aio(text)
        with suppress(CallError):
            await upload.aio(clean + text.value)
        return text.with_value(clean)

    @edge_service
    async def mask_all_and_send(number: int) -> str:
        """Clean a secret that was never opened here, and send it on."""
        return await upload.aio(await mask.aio(await look_up.aio(number)))

    @edge_service(inline=True)
    def picky(text: Labelled[str]) -> Labelled[str]:
        """Fail by what is inside."""
        if len(text.value) % 2:
            raise ValueError(text.value)
        return text

    @edge_service
    async def pick_and_send(number: int) -> str:
        """Go on in public if a call on a hidden value went well."""
        await picky.aio(await look_up.aio(number))
        return await upload.aio("it went well")

    @cloud_service(inline=True)
    def fail_there(text: str) -> str:
        """Fail in the cloud."""
        raise ValueError(text)

    @edge_service(declassifies=True, inline=True)
    def one_bit(text: Labelled[str]) -> bool:
        """Let one bit of a value out: a declassifier that is not to be trusted."""
        return len(text.value) % 2 == 1

    @edge_service
    async def one_bit_and_send(number: int) -> str:
        """Send that bit to the cloud."""
        return await upload.aio(str(await one_bit.aio(await look_up.aio(number))))


SERVICES = [
    upload, chunks, mirror, anywhere, look_up, both, lower, tell, ask_and_tell, slip, slip_later,
    choke, slip_by_error, late, release, release_another, mask, mask_and_send, mask_all_and_send,
    picky, pick_and_send, fail_there, one_bit, one_bit_and_send,
]  # fmt: skip
