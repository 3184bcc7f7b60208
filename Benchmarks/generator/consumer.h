// All consumers, on one thread.
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "wire.h"

typedef struct {
    uint32_t id;
    uint64_t asked, received;
} Sink;

typedef struct {
    Connection connection;
    Sink *sinks;   // by link id, from 1
    int count;
    long frames;   // since they were last added up
    // What is left of the frame that is being stepped over: bytes of its run, runs, and its link.
    size_t runLeft, frameLeft;
    uint32_t frameLink;
} Consumer;

// Events, and the frames that they came in.
extern atomic_long delivered, deliveredFrames;

void openConsumers(void);
void *consume(void *unused);
// The first consumer, for ping-pong.
Consumer *firstConsumer(void);
// Handles what is read; the number of events in it.
long take(Consumer *c);
