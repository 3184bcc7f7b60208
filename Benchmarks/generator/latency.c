#include "latency.h"

#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 4000000 };

static uint32_t samples[SAMPLES];
static atomic_long count;

void noteLatency(uint64_t nanoseconds) {
    long i = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    if (i < SAMPLES) samples[i] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

void startLatency(void) { atomic_store(&count, 0); }

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void printLatency(void) {
    long n = atomic_load(&count);
    if (n > SAMPLES) n = SAMPLES;
    if (!n) return;
    qsort(samples, (size_t)n, sizeof *samples, ascending);
    printf("\"samples\":%ld,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f,",
           n, samples[n / 2] / 1e3, samples[(long)((double)n * .9)] / 1e3,
           samples[(long)((double)n * .99)] / 1e3, samples[(long)((double)n * .999)] / 1e3,
           samples[n - 1] / 1e3);
}
