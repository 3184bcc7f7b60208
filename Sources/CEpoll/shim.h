// What Swift's Glibc module leaves out: sys/epoll.h, sys/eventfd.h and the calls below.
// sys/timerfd.h itself would make its module the owner of `timespec`.
#pragma once
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set);
int pipe2(int ends[2], int flags);
int timerfd_create(int clock, int flags);
struct itimerspec;
int timerfd_settime(int timer, int flags, const struct itimerspec *time, struct itimerspec *old);
