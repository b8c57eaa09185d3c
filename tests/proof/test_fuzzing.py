"""What the fuzzer found, and changes of it; `make proof PART=fuzzing` looks for more."""

import random

import pytest

from benchmarks.proofs.fuzzing import PLANTED as WORDS
from benchmarks.proofs.fuzzing import TARGETS as NAMES
from benchmarks.proofs.fuzzing import known_inputs
from benchmarks.proofs.judge import PLANTED, TARGETS, replay
from benchmarks.proofs.mutations import join, mutated, split

RUNS = {"messages": 4000, "frames": 4000, "bodies": 10_000, "caller": 1000, "node": 1500}


@pytest.mark.parametrize("target", NAMES)
def test_no_input_crashes_a_target_or_takes_its_memory(target: str) -> None:
    inputs = known_inputs(target)
    assert len(inputs) > 10
    assert replay(TARGETS[target], inputs, RUNS[target], seed=1) > 0


@pytest.mark.parametrize(("target", "words"), WORDS.items())
def test_a_planted_bug_is_found(target: str, words: str) -> None:
    with pytest.raises(Exception, match=words):
        replay(PLANTED[target], known_inputs("frames"), RUNS["frames"], seed=1)


def test_a_sound_parser_passes_where_planted_bugs_are_found() -> None:
    assert replay(PLANTED["planted nothing"], known_inputs("frames"), 3000, seed=1) > 0


def test_messages_come_out_of_an_input_as_they_went_in() -> None:
    messages = [b"a", b"bc" * 200, b"\x00"]
    assert list(split(join(messages))) == messages
    assert list(split(join(messages)[:-1])) == messages[:-1]


def test_the_same_seed_makes_the_same_changes() -> None:
    first, second = ([mutated([b"abc", b"de"], random.Random(3)) for _ in range(9)] for _ in "ab")
    assert first == second
    assert len({mutated([b"abc", b"de"], random.Random(seed)) for seed in range(9)}) > 3
