// sys/epoll.h and sys/eventfd.h are not in the Glibc module.
#pragma once
#include <sys/epoll.h>
#include <sys/eventfd.h>
