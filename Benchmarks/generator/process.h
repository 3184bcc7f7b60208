// Time, and what /proc tells of a process.
#pragma once
#include <stdint.h>

_Noreturn void fail(const char *what);
uint64_t nanoseconds(void);
double cpuSeconds(int pid);
double ownCpuSeconds(void);
long statusKiB(int pid, const char *key);
