#include "jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "consumer.h"
#include "options.h"
#include "process.h"
#include "producer.h"
#include "wire.h"

enum { INPUT_BYTES = 1 << 16, DEMAND_BYTES = HEAD_BYTES + 32, LINK = 1 };

typedef struct {
    Connection connection;
    uint64_t service;   // nanoseconds that a job takes it
} Worker;

static Worker *workers;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t allDone = PTHREAD_COND_INITIALIZER;
static long done;
static atomic_ulong late;

// Works on a job that has come at this time, and notes how late it was woken behind its end.
static void serve(const Worker *w, uint64_t since) {
    uint64_t until = since + w->service;
    struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
    atomic_fetch_add_explicit(&late, nanoseconds() - until, memory_order_relaxed);
}

double meanLateness(void) {
    return (double)atomic_load(&late) / 1e3 / (double)options.jobs;
}

static void noteDone(void) {
    pthread_mutex_lock(&guard);
    if (++done == options.jobs) pthread_cond_signal(&allDone);
    pthread_mutex_unlock(&guard);
}

// Max demand 1: the next job is asked for when the last one is done.
static void *work(void *argument) {
    prctl(PR_SET_TIMERSLACK, 1);
    Worker *w = argument;
    uint64_t received = 0;
    for (;;) {
        Frame frame;
        while (!nextFrame(&w->connection, &frame)) {
            flush(&w->connection);
            if (!receive(&w->connection)) fail("a worker lost its connection");
        }
        if (frame.type != EVENTS || frame.flags & 1) continue;
        atomic_fetch_add_explicit(&delivered, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&deliveredFrames, 1, memory_order_relaxed);
        serve(w, nanoseconds());
        noteDone();
        received++;
        uint8_t demand[DEMAND_BYTES];
        putDemand(demand, LINK, 1, received + 1, received);
        queue(&w->connection, demand, sizeof demand);
    }
    return NULL;
}

void openWorkers(void) {
    workers = calloc((size_t)options.consumers, sizeof *workers);
    if (!workers) fail("calloc");
    for (int i = 0; i < options.consumers; i++) {
        Worker *w = &workers[i];
        w->connection = greet(options.port, INPUT_BYTES);
        w->service = 1000 * (uint64_t)(i == 0 ? options.slowService : options.service);
        sendOpen(&w->connection, LINK, SINK, options.topic, 1, BLOCK);
        await(&w->connection, OPENED);
    }
}

void playJobs(void) {
    pthread_t thread;
    for (int i = 0; i < options.consumers; i++) pthread_create(&thread, NULL, work, &workers[i]);
    pthread_create(&thread, NULL, produceJobs, NULL);
    pthread_mutex_lock(&guard);
    while (done < options.jobs) pthread_cond_wait(&allDone, &guard);
    pthread_mutex_unlock(&guard);
}
