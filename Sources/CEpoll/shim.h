// What Swift's Glibc module leaves out: sys/epoll.h, sys/eventfd.h and the GNU calls below.
#pragma once
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
