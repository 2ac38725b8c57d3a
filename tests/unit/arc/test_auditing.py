"""Calls into the journal, as many as it can bear."""

from controlplane.arc.auditing import BURST, LINES, Auditing
from controlplane.link.frames import Audited, Diagnosed, Done, Noticed, Refused
from controlplane.link.records import Audit, Call, Diagnostic, Notice, Record, Said

CALL = Call(outcome="begun", method="/t.T/Do", identity="somebody")


def test_what_is_told_is_journalled() -> None:
    journal: list[Record] = []
    auditing = Auditing(journal.append)
    assert auditing.tell(Audited(id=1, call=CALL)) == Done()
    assert auditing.tell(Noticed(id=2, name="tls.refused", text="no")) == Done()
    audit, notice = journal
    assert isinstance(audit, Audit)
    assert audit.call == CALL
    assert isinstance(notice, Notice)
    assert (notice.name, notice.severity, notice.text) == ("tls.refused", "warn", "no")


def test_a_flood_is_refused_and_counted() -> None:
    journal: list[Record] = []
    auditing = Auditing(journal.append)
    answers = [auditing.tell(Audited(id=1, call=CALL)) for _ in range(BURST * 4)]
    refused = sum(isinstance(answer, Refused) and answer.reason == "busy" for answer in answers)
    assert refused > BURST
    assert len(journal) < BURST * 2
    auditing._calls.pace._credit = 1
    auditing.tell(Audited(id=1, call=CALL))
    dropped = [record for record in journal if isinstance(record, Notice)]
    assert sum(int(record.attributes["count"]) for record in dropped) == refused


def test_what_the_plane_says_of_itself_leaves_room_for_calls() -> None:
    journal: list[Record] = []
    auditing = Auditing(journal.append)
    line = Said(severity="warn", logger="reflexarc.plane", text="again")
    answers = [auditing.tell(Diagnosed(id=1, said=line)) for _ in range(LINES * 4)]
    refused = sum(isinstance(answer, Refused) for answer in answers)
    assert refused > LINES * 2
    told = [record for record in journal if isinstance(record, Diagnostic)]
    assert len(told) == LINES * 4 - refused
    assert {record.said for record in told} == {line}
    assert auditing.tell(Audited(id=1, call=CALL)) == Done()
    auditing._lines.pace._credit = 1
    auditing.tell(Diagnosed(id=1, said=line))
    (dropped,) = (record for record in journal if isinstance(record, Notice))
    assert (dropped.name, dropped.attributes) == ("plane.diagnostics_dropped", {"count": refused})
