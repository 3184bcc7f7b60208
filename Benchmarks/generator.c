// A load generator and sink for Sluice: one producer thread, one thread for all consumers.
// It speaks Protocol/protocol.md with prebuilt batches, so that the broker is the bottleneck.
// usage: generator -p PORT [-s SIZE] [-f CONSUMERS] [-d SECONDS] [-w WARM-UP] [-b WINDOW] [-e EVENTS A FRAME]
//        [-P BROKER PID] [-t TOPIC] [-Z STALLED]   prints one JSON line
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HELLO = 1, WELCOME, PING, OPEN, OPENED, DEMAND, EVENTS, SETTLE, STATUS, CLOSE };

static int port = 7450, size = 128, consumers = 1, window = 65536, perFrame = 0, broker = 0;
static int stalled = 0;
static double seconds = 2, warmUp = 0.5;
static const char *topic = "bench";
static atomic_long published, delivered;
static atomic_int stopping;

static void die(const char *what) { perror(what); exit(1); }
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}
static uint8_t *put(uint8_t *p, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; i--) *p++ = value >> (8 * i);
  return p;
}
static uint64_t get(const uint8_t *p, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | p[i];
  return value;
}
static uint8_t *head(uint8_t *p, int length, int type, int flags, uint32_t link) {
  return put(put(put(put(p, length, 3), type, 1), flags, 1), link, 4);
}
static void sendAll(int s, const uint8_t *p, size_t n) {
  while (n) {
    ssize_t k = send(s, p, n, MSG_NOSIGNAL);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) { if (stopping) return; die("send"); }
    p += k; n -= k;
  }
}
static int dial(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(s, (void *)&a, sizeof a)) die("connect");
  return s;
}
static void hello(int s, int role) {
  uint8_t f[512], *p = f + 9;
  p = put(p, 0x534C4345, 4); p = put(p, 1, 1); p = put(p, 1, 1); p = put(p, 0, 2);
  p = put(p, 0, 4); p = put(p, 1048576, 4); p = put(p, 0, 1); p = put(p, 0, 1);
  p = put(p, 0, 2); p = put(p, 3, 1); memcpy(p, "gen", 3); p += 3;
  head(f, p - f - 9, HELLO, 0, 0);
  uint8_t *o = p; p += 9;
  p = put(p, role, 1); p = put(p, strlen(topic), 1);
  memcpy(p, topic, strlen(topic)); p += strlen(topic);
  if (role) { p = put(p, 6, 1); p = put(p, 8, 2); p = put(p, UINT64_MAX - 1, 8); }
  else { p = put(p, 4, 1); p = put(p, 8, 2); p = put(p, window, 4); p = put(p, 0, 4); }
  head(o, p - o - 9, OPEN, 0, 1);
  sendAll(s, f, p - f);
}

static void answer(int s, const uint8_t *ping) {
  uint8_t f[17];
  memcpy(f, ping, 17);
  f[4] = 1;
  sendAll(s, f, 17);
}

