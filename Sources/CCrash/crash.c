// In C, for a handler of signals may neither allocate nor take a lock, and Swift's runtime does both.
#define _GNU_SOURCE
#include "crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static const int signals[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
static const size_t stack_bytes = 64 * 1024;
static const struct crash_notes *notes;

static void say(const char *text) {
    // What cannot be written is lost: there is nobody left to tell.
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void say_number(uintptr_t number, unsigned base) {
    char digits[24];
    char *next = digits + sizeof digits;
    *--next = 0;
    do {
        *--next = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    say(next);
}

static const char *name(int number) {
    switch (number) {
    case SIGILL: return "SIGILL";
    case SIGTRAP: return "SIGTRAP";
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    default: return "SIGABRT";
    }
}

static uintptr_t place(const void *context) {
#if defined(__x86_64__)
    return ((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return ((const ucontext_t *)context)->uc_mcontext.pc;
#else
    return 0;
#endif
}

static void say_commands(void) {
    for (size_t shard = 0; shard < notes->shards; shard++) {
        uint8_t last = notes->last[shard];
        size_t index = last & 0x7F;
        say(shard == 0 ? "last commands: shard " : ", shard ");
        say_number(shard, 10);
        say(" ");
        say(index < notes->name_count ? notes->names[index] : "unknown");
        if (last & 0x80) say(" and a step");
    }
    say("\n");
}

static void report(int number, siginfo_t *info, void *context) {
    (void)info;
    say("\n");
    say(notes->program);
    say(" ends by ");
    say(name(number));
    say(" at 0x");
    say_number(place(context), 16);
    say("; please report what follows\n");
    say_commands();
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    // The default is in its place again: the status of the process names the signal.
    raise(number);
}

void crash_report(const struct crash_notes *given) {
    notes = given;
    // The first call loads a library, which a handler may not.
    void *frame;
    backtrace(&frame, 1);
    crash_report_thread();
    for (size_t index = 0; index < sizeof signals / sizeof *signals; index++) {
        struct sigaction former;
        if (sigaction(signals[index], NULL, &former) != 0) continue;
        // Swift's own reports and sanitizers are there first.
        if ((former.sa_flags & SA_SIGINFO) || former.sa_handler != SIG_DFL) continue;
        struct sigaction action = {0};
        action.sa_sigaction = report;
        action.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
        sigemptyset(&action.sa_mask);
        sigaction(signals[index], &action, NULL);
    }
}

void crash_report_thread(void) {
    stack_t stack = {0};
    if (sigaltstack(NULL, &stack) != 0 || !(stack.ss_flags & SS_DISABLE)) return;
    stack.ss_flags = 0;
    stack.ss_size = stack_bytes;
    // For the life of the thread, of which there are as many as loops.
    stack.ss_sp = malloc(stack_bytes);
    if (stack.ss_sp != NULL) sigaltstack(&stack, NULL);
}
