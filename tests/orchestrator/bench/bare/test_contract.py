from orchestrator.bench.bare.contract import CHUNK, frame, frames


def test_frames_come_out_of_a_message_as_they_went_in() -> None:
    sent = [(1, b"one"), (2**40, b""), (3, b"three")]
    assert list(frames(b"".join(frame(*each) for each in sent))) == sent
    assert list(frames(b"")) == []
    assert len(CHUNK) == 20
