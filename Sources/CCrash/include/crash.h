// Says on stderr where the process was when a fault ends it.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// What a line about the process is made of; all of it has to stay where it is.
struct crash_notes {
    /// What runs, such as "sluice 1.0".
    const char *program;
    /// What each shard did last: a number of `names`, with the highest bit in a step that followed.
    const volatile uint8_t *last;
    size_t shards;
    const char *const *names;
    size_t name_count;
};

/// Reports faults from now on, but for signals that somebody handles already.
void crash_report(const struct crash_notes *notes);

/// Lets this thread report that its own stack is full.
void crash_report_thread(void);
