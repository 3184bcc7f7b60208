#include "producer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "consumer.h"
#include "latency.h"
#include "options.h"
#include "process.h"
#include "topics.h"
#include "wire.h"

enum { INPUT_BYTES = 1 << 18, WRITE_BYTES = 1 << 18, FRAME_BYTES = 1 << 16 };

typedef struct {
    uint32_t id;
    uint64_t events, bytes;   // credit
    uint64_t sent, asked, askedBytes, forfeited, forfeitedBytes, stoppedTo;
    bool queued, silent;   // silent: open, and never used
} Source;

typedef struct {
    Connection connection;
    Source *sources;   // by link id, from 1
    uint32_t count, capacity;
    // Links with credit for a frame, first come first served; each is in it once.
    uint32_t *ready, readyFrom, readyCount;
    // Frames with their records in place: only the heads are written anew.
    uint8_t *out;
    size_t outFrom, outTo;
} Producer;

atomic_long published;
static Producer *producers;
static int producerCount;
static uint32_t record, most, least;   // bytes of a record; events that a frame may and must have
static size_t frames;                  // frames of one write

static void tell(Producer *p, const Source *s, int flags, bool needsBytes) {
    uint8_t frame[HEAD_BYTES + 85], *b = putHead(frame, 85, STATUS, flags, s->id);
    b = put(b, s->asked, 8);
    b = put(b, s->sent, 8);
    b = put(b, s->forfeited, 8);
    b = put(b, s->askedBytes, 8);
    b = put(b, s->sent * record, 8);
    b = put(b, s->forfeitedBytes, 8);
    b = put(b, s->stoppedTo, 8);
    b = put(b, 0, 8);                               // drained_to
    b = put(b, ENDLESS, 8);                         // available
    b = put(b, 0, 8);                               // unsettled, oldest_ms
    b = put(b, needsBytes ? 3 : 0, 1);              // blocked_by
    put(b, needsBytes ? least * record : 0, 4);     // need_bytes
    queue(&p->connection, frame, sizeof frame);
}

static bool canSend(const Source *s) {
    return s->events >= least && s->bytes >= (uint64_t)least * record;
}

static void enqueue(Producer *p, Source *s) {
    if (s->queued || s->silent || !canSend(s)) return;
    s->queued = true;
    p->ready[(p->readyFrom + p->readyCount++) % p->capacity] = s->id;
}

static void grant(Producer *p, const Frame *frame) {
    Source *s = &p->sources[frame->link];
    s->events += get(frame->body, 4);
    s->asked = get(frame->body + 4, 8);
    s->bytes += get(frame->body + 12, 4);
    s->askedBytes = get(frame->body + 16, 8);
    if (frame->flags & 2) {   // STOP: give back what is unspent, and say so
        s->stoppedTo = s->asked;
        s->forfeited += s->events;
        s->forfeitedBytes += s->bytes;
        s->events = s->bytes = 0;
        tell(p, s, 1, false);
    } else if (s->events >= least && !canSend(s)) {
        tell(p, s, 0, true);
    }
    enqueue(p, s);
}

static void takeGrants(Producer *p) {
    Frame frame;
    while (nextFrame(&p->connection, &frame)) {
        if (frame.type == DEMAND) grant(p, &frame);
    }
}

// Fills the write with frames of the links that are ready, each in its turn.
static void build(Producer *p) {
    long count = 0;
    p->outFrom = p->outTo = 0;
    for (size_t f = 0; f < frames && p->readyCount; f++) {
        Source *s = &p->sources[p->ready[p->readyFrom]];
        p->readyFrom = (p->readyFrom + 1) % p->capacity;
        p->readyCount--;
        s->queued = false;

        uint64_t n = s->events < most ? s->events : most;
        if (n > s->bytes / record) n = s->bytes / record;
        uint32_t bytes = (uint32_t)n * record;
        putEventsHead(p->out + p->outTo, s->id, s->sent + 1, (uint32_t)n, bytes);
        p->outTo += EVENTS_BYTES + bytes;
        s->sent += n;
        s->events -= n;
        s->bytes -= bytes;
        count += (long)n;
        if (canSend(s)) {
            enqueue(p, s);
        } else if (s->events >= least) {
            tell(p, s, 0, true);
        }
        // Behind a short frame the records of the next are not in their place.
        if (n < most) break;
    }
    atomic_fetch_add_explicit(&published, count, memory_order_relaxed);
}

// Writes what the socket takes. Never waits: who does not read meanwhile may wait for ever.
static bool writeSome(Producer *p) {
    if (p->outFrom == p->outTo) {
        flush(&p->connection);
        build(p);
    }
    if (p->outFrom == p->outTo) return false;
    ssize_t sent = send(p->connection.fd, p->out + p->outFrom, p->outTo - p->outFrom,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) fail("send");
    if (sent > 0) p->outFrom += (size_t)sent;
    return sent > 0;
}

