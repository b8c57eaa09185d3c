from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.opened import audit_here, calling_through, is_open, open_here, opened
from orchestrator.core.running import running
from orchestrator.testing import as_node


class Open:
    """A caller with an audit of its own."""

    def __init__(self) -> None:
        self.audit: Audit = LoggedAudit()
        self.reveal_allowed = True


def test_the_caller_of_the_context_wins_over_the_outermost_open_one() -> None:
    outer, inner = Open(), Open()
    assert open_here() is None
    with opened(outer), opened(inner):
        assert open_here() is inner
        with calling_through(outer):
            assert open_here() is outer
        assert is_open(outer)
    assert not is_open(outer)
    assert open_here() is None


def test_code_writes_to_the_audit_of_its_node_then_of_its_caller_then_to_the_log() -> None:
    assert isinstance(audit_here(), LoggedAudit)
    caller = Open()
    with opened(caller):
        assert audit_here() is caller.audit
        with as_node("edge"):
            here = running()
            assert here is not None
            assert audit_here() is here.node.audit
            assert audit_here() is not caller.audit
