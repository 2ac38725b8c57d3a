"""The service as its descriptor tells it."""

from google.protobuf import descriptor_pb2, descriptor_pool

from controlplane.wire import management_pb2 as pb
from controlplane.wire.methods import MANAGEMENT, Role, methods


def test_methods_of_the_service() -> None:
    ours = methods(MANAGEMENT)
    watch = ours["Watch"]
    assert watch.path == "/reflexarc.v1.Management/Watch"
    assert (watch.request, watch.response, watch.streams) == (pb.WatchRequest, pb.WatchResponse, True)
    assert {name for name, method in ours.items() if method.streams} == {"Watch"}


def test_roles_are_those_of_the_proto() -> None:
    ours = methods(MANAGEMENT)
    assert ours["GetStatus"].role is Role.VIEWER
    assert ours["Undo"].role is Role.OPERATOR
    assert ours["ApplyPolicy"].role is Role.ADMIN
    assert ours["CloseBreaker"].role is Role.ADMIN
    assert all(method.role is not None for method in ours.values())


def test_a_method_without_the_option_has_no_role() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare", syntax="proto3")
    file.message_type.add(name="Empty")
    service = file.service.add(name="Bare")
    service.method.add(name="Do", input_type=".bare.Empty", output_type=".bare.Empty")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    assert methods(pool.FindServiceByName("bare.Bare"))["Do"].role is None
