// What Swift's Glibc module leaves out: sys/epoll.h, sys/eventfd.h, sys/timerfd.h and the GNU calls below.
#pragma once
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set);
int pipe2(int ends[2], int flags);
