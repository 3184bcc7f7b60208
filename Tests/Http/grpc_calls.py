#!/usr/bin/env python3
"""Asks a broker that runs everything that gRPC offers, with grpcio for a client.

usage: grpc_calls.py HOST:PORT [PID]    with the broker's PID it is stopped by the last case
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from google.protobuf.descriptor_pool import DescriptorPool

from grpc_peer import (
    Consumer, EVENTS_PER_MESSAGE, In, Out, PATIENCE, PROTOCOL, Producer, Talk, event, events_of, pb,
    publish, rpc,
)

Code = grpc.StatusCode
Health = health_pb2.HealthCheckResponse


def refusal(method, request, **more) -> tuple[Code, str]:
    """The code and the broker's own code of a call that is refused."""
    try:
        method(request, timeout=PATIENCE, **more)
    except grpc.RpcError as error:
        assert error.details(), "a refusal says what to do next"
        return error.code(), dict(error.trailing_metadata()).get("sluice-code", "")
    raise AssertionError("it was not refused")


# Topics and groups

def case_topics_are_made_listed_and_removed(broker, _):
    made = broker.CreateTopic(pb.CreateTopicRequest(topic="made", capacity=5, ahead=2))
    assert (made.topic, made.capacity, made.ahead) == ("made", 5, 2)
    assert broker.GetTopic(pb.GetTopicRequest(topic="made")).capacity == 5
    again = pb.CreateTopicRequest(topic="made")
    assert refusal(broker.CreateTopic, again) == (Code.ALREADY_EXISTS, "EXISTS")
    for name in ("page-1", "page-2", "page-3"):
        broker.CreateTopic(pb.CreateTopicRequest(topic=name))
    names, token = [], ""
    while True:
        page = broker.ListTopics(pb.ListTopicsRequest(page_size=2, page_token=token))
        assert len(page.topics) <= 2
        names += [topic.topic for topic in page.topics]
        token = page.next_page_token
        if not token:
            break
    assert [name for name in names if name.startswith("page-")] == ["page-1", "page-2", "page-3"]
    assert names == sorted(set(names)) and "made" in names
    broker.RemoveTopic(pb.TopicRequest(topic="made"))
    gone = pb.GetTopicRequest(topic="made")
    assert refusal(broker.GetTopic, gone) == (Code.NOT_FOUND, "NOT_FOUND")
    assert refusal(broker.RemoveTopic, pb.TopicRequest(topic="made"))[0] == Code.NOT_FOUND


def case_a_group_is_kept_as_long_as_its_topic_says(broker, _):
    for seconds in (60, 0):
        topic = f"kept-{seconds}"
        broker.CreateTopic(pb.CreateTopicRequest(topic=topic, group_expire_after=seconds))
        consumer = Consumer(broker, topic, group="g")
        consumer.hear()
        consumer.end()
        found = broker.GetTopic(pb.GetTopicRequest(topic=topic))
        assert found.HasField("group_expire_after") == (seconds > 0)
        assert found.group_expire_after == found.groups[0].expire_after == seconds


def case_bad_wishes_are_refused(broker, _):
    for wish in (
        pb.CreateTopicRequest(topic="$sys/x"), pb.CreateTopicRequest(topic=""),
        pb.CreateTopicRequest(topic="a b"), pb.CreateTopicRequest(topic="w", on_full="never"),
        pb.CreateTopicRequest(topic="w", partitions=70_000),
    ):
        assert refusal(broker.CreateTopic, wish) == (Code.INVALID_ARGUMENT, "BAD_OPTION")


def case_a_topic_is_paused_resumed_and_purged(broker, _):
    publish(broker, "held", ["one", "two"])
    broker.PauseTopic(pb.TopicRequest(topic="held"))
    assert broker.GetTopic(pb.GetTopicRequest(topic="held")).is_paused
    broker.ResumeTopic(pb.TopicRequest(topic="held"))
    assert not broker.GetTopic(pb.GetTopicRequest(topic="held")).is_paused
    broker.PurgeTopic(pb.TopicRequest(topic="held"))
    assert broker.GetTopic(pb.GetTopicRequest(topic="held")).buffered_events == 0


