"""A caller that keeps many large tensors on the way until somebody kills it."""

import asyncio
import sys
from importlib import import_module

import numpy as np

from orchestrator import Orchestrator

shop = import_module("shop")


async def send(address: str) -> None:
    entry = {"name": "edge-1", "tier": "edge", "address": address, "clearance": "secret"}
    async with Orchestrator({"nodes": [entry | {"insecure": True}]}, app="shop"):
        numbers = np.ones(1_000_000, np.float32)

        async def keep_sending() -> None:
            while True:
                await shop.double.aio(numbers)
                print("sent", flush=True)

        await asyncio.gather(*(keep_sending() for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(send(sys.argv[1]))
