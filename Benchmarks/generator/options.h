// What was asked for on the command line; the letters stand in main.c.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum { IDLE_BARE, IDLE_LINKED } IdleKind;

typedef struct {
    int port, broker;                  // the broker's port and process
    int size;                          // bytes of a payload
    int topics, consumers;             // consumers of each topic
    int stalled;                       // of the first topic's consumers: those that never read
    uint32_t window, stalledWindow;    // events that a consumer keeps asked for, or asks for once
    int sources, sinks;                // connections of producers and of consumers; 0: one a link
    int perFrame;                      // events a frame; 0: as many as go into 64 KiB
    double seconds, warmUp;
    double rate;                       // single events a second; 0: as fast as it goes
    long rounds;                       // ping-pong; 0: none
    long jobs;                         // for workers that take one at a time; 0: none
    long service, slowService;         // microseconds that a job takes a worker, and the slow one
    int idle;                          // connections that say nothing
    IdleKind idleKind;
    bool onlyConsumes;                 // events come to the topic from elsewhere
    bool broadcasts;                   // each consumer gets every event, in lockstep
    bool independent;                  // each gets every event, at its own pace
    int stalledLag;                    // what becomes then of events for those that stall: a policy
    bool decodes;                      // look at each record, instead of stepping over runs
    const char *topic;                 // its name; with several, their prefix
    const char *sinkHome, *sourceHome; // what consumers, what producers open before, and never use
} Options;

extern Options options;