def case_groups_are_listed_sent_elsewhere_and_removed(broker, _):
    consumer = Consumer(broker, "grouped", demand=1, group="g")
    publish(broker, "grouped", ["0", "1", "2"])
    assert [offset for offset, _ in consumer.take(1)] == [0]
    groups = broker.ListGroups(pb.ListGroupsRequest(topic="grouped")).groups
    assert [(group.group, group.members) for group in groups if group.group] == [("g", 1)]
    to = pb.Start(offset=2)
    broker.SeekGroup(pb.SeekGroupRequest(topic="grouped", group="g", to=to))
    consumer.ask(1)
    assert [offset for offset, _ in consumer.take(1)] == [2]
    nowhere = pb.SeekGroupRequest(topic="grouped", group="g")
    assert refusal(broker.SeekGroup, nowhere)[0] == Code.INVALID_ARGUMENT
    none = pb.GroupRequest(topic="grouped", group="none")
    assert refusal(broker.RemoveGroup, none) == (Code.NOT_FOUND, "NOT_FOUND")
    broker.RemoveGroup(pb.GroupRequest(topic="grouped", group="g"))
    assert consumer.status()[0] == Code.ABORTED


def case_a_group_is_made_before_anybody_joins_it(broker, _):
    wish = pb.CreateGroupRequest(topic="early", group="g", dispatcher="partition", partitions=2)
    assert refusal(broker.CreateGroup, wish) == (Code.NOT_FOUND, "NOT_FOUND")
    broker.CreateTopic(pb.CreateTopicRequest(topic="early"))
    publish(broker, "early", ["0", "1"])
    late = pb.CreateGroupRequest(topic="early", group="late", start=pb.Start(offset=1))
    broker.CreateGroup(late)
    broker.CreateGroup(wish)
    assert refusal(broker.CreateGroup, wish) == (Code.ALREADY_EXISTS, "EXISTS")
    for wrong in (
        pb.CreateGroupRequest(topic="early"),
        pb.CreateGroupRequest(topic="early", group="h", partitions=2),
        pb.CreateGroupRequest(topic="early", group="h", dispatcher="partition", partitions=2**31),
        pb.CreateGroupRequest(topic="early", group="h", start=pb.Start(time_micros=1)),
    ):
        assert refusal(broker.CreateGroup, wrong)[0] == Code.INVALID_ARGUMENT, wrong
    groups = broker.ListGroups(pb.ListGroupsRequest(topic="early")).groups
    assert [(group.group, len(group.partitions)) for group in groups] == [("late", 0), ("g", 2)]
    assert not any(group.HasField("expire_after") for group in groups)
    assert Consumer(broker, "early", demand=2, group="late").take(1)[0][0] == 1


def case_what_an_answer_leaves_out_is_told(broker, _):
    broker.CreateTopic(
        pb.CreateTopicRequest(topic="sorted", dispatcher="partition", partitions=1_024)
    )
    members = [Consumer(broker, "sorted", group=f"g{number}") for number in range(9)]
    for member in members:
        member.hear()
    groups = broker.GetTopic(pb.GetTopicRequest(topic="sorted")).groups
    told = [(len(group.partitions), group.partitions_left_out) for group in groups]
    assert told == [(1_024, 0)] * 8 + [(0, 1_024)], told
    for member in members:
        member.end()


def case_the_server_tells_of_itself(broker, _):
    server = broker.GetServer(pb.GetServerRequest())
    assert server.name == "sluice" and server.version and server.connections >= 1


# Events

