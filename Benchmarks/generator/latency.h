// Samples of latency, in nanoseconds.
#pragma once
#include <stdatomic.h>
#include <stdint.h>

void noteLatency(uint64_t nanoseconds);
// Forgets what was noted while warming up.
void startLatency(void);
// Prints `"p50_us":…,` and its like, if there are samples.
void printLatency(void);
