import pytest

from orchestrator.core.errors import AccessDenied, Overloaded
from orchestrator.serving.access.guest import Guest
from orchestrator.serving.access.settings import Role
from orchestrator.testing import ManualClock


def guest(*roles: Role, clock: ManualClock | None = None) -> Guest:
    return Guest("app.example", roles, clock or ManualClock())


@pytest.mark.parametrize(
    ("globs", "service", "may"),
    [
        (["embed"], "embed", True),
        (["embed"], "embed_private", False),
        (["embed*"], "embed_private", True),
        (["Ranker.*"], "Ranker.score", True),
        (["Ranker.*"], "Rankers", False),
        (["*"], "anything", True),
        ([], "embed", False),
        (["EMBED"], "embed", False),
        (["a", "b"], "b", True),
    ],
)
def test_a_role_names_what_it_may_invoke(globs: list[str], service: str, may: bool) -> None:
    one = guest(Role(invoke=tuple(globs)))
    for _ in range(2):  # the second time from memory
        assert one.may_invoke(service) is may
    if may:
        one.enter(service)
    else:
        with pytest.raises(
            AccessDenied, match="no role of the caller may invoke that service"
        ) as e:
            one.enter(service)
        assert e.value.retry == "never"
        assert one.inside == 0


def test_a_role_gives_nothing_that_it_does_not_say_but_reports() -> None:
    one = guest(Role())
    assert one.may_describe
    assert not one.may_read_metrics
    assert not one.may_manage_models
    with pytest.raises(AccessDenied, match="may read reports"):
        guest(Role(describe=False)).check_describe()


def test_several_roles_give_their_rights_together_and_the_most_generous_limit() -> None:
    roles = Role(invoke=("a",), concurrency=1), Role(invoke=("b",), metrics=True, concurrency=2)
    one = guest(*roles)
    assert one.may_invoke("a")
    assert one.may_invoke("b")
    assert one.may_read_metrics
    one.enter("a")
    one.enter("b")
    with pytest.raises(Overloaded, match="has 2 calls in the node, its limit"):
        one.enter("a")
    unlimited = guest(*roles, Role())
    for _ in range(100):
        unlimited.enter("a")


def test_who_leaves_makes_room() -> None:
    one = guest(Role(invoke=("*",), concurrency=1))
    one.enter("a")
    with pytest.raises(Overloaded) as refused:
        one.enter("a")
    assert refused.value.retry == "always"
    one.leave()
    one.enter("a")


def test_too_many_calls_a_second_are_told_when_the_next_may_come() -> None:
    clock = ManualClock()
    one = guest(Role(invoke=("*",), calls_per_second=4, burst=2), clock=clock)
    for _ in range(2):
        one.enter("a")
    with pytest.raises(Overloaded, match=r"the next may come in 0\.250 s"):
        one.enter("a")
    assert one.inside == 2
    clock.turn(0.25)
    one.enter("a")


def test_a_refused_call_takes_nothing_of_the_rate() -> None:
    one = guest(Role(invoke=("a",), calls_per_second=1, burst=1))
    with pytest.raises(AccessDenied):
        one.enter("b")
    one.enter("a")


def test_without_a_burst_a_second_of_calls_may_come_at_once() -> None:
    one = guest(Role(invoke=("a",), calls_per_second=0.5))
    one.enter("a")  # though half a call a second is less than one
    with pytest.raises(Overloaded, match=r"in 2\.000 s"):
        one.enter("a")