def case_who_asks_seven_gets_seven(broker, _):
    consumer = Consumer(broker, "seven", demand=7)
    assert consumer.hear().HasField("opened")
    assert publish(broker, "seven", [str(number) for number in range(20)]) == 20
    got = consumer.take(7)
    assert [(offset, event.payload) for offset, event in got] == [
        (number, str(number).encode()) for number in range(7)
    ]
    # STOP is answered behind all that came: nothing did that was not asked for.
    consumer.ask(then=In.THEN_STOP)
    word = consumer.hear()
    assert (word.drained.delivered, word.drained.forfeited) == (7, 0), word
    consumer.ask(5)
    assert [offset for offset, _ in consumer.take(5)] == list(range(7, 12))
    consumer.ask(100, then=In.THEN_DRAIN)
    assert [offset for offset, _ in consumer.take(8)] == list(range(12, 20))
    word = consumer.hear()
    assert (word.drained.delivered, word.drained.forfeited) == (20, 92), word
    consumer.end()
    assert consumer.status() == (Code.OK, "")


def case_a_call_whose_side_is_ended_ends_with_the_last_event_asked_for(broker, _):
    consumer = Consumer(broker, "ended", demand=3)
    consumer.end()
    assert consumer.hear().HasField("opened")
    publish(broker, "ended", ["a", "b", "c", "d"])
    assert [event.payload for _, event in consumer.take(3)] == [b"a", b"b", b"c"]
    assert consumer.rest() == [] and consumer.call.code() == Code.OK
    assert broker.GetTopic(pb.GetTopicRequest(topic="ended")).buffered_events == 1


def case_keys_and_headers_come_as_they_went(broker, _):
    sent = [
        event(b"\x00\xff" * 300, key=b"k\x00", one=b"1", two=b""), event(b"", key=b""), event(b""),
        event(b"x" * 100_000),
    ]
    producer = Producer(broker, "whole")
    producer.send(sent)
    assert producer.finish() == 4
    consumer = Consumer(broker, "whole", demand=4)
    assert [event for _, event in consumer.take(4)] == sent


def case_a_partition_changes_hands_when_its_owners_machine_has_all(broker, _):
    broker.CreateTopic(
        pb.CreateTopicRequest(topic="hands", dispatcher="partition", partitions=2)
    )
    keys = [str(number).encode() for number in range(16)]
    first = Consumer(broker, "hands", demand=100)
    assert first.hear().HasField("opened")
    publish(broker, "hands", keys, keys)
    first.take(16)
    # It asks for nothing more: only that its machine has the events can show that it has them.
    second = Consumer(broker, "hands", demand=100)
    assert second.hear().HasField("opened")
    publish(broker, "hands", keys, keys)
    began = time.monotonic()
    assert second.take(1)
    assert time.monotonic() - began < 10, "half of what is waited for who shows nothing"


def case_confirms_tell_offsets(broker, _):
    producer = Producer(broker, "told")
    producer.send([event("a"), event("b")])
    producer.send([event("c")])
    assert producer.finish() == 3
    places = [
        (confirm.first_sequence + index, confirm.offset + index)
        for confirm in producer.confirmed
        for index in range(confirm.count)
    ]
    assert places == [(1, 0), (2, 1), (3, 2)], places


def case_events_that_the_topic_refuses_are_told(broker, _):
    broker.CreateTopic(
        pb.CreateTopicRequest(topic="drops", capacity=2, ahead=2, on_full="drop-newest")
    )
    producer = Producer(broker, "drops")
    producer.send([event("x") for _ in range(5)])
    assert producer.finish() == 2
    refused = [confirm for confirm in producer.confirmed if confirm.code]
    assert sum(confirm.count for confirm in refused) == 3
    assert {confirm.code for confirm in refused} == {"DISCARDED"}


def case_credit_is_what_the_topic_grants(broker, _):
    broker.CreateTopic(pb.CreateTopicRequest(topic="dry", capacity=10, ahead=0))
    producer = Producer(broker, "dry")
    assert producer.hear().HasField("opened")
    consumer = Consumer(broker, "dry", demand=7)
    while producer.credit < 7:
        producer.listen()
    producer.send([event(str(number)) for number in range(7)])
    assert len(consumer.take(7)) == 7
    assert producer.credit == 0
    producer.say(Out(batch=Out.Batch(events=[event("beyond")])))
    code, text = producer.status()
    assert code == Code.FAILED_PRECONDITION and "credit" in text, (code, text)