typedef struct { int s; uint8_t *b; size_t r, w, cap; uint64_t asked, got; } Peer;
static int fill(Peer *c) {
  if (c->r == c->w) c->r = c->w = 0;
  else if (c->cap - c->w < 65536) {
    memmove(c->b, c->b + c->r, c->w - c->r); c->w -= c->r; c->r = 0;
  }
  ssize_t k = recv(c->s, c->b + c->w, c->cap - c->w, 0);
  if (k <= 0) return 0;
  c->w += k;
  return 1;
}
static void consume(Peer *c) {
  while (c->w - c->r >= 9) {
    const uint8_t *f = c->b + c->r;
    size_t length = get(f, 3);
    if (c->w - c->r < 9 + length) break;
    if (f[3] == EVENTS && !(f[4] & 1)) {
      const uint8_t *p = f + 17, *end = f + 9 + length;
      long n = 0;
      while (p < end) {                    // every record is stepped over, as a client must
        uint32_t count = get(p, 4);
        p += 28;
        for (uint32_t i = 0; i < count; i++) p += 4 + (be32toh(*(const uint32_t *)p) & 0xFFFFFF);
        n += count;
      }
      c->got += n;
      atomic_fetch_add_explicit(&delivered, n, memory_order_relaxed);
    } else if (f[3] == PING && !f[4]) answer(c->s, f);
    else if (f[3] == CLOSE) { fprintf(stderr, "closed: %.*s\n", (int)length - 8, f + 17); exit(1); }
    c->r += 9 + length;
  }
  uint64_t owed = c->asked - c->got;
  if (owed <= (uint64_t)window / 2) {
    uint8_t d[41], *p = head(d, 32, DEMAND, 0, 1);
    uint32_t n = window - owed;
    c->asked += n;
    p = put(p, n, 4); p = put(p, c->asked, 8); p = put(p, 0, 4); p = put(p, 0, 8); put(p, c->got, 8);
    sendAll(c->s, d, 41);
  }
}
static void *sink(void *unused) {
  Peer *peers = calloc(consumers, sizeof *peers);
  int ep = epoll_create1(0);
  for (int i = 0; i < consumers; i++) {
    Peer *c = &peers[i];
    c->s = dial(); c->cap = 1 << 20; c->b = malloc(c->cap); c->asked = window;
    hello(c->s, 0);
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    if (i >= stalled) epoll_ctl(ep, EPOLL_CTL_ADD, c->s, &e);
  }
  while (!stopping) {
    struct epoll_event e[64];
    int n = epoll_wait(ep, e, 64, 100);
    for (int i = 0; i < n; i++) {
      Peer *c = e[i].data.ptr;
      if (!fill(c)) { if (!stopping) fprintf(stderr, "consumer lost\n"); return unused; }
      consume(c);
    }
  }
  return unused;
}
typedef struct { uint64_t asked, askedBytes, sent, forfeited, forfeitedBytes, stoppedTo; } Account;
static void tell(int s, const Account *a, int flags, int blocked, int record) {
  uint8_t f[128], *p = head(f, 85, STATUS, flags, 1);
  p = put(p, a->asked, 8); p = put(p, a->sent, 8); p = put(p, a->forfeited, 8);
  p = put(p, a->askedBytes, 8); p = put(p, a->sent * record, 8); p = put(p, a->forfeitedBytes, 8);
  p = put(p, a->stoppedTo, 8); p = put(p, 0, 8); p = put(p, UINT64_MAX - 1, 8);
  p = put(p, 0, 4); p = put(p, 0, 4); p = put(p, blocked, 1); p = put(p, blocked ? record : 0, 4);
  sendAll(s, f, p - f);
}
static void *produce(void *unused) {
  Peer c = {.s = dial(), .cap = 65536 * 4};
  c.b = malloc(c.cap);
  hello(c.s, 1);
  int record = 4 + size, most = perFrame ? perFrame : 65536 / record;
  if (most < 1) most = 1;
  int frames = perFrame ? 262144 / (perFrame * record + 45) : 4;
  if (frames < 1) frames = 1;
  size_t frameBytes = 45 + (size_t)most * record;
  uint8_t *out = malloc(frames * frameBytes);
  for (int f = 0; f < frames; f++) for (int i = 0; i < most; i++) {
    uint8_t *p = out + f * frameBytes + 45 + (size_t)i * record;
    put(p, size, 4); memset(p + 4, 'x', size);
  }
  uint64_t sequence = 1, events = 0, bytes = 0;
  Account account = {0};
  while (!stopping) {
    int fits = 0, used = 0;
    size_t total = 0;
    for (int f = 0; f < frames; f++) {
      uint64_t n = most;
      if (n > events) n = events;
      if (n > bytes / record) n = bytes / record;
      if (!n) break;
      uint8_t *b = out + total, *p;
      if (f * frameBytes != total) break;   // a short frame ends the write
      p = head(b, 8 + 28 + n * record, EVENTS, 0, 1);
      p = put(p, sequence, 8); p = put(p, n, 4); p = put(p, n * record, 4);
      p = put(p, 0, 8); p = put(p, 0, 8); put(p, 0, 4);
      sequence += n; events -= n; bytes -= n * record; used += n; fits++;
      total += 45 + n * record;
    }
    if (fits) {
      sendAll(c.s, out, total);
      atomic_fetch_add_explicit(&published, used, memory_order_relaxed);
      int more = recv(c.s, c.b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
      if (!more) continue;
    }
    if (!fill(&c)) { if (!stopping) fprintf(stderr, "producer lost\n"); return unused; }
    while (c.w - c.r >= 9) {
      const uint8_t *f = c.b + c.r;
      size_t length = get(f, 3);
      if (c.w - c.r < 9 + length) break;
      if (f[3] == DEMAND) {
        events += get(f + 9, 4); account.asked = get(f + 13, 8);
        bytes += get(f + 21, 4); account.askedBytes = get(f + 25, 8);
        account.sent = sequence - 1;
        if (f[4] & 2) {                    // STOP: forfeit and say so
          account.stoppedTo = account.asked;
          account.forfeited += events; account.forfeitedBytes += bytes;
          events = bytes = 0;
          tell(c.s, &account, 1, 0, record);
        }
      } else if (f[3] == PING && !f[4]) answer(c.s, f);
      else if (f[3] == CLOSE) { fprintf(stderr, "closed: %.*s\n", (int)length - 8, f + 17); exit(1); }
      c.r += 9 + length;
    }
    if (events && bytes < (uint64_t)record) {
      account.sent = sequence - 1;
      tell(c.s, &account, 0, 3, record);
    }
  }
  return unused;
}
static double cpu(void) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", broker);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  size_t n = fread(line, 1, sizeof line - 1, f);
  fclose(f); line[n] = 0;
  unsigned long user, system;
  sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / sysconf(_SC_CLK_TCK);
}
static long status(const char *key) {
  char path[64], line[256];
  long kib = 0;
  snprintf(path, sizeof path, "/proc/%d/status", broker);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  while (fgets(line, sizeof line, f)) if (!strncmp(line, key, strlen(key))) kib = atol(line + strlen(key));
  fclose(f);
  return kib;
}
int main(int count, char **arguments) {
  for (int o; (o = getopt(count, arguments, "p:s:f:d:w:b:e:P:t:Z:")) != -1;) switch (o) {
    case 'p': port = atoi(optarg); break;
    case 's': size = atoi(optarg); break;
    case 'f': consumers = atoi(optarg); break;
    case 'd': seconds = atof(optarg); break;
    case 'w': warmUp = atof(optarg); break;
    case 'b': window = atoi(optarg); break;
    case 'e': perFrame = atoi(optarg); break;
    case 'P': broker = atoi(optarg); break;
    case 't': topic = optarg; break;
    case 'Z': stalled = atoi(optarg); break;
    default: return 64;
  }
  pthread_t a, b;
  pthread_create(&a, 0, sink, 0);
  usleep(100000);
  pthread_create(&b, 0, produce, 0);
  usleep(warmUp * 1e6);
  double t0 = now(), c0 = cpu();
  long d0 = delivered, p0 = published;
  usleep(seconds * 1e6);
  double t = now() - t0, c = cpu() - c0;
  long d = delivered - d0, p = published - p0;
  stopping = 1;
  printf("{\"size\":%d,\"consumers\":%d,\"published_per_s\":%.0f,\"delivered_per_s\":%.0f,"
         "\"mb_per_s\":%.1f,\"cpu_s_per_million\":%.4f,\"rss_kib\":%ld,\"hwm_kib\":%ld}\n",
         size, consumers, p / t, d / t, d / t * size / 1e6, d ? c / d * 1e6 : 0,
         status("VmRSS:"), status("VmHWM:"));
  return d > 0 ? 0 : 1;
}
