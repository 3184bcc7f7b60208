// Protocol/protocol.md as far as a load generator needs it: frames, and connections to read them.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HELLO = 1, WELCOME, PING, OPEN, OPENED, DEMAND, EVENTS, SETTLE, STATUS, CLOSE };
enum { SINK = 0, SOURCE = 1 };
enum { BROADCAST = 1, INDEPENDENT = 4 };                     // dispatchers
enum { BLOCK, DROP_OLDEST, DROP_NEWEST, DETACH };            // lag policies
enum { LAG_EVENTS = 10000 };                                 // with all of these but the first
enum { HEAD_BYTES = 9, SEQUENCE_BYTES = 8, RUN_BYTES = 28, RECORD_BYTES = 4 };
// Head of an EVENTS frame up to the first record of its only run.
enum { EVENTS_BYTES = HEAD_BYTES + SEQUENCE_BYTES + RUN_BYTES };

// A backlog that is known and does not end; 2^64 - 1 would say that it is unknown.
#define ENDLESS (UINT64_MAX - 1)

typedef struct {
    int fd;
    uint8_t *in;
    size_t from, to, capacity;   // in[from..<to] is read and not yet handled
    // Frames that wait for flush(): an answer must not fall into the middle of another frame.
    uint8_t *out;
    size_t outCount, outCapacity;
} Connection;

typedef struct {
    int type, flags;
    uint32_t link;
    size_t length;
    const uint8_t *body;
} Frame;

uint8_t *put(uint8_t *p, uint64_t value, int bytes);
uint64_t get(const uint8_t *p, int bytes);
uint8_t *putHead(uint8_t *p, size_t length, int type, int flags, uint32_t link);

// A connection that is greeted: WELCOME is read.
Connection greet(int port, size_t capacity);
void sendAll(const Connection *c, const uint8_t *p, size_t count);
// Reads what is there; waits if there is nothing. False at the end of the stream.
bool receive(Connection *c);
bool receiveNow(Connection *c);
// The next whole frame. The answer to a PING is queued here, and CLOSE ends the program.
bool nextFrame(Connection *c, Frame *frame);
// Reads on until a frame of this type came; what comes before it is skipped.
void await(Connection *c, int type);
void queue(Connection *c, const uint8_t *p, size_t count);
void flush(Connection *c);

// Sends OPEN; for a sink with a first demand, unless it is 0, and with -L its lag policy.
void sendOpen(
    const Connection *c, uint32_t link, int role, const char *topic, uint32_t demand, int lag);
uint8_t *putDemand(uint8_t *p, uint32_t link, uint32_t n, uint64_t total, uint64_t received);
uint8_t *putEventsHead(
    uint8_t *p, uint32_t link, uint64_t sequence, uint32_t count, uint32_t bytes);
