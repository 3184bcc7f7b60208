#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "options.h"
#include "process.h"

uint8_t *put(uint8_t *p, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

uint64_t get(const uint8_t *p, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | p[i];
    return value;
}

uint8_t *putHead(uint8_t *p, size_t length, int type, int flags, uint32_t link) {
    p = put(p, length, 3);
    p = put(p, (uint64_t)type, 1);
    p = put(p, (uint64_t)flags, 1);
    return put(p, link, 4);
}

void sendAll(const Connection *c, const uint8_t *p, size_t count) {
    while (count) {
        ssize_t sent = send(c->fd, p, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) fail("send");
        p += sent;
        count -= (size_t)sent;
    }
}

static bool receiveWith(Connection *c, int flags) {
    if (c->from == c->to) {
        c->from = c->to = 0;
    } else if (c->from && (c->to - c->from < 4096 || c->capacity - c->to < c->capacity / 2)) {
        // What little is left moves to the front, where the cache has the buffer already.
        memmove(c->in, c->in + c->from, c->to - c->from);
        c->to -= c->from;
        c->from = 0;
    }
    ssize_t count = recv(c->fd, c->in + c->to, c->capacity - c->to, flags);
    if (count <= 0) return false;
    c->to += (size_t)count;
    return true;
}

bool receive(Connection *c) { return receiveWith(c, 0); }
bool receiveNow(Connection *c) { return receiveWith(c, MSG_DONTWAIT); }

void queue(Connection *c, const uint8_t *p, size_t count) {
    if (c->outCount + count > c->outCapacity) {
        c->outCapacity = 2 * (c->outCount + count);
        c->out = realloc(c->out, c->outCapacity);
        if (!c->out) fail("realloc");
    }
    memcpy(c->out + c->outCount, p, count);
    c->outCount += count;
}

void flush(Connection *c) {
    if (!c->outCount) return;
    sendAll(c, c->out, c->outCount);
    c->outCount = 0;
}

static void handleCommon(Connection *c, const Frame *frame) {
    if (frame->type == PING && !frame->flags) {
        uint8_t pong[HEAD_BYTES + 8];
        memcpy(putHead(pong, 8, PING, 1, 0), frame->body, 8);
        queue(c, pong, sizeof pong);
    } else if (frame->type == CLOSE) {
        int code = (int)get(frame->body, 2);
        fprintf(stderr, "closed with %d: %.*s\n", code, (int)frame->length - 8, frame->body + 8);
        exit(2);
    }
}

bool nextFrame(Connection *c, Frame *frame) {
    if (c->to - c->from < HEAD_BYTES) return false;
    const uint8_t *p = c->in + c->from;
    size_t length = get(p, 3);
    if (c->to - c->from < HEAD_BYTES + length) return false;
    *frame = (Frame){p[3], p[4], (uint32_t)get(p + 5, 4), length, p + HEAD_BYTES};
    c->from += HEAD_BYTES + length;
    handleCommon(c, frame);
    return true;
}

void await(Connection *c, int type) {
    Frame frame;
    do {
        while (!nextFrame(c, &frame)) {
            if (!receive(c)) fail("lost the connection");
        }
    } while (frame.type != type);
}

Connection greet(int port, size_t capacity) {
    Connection c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .capacity = capacity};
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c.fd < 0) fail("socket");
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c.fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    c.in = malloc(capacity);
    if (!c.in) fail("malloc");

    uint8_t frame[64], *p = frame + HEAD_BYTES;
    p = put(p, 0x534C4345, 4);   // magic
    p = put(p, 0x0101, 2);       // versions 1 to 1
    p = put(p, 3600, 2);         // keepalive
    p = put(p, 0, 4);            // capabilities
    p = put(p, 1048576, 4);      // max_frame
    p = put(p, 0, 1);            // no session
    p = put(p, 0, 3);            // no credential
    p = put(p, 5, 1);
    memcpy(p, "bench", 5);
    p += 5;
    putHead(frame, (size_t)(p - frame) - HEAD_BYTES, HELLO, 0, 0);
    sendAll(&c, frame, (size_t)(p - frame));

    await(&c, WELCOME);
    return c;
}

void sendOpen(
    const Connection *c, uint32_t link, int role, const char *topic, uint32_t demand, int lag) {
    uint8_t frame[HEAD_BYTES + 300], *p = frame + HEAD_BYTES;
    size_t length = strlen(topic);
    p = put(p, (uint64_t)role, 1);
    p = put(p, length, 1);
    memcpy(p, topic, length);
    p += length;
    if (role == SOURCE) {
        p = put(p, 6, 1);         // available
        p = put(p, 8, 2);
        p = put(p, ENDLESS, 8);
    } else {
        if (options.broadcasts || options.independent) {
            p = put(p, 2, 1);     // dispatcher
            p = put(p, 1, 2);
            p = put(p, options.broadcasts ? BROADCAST : INDEPENDENT, 1);
        }
        if (options.independent) {
            p = put(p, 10, 1);    // lag
            p = put(p, 5, 2);
            p = put(p, (uint64_t)lag, 1);
            p = put(p, lag == BLOCK ? 0 : LAG_EVENTS, 4);
        }
        if (demand) {
            p = put(p, 4, 1);     // demand
            p = put(p, 8, 2);
            p = put(p, demand, 4);
            p = put(p, 0, 4);
        }
    }
    putHead(frame, (size_t)(p - frame) - HEAD_BYTES, OPEN, 0, link);
    sendAll(c, frame, (size_t)(p - frame));
}

uint8_t *putDemand(uint8_t *p, uint32_t link, uint32_t n, uint64_t total, uint64_t received) {
    p = putHead(p, 32, DEMAND, 0, link);
    p = put(p, n, 4);
    p = put(p, total, 8);
    p = put(p, 0, 4);   // bytes are not counted
    p = put(p, 0, 8);
    return put(p, received, 8);
}

uint8_t *putEventsHead(
    uint8_t *p, uint32_t link, uint64_t sequence, uint32_t count, uint32_t bytes) {
    p = putHead(p, SEQUENCE_BYTES + RUN_BYTES + bytes, EVENTS, 0, link);
    p = put(p, sequence, 8);
    p = put(p, count, 4);
    p = put(p, bytes, 4);
    p = put(p, 0, 8);   // the broker gives offset, time and attempt
    p = put(p, 0, 8);
    return put(p, 0, 4);
}
