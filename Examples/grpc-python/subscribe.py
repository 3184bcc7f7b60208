#!/usr/bin/env python3
"""Prints so many events of a topic and no more.

usage: subscribe.py HOST:PORT TOPIC COUNT
"""
import sys

import grpc

import sluice_pb2
import sluice_pb2_grpc


def main():
    address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with grpc.insecure_channel(address) as channel:
        broker = sluice_pb2_grpc.BrokerStub(channel)
        wish = sluice_pb2.SubscribeRequest.Open(topic=topic, demand=count)
        # Nothing more is asked for: the call ends with the last event.
        for word in broker.Subscribe(iter([sluice_pb2.SubscribeRequest(open=wish)])):
            for run in word.batch.runs:
                for place, event in enumerate(run.events):
                    print(run.offset + place, event.payload.decode(), flush=True)


if __name__ == "__main__":
    main()