void *produce(void *unused) {
    struct pollfd *polls = calloc((size_t)producerCount, sizeof *polls);
    for (;;) {
        bool any = false;
        for (int i = 0; i < producerCount; i++) {
            Producer *p = &producers[i];
            bool wrote = writeSome(p), read = receiveNow(&p->connection);
            if (read) takeGrants(p);
            any |= wrote || read;
            int waiting = p->outFrom < p->outTo || p->connection.outCount ? POLLOUT : 0;
            polls[i] = (struct pollfd){p->connection.fd, (short)(POLLIN | waiting), 0};
        }
        if (!any) poll(polls, (nfds_t)producerCount, -1);
        for (int i = 0; i < producerCount; i++) {
            if (polls[i].revents & (POLLHUP | POLLERR)) fail("a producer lost its connection");
        }
    }
    return unused;
}

// Sends one event, once there is credit for it. What comes back is read now and then.
static void sendOne(Producer *p, Source *s) {
    if (s->sent % 16 == 0 && receiveNow(&p->connection)) takeGrants(p);
    while (!canSend(s)) {
        flush(&p->connection);
        if (!receive(&p->connection)) fail("the producer lost its connection");
        takeGrants(p);
    }
    flush(&p->connection);
    putEventsHead(p->out, s->id, s->sent + 1, 1, record);
    s->sent++;
    s->events--;
    s->bytes -= record;
    if (options.size >= 8) {
        uint64_t now = nanoseconds();
        memcpy(p->out + EVENTS_BYTES + RECORD_BYTES, &now, sizeof now);
    }
    sendAll(&p->connection, p->out, EVENTS_BYTES + record);
    atomic_fetch_add_explicit(&published, 1, memory_order_relaxed);
}

void *producePaced(void *unused) {
    prctl(PR_SET_TIMERSLACK, 1);
    Producer *p = &producers[0];
    Source *s = &p->sources[p->count];
    uint64_t start = nanoseconds();
    for (uint64_t i = 0;; i++) {
        uint64_t next = start + (uint64_t)((double)i * 1e9 / options.rate);
        struct timespec at = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        sendOne(p, s);
    }
    return unused;
}

void *produceJobs(void *unused) {
    Producer *p = &producers[0];
    for (long i = 0; i < options.jobs; i++) sendOne(p, &p->sources[p->count]);
    return unused;
}

void playPingPong(void) {
    Producer *p = &producers[0];
    Source *s = &p->sources[p->count];
    Consumer *c = firstConsumer();
    for (long i = 0; i < options.rounds; i++) {
        uint64_t start = nanoseconds();
        sendOne(p, s);
        do {
            if (!receive(&c->connection)) fail("the consumer lost its connection");
        } while (take(c) == 0);
        noteLatency(nanoseconds() - start);
    }
}

static void openSource(Producer *p, const char *topic, bool silent) {
    uint32_t id = ++p->count;
    p->sources[id] = (Source){.id = id, .silent = silent};
    sendOpen(&p->connection, id, SOURCE, topic, 0, BLOCK);
    Frame frame = {0};
    while (frame.type != OPENED) {
        while (!nextFrame(&p->connection, &frame)) {
            if (!receive(&p->connection)) fail("the producer lost its connection");
        }
        if (frame.type == DEMAND) grant(p, &frame);
    }
}

static void prepare(Producer *p) {
    p->capacity = (uint32_t)(options.topics / producerCount + 2);
    p->sources = calloc(p->capacity + 1, sizeof *p->sources);
    p->ready = calloc(p->capacity, sizeof *p->ready);
    size_t frameBytes = EVENTS_BYTES + (size_t)most * record;
    p->out = malloc(frames * frameBytes);
    if (!p->out) fail("malloc");
    for (size_t f = 0; f < frames; f++) {
        uint8_t *at = p->out + f * frameBytes + EVENTS_BYTES;
        for (uint32_t i = 0; i < most; i++, at += record) {
            put(at, (uint64_t)options.size, RECORD_BYTES);
            memset(at + RECORD_BYTES, 'x', (size_t)options.size);
        }
    }
}

void openProducers(void) {
    bool single = options.rate > 0 || options.rounds || options.jobs;
    record = RECORD_BYTES + (uint32_t)options.size;
    most = single ? 1 : options.perFrame ? (uint32_t)options.perFrame : FRAME_BYTES / record;
    if (most < 1) most = 1;
    least = options.perFrame && !single ? most : 1;
    frames = WRITE_BYTES / (EVENTS_BYTES + (size_t)most * record);
    if (frames < 1) frames = 1;

    char name[TOPIC_BYTES];
    producerCount = options.sources ? options.sources : options.topics;
    producers = calloc((size_t)producerCount, sizeof *producers);
    for (int i = 0; i < producerCount; i++) {
        producers[i].connection = greet(options.port, INPUT_BYTES);
        prepare(&producers[i]);
        if (options.sourceHome) openSource(&producers[i], options.sourceHome, true);
    }
    for (int i = 0; i < options.topics; i++) {
        openSource(&producers[i % producerCount], topicName(name, i), false);
    }
    // Grants that came right behind the last OPENED.
    for (int i = 0; i < producerCount; i++) takeGrants(&producers[i]);
}