def case_many_producers_with_little_credit_bring_everything(broker, _):
    broker.CreateTopic(pb.CreateTopicRequest(topic="narrow", capacity=8, ahead=8))
    consumer = Consumer(broker, "narrow", demand=600)
    producers = [Producer(broker, "narrow") for _ in range(3)]
    for number in range(200):
        for producer in producers:
            producer.send([event(str(number))])
    assert len(consumer.take(600)) == 600
    assert [producer.finish() for producer in producers] == [200] * 3


def case_words_out_of_place_are_refused(broker, _):
    cases = [
        (broker.Subscribe, [In(demand=In.Demand(events=1))], Code.INVALID_ARGUMENT),
        (broker.Subscribe, [In()], Code.INVALID_ARGUMENT),
        (broker.Subscribe, [In(open=In.Open(topic="$sys/topics"))], Code.INVALID_ARGUMENT),
        (broker.Subscribe, [In(open=In.Open(topic="w", demand=2**21))], Code.RESOURCE_EXHAUSTED),
        (broker.Subscribe, [In(open=In.Open(topic="w"))] * 2, Code.INVALID_ARGUMENT),
        (broker.Subscribe,
         [In(open=In.Open(topic="w")), In(demand=In.Demand())], Code.INVALID_ARGUMENT),
        (broker.Publish, [Out(batch=Out.Batch())], Code.INVALID_ARGUMENT),
        (broker.Publish, [Out(open=Out.Open(topic="w"))] * 2, Code.INVALID_ARGUMENT),
        (broker.Publish, [Out(open=Out.Open(topic=""))], Code.INVALID_ARGUMENT),
    ]
    for method, words, code in cases:
        found, text = Talk(method, *words).status()
        assert found == code and text, (words, found, text)


# Numbers

ODD = sorted({number + step for number in (0, 2**7, 2**16, 2**20, 2**31, 2**32, 2**63, 2**64)
              for step in (-1, 0, 1)})
