"""That the benchmark of labels measures what it says; how much it measures is no test."""

from benchmarks.labels import measure, plain, sealed, without_labels
from benchmarks.proofs.fleet import running_fleet
from orchestrator.core.labels import Sensitive
from orchestrator.wire.inprocess import InProcessChannel
from policies.facts import Clearance, Label, Level


async def test_both_kinds_of_calls_are_measured() -> None:
    found = await measure(calls=20, rounds=2)
    assert set(found) == {"public", "labelled"}
    assert all(seen["call"] > 0 and seen["without"] > 0 for seen in found.values())


async def test_what_is_left_out_is_put_back() -> None:
    public, secret = Clearance(Level.PUBLIC), Label(Level.SECRET)
    async with running_fleet([plain, sealed], {"edge": InProcessChannel}) as fleet:
        await fleet.renew(1)
        with without_labels():
            assert await plain.aio("x") == "x"
            assert public.covers(secret)
        assert not public.covers(secret)
        assert (await sealed.aio(Sensitive("x", "pii"))).label == Sensitive("", "pii").label
