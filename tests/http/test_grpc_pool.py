"""Our messages of published protocols live beside other packages' messages of the same names."""

from google.protobuf.descriptor_pool import Default
from tritonclient.grpc import service_pb2

from repertory.protos.pool import private_pool
from repertory.protos.private import oip_pb2


def test_a_client_of_the_same_protocol_lives_in_the_same_process() -> None:
    theirs = service_pb2.ModelInferRequest(model_name="wine", id="7")
    ours = oip_pb2.ModelInferRequest.FromString(theirs.SerializeToString())
    assert (ours.model_name, ours.id) == ("wine", "7")
    assert type(ours) is not service_pb2.ModelInferRequest


def test_our_messages_are_those_of_the_published_protocol() -> None:
    for message in oip_pb2.DESCRIPTOR.message_types_by_name.values():
        theirs = Default().FindMessageTypeByName(message.full_name)
        for field in message.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, field.type) == (other.number, other.type), field.full_name


def test_our_methods_are_those_of_the_published_protocol() -> None:
    (service,) = oip_pb2.DESCRIPTOR.services_by_name.values()
    published = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == published.full_name
    for method in service.methods:
        other = published.methods_by_name[method.name]
        assert method.input_type.full_name == other.input_type.full_name
        assert method.output_type.full_name == other.output_type.full_name


def test_the_messages_of_a_file_are_in_one_pool() -> None:
    found = private_pool().FindMessageTypeByName("inference.ModelInferRequest")
    assert oip_pb2.ModelInferRequest.DESCRIPTOR is found