# What no number may make of a call: the broker itself has failed then.
FAILURES = (Code.INTERNAL, Code.UNKNOWN, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


def numbers_of(descriptor, path=()):
    """The paths to every number of a message."""
    for field in descriptor.fields:
        if field.message_type:
            yield from numbers_of(field.message_type, (*path, field.name))
        elif field.cpp_type not in (field.CPPTYPE_STRING, field.CPPTYPE_BOOL):
            yield *path, field.name


def odd(message, path):
    """The message with each odd number there that its type can hold."""
    for number in ODD:
        changed = type(message)()
        changed.CopyFrom(message)
        place = changed
        for name in path[:-1]:
            place = getattr(place, name)
            place.SetInParent()
        try:
            setattr(place, path[-1], number)
        except ValueError:
            continue
        yield changed


def case_odd_numbers_end_nothing_of_requests(broker, _):
    broker.CreateTopic(pb.CreateTopicRequest(topic="odd"))
    publish(broker, "odd", ["a", "b", "c"])
    asked = 0
    for method in pb.DESCRIPTOR.services_by_name["Broker"].methods:
        if method.client_streaming:
            continue
        message = getattr(pb, method.input_type.name)
        for path in numbers_of(method.input_type):
            plain = message()
            for name in ("topic", "group"):
                if name in method.input_type.fields_by_name:
                    setattr(plain, name, "odd")
            for number, request in enumerate(odd(plain, path)):
                if method.name == "CreateTopic":
                    request.topic = f"odd-{path[-1]}-{number}"
                asked += 1
                try:
                    getattr(broker, method.name)(request, timeout=PATIENCE)
                except grpc.RpcError as error:
                    assert error.code() not in FAILURES, (method.name, request, error)
    assert asked > 150, asked


def case_odd_numbers_end_nothing_of_calls(broker, _):
    # With a past: events wait, grants are out, a consumer has asked for little.
    broker.CreateTopic(pb.CreateTopicRequest(topic="calls", capacity=1_000, ahead=5))
    publish(broker, "calls", ["a", "b", "c"])
    idle = Consumer(broker, "calls", group="idle")
    asked = 0
    for path in numbers_of(Out.DESCRIPTOR):
        for word in odd(Out(), path):
            producer = Producer(broker, "calls")
            producer.listen()
            if word.HasField("open"):
                word.open.topic = "calls"
                producer = Talk(broker.Publish, word)
            producer.say(word, Out(backlog=Out.Backlog(available=2**64 - 1)))
            producer.end()
            code, text = producer.status()
            assert code not in FAILURES, (word, code, text)
            asked += 1
    for path in numbers_of(In.DESCRIPTOR):
        for word in odd(In(), path):
            if word.HasField("open"):
                word.open.topic, word.open.group = "calls", f"g{asked}"
                words = [word, In(demand=In.Demand(events=2))]
            else:
                opened = In.Open(topic="calls", group=f"g{asked}", demand=2)
                words = [In(open=opened), word]
            consumer = Talk(broker.Subscribe, *words, In(demand=In.Demand(then=In.THEN_STOP)))
            consumer.end()
            code, text = consumer.status()
            assert code not in FAILURES, (word, code, text)
            asked += 1
    assert asked > 60, asked
    consumer = Consumer(broker, "calls", demand=3, group="last", timeout=PATIENCE)
    del idle
    publish(broker, "calls", ["x"])
    assert consumer.take(1)


# The rules of gRPC

def case_deadlines_end_calls(broker, _):
    for method, words in (
        (broker.Subscribe, [In(open=In.Open(topic="late", demand=1))]),
        (broker.Publish, [Out(open=Out.Open(topic="late"))]),
    ):
        assert Talk(method, *words, timeout=0.3).status()[0] == Code.DEADLINE_EXCEEDED
    until_none_is_left(broker, "late")
    health = health_pb2_grpc.HealthStub(broker.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=0.3)
    assert next(watch).status == Health.SERVING
    try:
        next(watch)
    except grpc.RpcError as error:
        assert error.code() == Code.DEADLINE_EXCEEDED


def until_none_is_left(broker, topic):
    """A call that is over leaves no link behind."""
    while True:
        found = broker.GetTopic(pb.GetTopicRequest(topic=topic), timeout=PATIENCE)
        if found.consumers == 0 and found.producers == 0:
            return


def case_a_call_that_is_cancelled_leaves_nothing_behind(broker, _):
    consumer = Consumer(broker, "left", demand=5)
    producer = Producer(broker, "left")
    assert consumer.hear().HasField("opened") and producer.hear().HasField("opened")
    found = broker.GetTopic(pb.GetTopicRequest(topic="left"))
    assert (found.consumers, found.producers) == (1, 1)
    consumer.call.cancel()
    producer.call.cancel()
    assert consumer.status()[0] == Code.CANCELLED
    until_none_is_left(broker, "left")
    publish(broker, "left", ["kept"])
    assert broker.GetTopic(pb.GetTopicRequest(topic="left")).buffered_events == 1


def case_metadata_of_the_client_is_let_pass(broker, _):
    metadata = (("x-anything", "at all"), ("x-bytes-bin", b"\x00\xff"))
    call = Consumer(broker, "meta", demand=1, metadata=metadata)
    publish(broker, "meta", ["x"])
    assert len(call.take(1)) == 1
    _, other = broker.GetServer.with_call(pb.GetServerRequest(), metadata=metadata)
    assert other.code() == Code.OK


def case_methods_that_are_none_are_unimplemented(broker, _):
    for path in ("/sluice.v1.Broker/Nothing", "/sluice.v1.Nobody/ListTopics", "/x"):
        method = broker.channel.unary_unary(path)
        try:
            method(b"", timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() == Code.UNIMPLEMENTED, (path, error)
        else:
            raise AssertionError(path)


def case_messages_that_are_none_are_refused(broker, _):
    method = broker.channel.unary_unary("/sluice.v1.Broker/GetTopic")
    try:
        method(b"\xff\xff", timeout=PATIENCE)
    except grpc.RpcError as error:
        assert error.code() == Code.INVALID_ARGUMENT, error


def case_compressed_messages_are_refused(broker, _):
    wish = pb.GetTopicRequest(topic="z" * 200)
    found = refusal(broker.GetTopic, wish, compression=grpc.Compression.Gzip)
    assert found[0] == Code.UNIMPLEMENTED, found


def case_large_messages_go_as_far_as_the_limit(broker, _):
    broker.CreateTopic(pb.CreateTopicRequest(topic="large"))
    producer = Producer(broker, "large")
    # 3 MB in one message: more than there is credit for in bytes, so that it goes on by and by.
    producer.send([event(bytes([number]) * 1_000_000) for number in range(3)])
    consumer = Consumer(broker, "large", demand=3)
    got = [event.payload for _, event in consumer.take(3)]
    assert got == [bytes([number]) * 1_000_000 for number in range(3)]
    assert producer.finish() == 3
    producer = Producer(broker, "large")
    producer.send([event(b"x" * 5_000_000)])
    code, text = producer.status()
    assert code == Code.RESOURCE_EXHAUSTED and "4194304" in text, (code, text)
    producer = Producer(broker, "large")
    producer.send([event(b"x" * 2_000_000)])
    assert producer.status()[0] == Code.RESOURCE_EXHAUSTED, "an event above its limit"


def case_who_does_not_read_holds_little(broker, address):
    """A million are asked for and none is read: the rest stays with the topic, for the others."""
    # A channel of its own, whose window nobody else opens.
    options = [("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        stalled = Consumer(rpc.BrokerStub(channel), "stalled", demand=1_000_000)
        assert stalled.hear().HasField("opened")
        publish(broker, "stalled", [b"x" * 10_000] * 3_000)
        held = broker.GetTopic(pb.GetTopicRequest(topic="stalled"))
        # What is not there any more is in two windows, and in what grpcio reads ahead.
        assert held.buffered_events > 2_500, held
        other = Consumer(broker, "stalled", demand=10)
        assert len(other.take(10)) == 10
        stalled.call.cancel()


# Health and reflection

def case_health_is_told_as_probes_ask(broker, _):
    health = health_pb2_grpc.HealthStub(broker.channel)
    for service in ("", "sluice.v1.Broker", "grpc.health.v1.Health"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert health.Check(request, timeout=PATIENCE).status == Health.SERVING
    nobody = health_pb2.HealthCheckRequest(service="nobody")
    assert refusal(health.Check, nobody)[0] == Code.NOT_FOUND
    assert next(health.Watch(nobody, timeout=PATIENCE)).status == Health.SERVICE_UNKNOWN


def case_reflection_shows_every_service(broker, _):
    base = ProtoReflectionDescriptorDatabase(broker.channel)
    services = base.get_services()
    assert set(services) >= {
        "sluice.v1.Broker", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }, services
    pool = DescriptorPool(base)
    found = pool.FindServiceByName("sluice.v1.Broker")
    own = pb.DESCRIPTOR.services_by_name["Broker"]
    assert [method.name for method in found.methods] == [method.name for method in own.methods]
    assert pool.FindMessageTypeByName("sluice.v1.SubscribeRequest.Open").fields_by_name["demand"]
    assert pool.FindFileByName("grpc/health/v1/health.proto").services_by_name["Health"]
    for service in services:
        assert pool.FindServiceByName(service).methods


def case_reflection_answers_in_both_versions(broker, _):
    for version in ("v1", "v1alpha"):
        method = broker.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        ask = reflection_pb2.ServerReflectionRequest
        answers = list(
            method(iter([ask(host="h", list_services=""), ask(file_containing_symbol="no.Such")]))
        )
        assert answers[0].valid_host == "h" and answers[0].list_services_response.service
        assert answers[1].error_response.error_code == Code.NOT_FOUND.value[0]
        assert answers[1].original_request.file_containing_symbol == "no.Such"


def last_case_a_stop_is_told_to_all(broker, pid):
    health = health_pb2_grpc.HealthStub(broker.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert next(watch).status == Health.SERVING
    consumer = Consumer(broker, "stop", demand=1)
    producer = Producer(broker, "stop")
    assert consumer.hear().HasField("opened") and producer.hear().HasField("opened")
    busy = [Confirmed(broker, "busy") for _ in range(4)]
    reader = Taken(broker, "busy")
    for peer in (*busy, reader):
        peer.start()
    while reader.count < 2_000 or not all(peer.producer.confirmed for peer in busy):
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    assert next(watch).status == Health.NOT_SERVING
    assert consumer.status()[0] == Code.UNAVAILABLE
    assert producer.status()[0] == Code.UNAVAILABLE
    for peer in (*busy, reader):
        peer.join(PATIENCE)
    confirmed = {
        offset
        for peer in busy
        for confirm in peer.producer.confirmed
        for offset in range(confirm.offset, confirm.offset + confirm.count)
    }
    taken = set(reader.offsets)
    assert len(taken) == len(reader.offsets) and taken <= confirmed, len(taken - confirmed)


class Confirmed(threading.Thread):
    """Publishes on a connection of its own for as long as the broker lets it."""

    def __init__(self, broker, topic: str):
        super().__init__(daemon=True)
        self.channel = grpc.insecure_channel(broker.address)
        self.producer = Producer(rpc.BrokerStub(self.channel), topic)

    def run(self) -> None:
        try:
            while True:
                self.producer.send([event("x")] * EVENTS_PER_MESSAGE)
        except grpc.RpcError as error:
            assert error.code() == Code.UNAVAILABLE, error
        self.channel.close()


class Taken(threading.Thread):
    """Takes all that comes, on a connection of its own."""

    def __init__(self, broker, topic: str):
        super().__init__(daemon=True)
        self.channel = grpc.insecure_channel(broker.address)
        self.consumer = Consumer(rpc.BrokerStub(self.channel), topic, demand=1_000_000)
        self.offsets: list[int] = []

    @property
    def count(self) -> int:
        return len(self.offsets)

    def run(self) -> None:
        try:
            for word in self.consumer.call:
                self.offsets += [offset for offset, _ in events_of(word)]
        except grpc.RpcError as error:
            assert error.code() == Code.UNAVAILABLE, error
        self.channel.close()


def main() -> int:
    address = sys.argv[1]
    wanted = sys.argv[3:]
    misses = 0
    with grpc.insecure_channel(address) as channel:
        broker = rpc.BrokerStub(channel)
        broker.channel, broker.address = channel, address
        cases = [(name, case, address) for name, case in globals().items()
                 if name.startswith("case_")]
        if len(sys.argv) > 2:
            stop = last_case_a_stop_is_told_to_all
            cases.append((stop.__name__, stop, int(sys.argv[2])))
        for name, case, argument in cases:
            if wanted and not any(word in name for word in wanted):
                continue
            words = name.partition("case_")[2].replace("_", " ")
            try:
                case(broker, argument)
                print(f"ok {words}", flush=True)
            except Exception:  # Whatever it is, the other cases are asked too.
                misses += 1
                print(f"MISS {words}\n{traceback.format_exc()}", flush=True)
    return min(misses, 1)


if __name__ == "__main__":
    # Whoever hangs says where, before the test that waits gives up.
    faulthandler.dump_traceback_later(80, exit=True)
    outcome = main()
    # Of 500 runs one hung in the interpreter's own end, with all said: grpcio's threads run on.
    sys.stdout.flush()
    os._exit(outcome)
