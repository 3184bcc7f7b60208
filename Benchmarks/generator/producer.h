// All producers, on one thread.
#pragma once
#include <stdatomic.h>

extern atomic_long published;

void openProducers(void);
// As fast as demand allows.
void *produce(void *unused);
// Single events at options.rate.
void *producePaced(void *unused);
// options.jobs single events, as fast as demand allows.
void *produceJobs(void *unused);
// One event in flight, on the calling thread.
void playPingPong(void);
