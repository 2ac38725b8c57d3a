"""Who called, on its way out: from the journal to the collector."""

import asyncio

from controlplane.link.records import Audit, Call
from tests.plane.running import node, plane
from tests.plane.sink import Sink, attributes_of

CALL = Call(
    outcome="begun",
    request_id="5705e59acfb2a071",
    method="/reflexarc.v1.Management/SetMode",
    what="mode=MODE_OFF",
    identity="spiffe://example.org/oncall",
    role="operator",
    origin="ipv4:192.0.2.7:50123",
)


def test_a_call_is_exported_as_a_log() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(50), Sink() as sink:
            with node() as where:
                async with plane(where, where.config(f"http://127.0.0.1:{sink.port}")):
                    where.write(Audit(time_ns=1, call=CALL))
                    await sink.until_taken(1)
            (record,) = sink.records()
        assert record.event_name == "reflexarc.audit"
        attributes = attributes_of(record)
        assert attributes.pop("log.record.uid")
        assert attributes == {
            "user.id": CALL.identity,
            "reflexarc.role": CALL.role,
            "rpc.method": "reflexarc.v1.Management/SetMode",
            "reflexarc.request": CALL.what,
            "reflexarc.request.id": CALL.request_id,
            "network.peer.address": CALL.origin,
            "reflexarc.outcome": "begun",
            "reflexarc.count": 1,
        }

    asyncio.run(scenario())
