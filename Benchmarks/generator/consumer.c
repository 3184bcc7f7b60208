#include "consumer.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "latency.h"
#include "options.h"
#include "process.h"
#include "topics.h"

enum { STEPPING_BYTES = 1 << 18, DECODING_BYTES = 3 << 20, DEMAND_BYTES = HEAD_BYTES + 32 };

atomic_long delivered, deliveredFrames;
static Consumer *consumers;
static int consumerCount;
// Keeps the compiler from leaving out what decoding reads.
static volatile uint64_t looked;

static void ask(Consumer *c, Sink *s) {
    uint64_t owed = s->asked - s->received;
    if (owed > options.window / 2) return;
    uint8_t demand[DEMAND_BYTES];
    uint32_t n = (uint32_t)(options.window - owed);
    s->asked += n;
    putDemand(demand, s->id, n, s->asked, s->received);
    queue(&c->connection, demand, sizeof demand);
}

static long book(Consumer *c, uint32_t link, long count) {
    Sink *s = &c->sinks[link];
    s->received += (uint64_t)count;
    ask(c, s);
    return count;
}

// Steps over runs by their heads and never over records: the lightest sink that keeps the books.
static long step(Consumer *c) {
    Connection *in = &c->connection;
    long count = 0;
    for (;;) {
        size_t there = in->to - in->from;
        const uint8_t *p = in->in + in->from;
        if (c->runLeft) {
            size_t n = there < c->runLeft ? there : c->runLeft;
            if (!n) return count;
            in->from += n;
            c->runLeft -= n;
        } else if (c->frameLeft) {
            if (there < RUN_BYTES) return count;
            c->runLeft = get(p + 4, 4);
            c->frameLeft -= RUN_BYTES + c->runLeft;
            in->from += RUN_BYTES;
            count += book(c, c->frameLink, (long)get(p, 4));
        } else {
            if (there < HEAD_BYTES + SEQUENCE_BYTES) return count;
            Frame frame;
            if (p[3] == EVENTS && !(p[4] & 1)) {
                c->frameLeft = get(p, 3) - SEQUENCE_BYTES;
                c->frameLink = (uint32_t)get(p + 5, 4);
                in->from += HEAD_BYTES + SEQUENCE_BYTES;
                c->frames++;
            } else if (!nextFrame(in, &frame)) {
                return count;
            }
        }
    }
}

// Looks at the head of each record and the first bytes of its payload, as a client does.
static long decode(Consumer *c) {
    long all = 0;
    uint64_t seen = 0, now = options.rate > 0 ? nanoseconds() : 0;
    Frame frame;
    while (nextFrame(&c->connection, &frame)) {
        if (frame.type != EVENTS || frame.flags & 1) continue;
        c->frames++;
        const uint8_t *p = frame.body + SEQUENCE_BYTES, *end = frame.body + frame.length;
        while (p < end) {
            uint32_t count = (uint32_t)get(p, 4);
            p += RUN_BYTES;
            for (uint32_t i = 0; i < count; i++) {
                uint32_t head;
                memcpy(&head, p, sizeof head);
                size_t length = be32toh(head) & 0xFFFFFF;
                p += RECORD_BYTES;
                uint64_t first = 0;
                memcpy(&first, p, length < sizeof first ? length : sizeof first);
                seen ^= first;
                if (now) noteLatency(now - first);
                p += length;
            }
            all += book(c, frame.link, count);
        }
    }
    looked ^= seen;
    return all;
}

long take(Consumer *c) {
    long count = options.decodes || options.rate > 0 ? decode(c) : step(c);
    flush(&c->connection);
    return count;
}

static void openSink(Consumer *c, const char *topic, uint32_t demand, int lag) {
    if (c->count == 0 && options.sinkHome) {
        sendOpen(&c->connection, (uint32_t)++c->count, SINK, options.sinkHome, 0, BLOCK);
        await(&c->connection, OPENED);
    }
    uint32_t id = (uint32_t)++c->count;
    c->sinks = realloc(c->sinks, (id + 1) * sizeof *c->sinks);
    c->sinks[id] = (Sink){.id = id, .asked = demand};
    sendOpen(&c->connection, id, SINK, topic, demand, lag);
    await(&c->connection, OPENED);
}

static Consumer make(void) {
    bool whole = options.decodes || options.rate > 0;
    return (Consumer){
        .connection = greet(options.port, whole ? DECODING_BYTES : STEPPING_BYTES),
    };
}

void openConsumers(void) {
    char name[TOPIC_BYTES];
    // Those that stall are on connections of their own, which nobody reads from here on.
    for (int i = 0; i < options.stalled; i++) {
        Consumer c = make();
        openSink(&c, topicName(name, 0), options.stalledWindow, options.stalledLag);
    }
    int reading = options.consumers - options.stalled;
    int links = options.topics * reading;
    consumerCount = options.sinks ? options.sinks : links;
    consumers = calloc((size_t)consumerCount, sizeof *consumers);
    for (int i = 0; i < consumerCount; i++) consumers[i] = make();
    for (int i = 0; i < links; i++) {
        Consumer *c = &consumers[i % consumerCount];
        openSink(c, topicName(name, i / reading), options.window, BLOCK);
    }
}

Consumer *firstConsumer(void) { return &consumers[0]; }

void *consume(void *unused) {
    int poll = epoll_create1(0);
    for (int i = 0; i < consumerCount; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = &consumers[i]}};
        epoll_ctl(poll, EPOLL_CTL_ADD, consumers[i].connection.fd, &event);
    }
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            Consumer *c = events[i].data.ptr;
            if (!receive(&c->connection)) fail("a consumer lost its connection");
            long n = take(c);
            atomic_fetch_add_explicit(&delivered, n, memory_order_relaxed);
            atomic_fetch_add_explicit(&deliveredFrames, c->frames, memory_order_relaxed);
            c->frames = 0;
        }
    }
    return unused;
}
