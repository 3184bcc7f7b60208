#!/usr/bin/env python3
"""Publishes each line of its input, as fast as the topic asks for them.

usage: publish.py HOST:PORT TOPIC
"""
import queue
import sys

import grpc

import sluice_pb2
import sluice_pb2_grpc

EVENTS_PER_MESSAGE = 100


def main():
    address, topic = sys.argv[1], sys.argv[2]
    lines = [line.rstrip("\n").encode() for line in sys.stdin]
    Request = sluice_pb2.PublishRequest
    words = queue.SimpleQueue()
    words.put(Request(open=Request.Open(topic=topic, available=len(lines))))
    with grpc.insecure_channel(address) as channel:
        broker = sluice_pb2_grpc.BrokerStub(channel)
        call = broker.Publish(iter(words.get, None))
        taken = 0
        if not lines:
            words.put(None)
        for word in call:
            credit = word.credit.events
            while credit and lines:
                count = min(credit, EVENTS_PER_MESSAGE)
                events = [sluice_pb2.Event(payload=line) for line in lines[:count]]
                words.put(Request(batch=Request.Batch(events=events)))
                credit -= len(events)
                lines = lines[count:]
                if not lines:
                    words.put(None)
            if not word.confirm.code:
                taken += word.confirm.count
    print(taken, "events taken")


if __name__ == "__main__":
    main()
