"""Any bytes from the plane are a command or refused in good order: the arc trusts no sender."""

from hypothesis import given
from hypothesis import strategies as st

from controlplane.arc.triggering import problems as makes_no_sense
from controlplane.link.faults import problems
from controlplane.link.frames import COMMANDS, ENCODER, ApplyRule, DeleteRule, SetMode, Trigger, UndoActs
from controlplane.link.malformed import MALFORMED
from controlplane.link.rules import Rate, Rule, Step

COMMANDS_SENT = (
    ApplyRule(id=1, rule=Rule(name="r", signal="process.fork", test=Rate(1, 1))),
    Trigger(id=1, step=Step("freeze", for_ns=1), path="/a/b", pid=0, trace_id=b"t" * 16),
    Trigger(id=1, step=Step("kill", grace_ns=1), pid=7, start_ns=9),
)


@given(st.binary(max_size=400))
def test_any_bytes(frame: bytes) -> None:
    try:
        COMMANDS.decode(frame)
    except MALFORMED:
        return


@given(st.data())
def test_a_real_frame_with_bytes_changed(data: st.DataObject) -> None:
    frame = bytearray(ENCODER.encode(data.draw(st.sampled_from(COMMANDS_SENT))))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        command = COMMANDS.decode(bytes(frame))
    except MALFORMED:
        return
    if isinstance(command, Trigger):
        assert all(isinstance(problem, str) for problem in makes_no_sense(command))
    if isinstance(command, ApplyRule):
        assert all(isinstance(problem, str) for problem in problems(command.rule))
    assert isinstance(command, ApplyRule | DeleteRule | SetMode | Trigger | UndoActs) or command.id >= 0
