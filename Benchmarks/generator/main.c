// A load generator and sink for Sluice, light enough that the broker is what is measured: one
// thread for all producers, one for all consumers. It prints one line of JSON.
//
//   -p PORT   the broker on 127.0.0.1       -P PID     its process: its CPU and memory are measured
//   -s SIZE   bytes of a payload            -e COUNT   events a frame (0: 64 KiB full)
//   -b COUNT  a consumer's window; 0: 8 MiB -D         decode: look at every record
//   -d, -w    seconds measured, and before  -t NAME    topic, with -T a prefix
//   -B        consumers join a broadcast: each gets every event
//   -L LAG    consumers are independent, and lose nothing; those that stall have this lag policy:
//             0 block, 1 drop-oldest, 2 drop-newest, 3 detach
//   -H, -G    a topic that consumers, that producers open first: it decides where they are served
//   -T COUNT  topics                        -f COUNT   consumers of each topic
//   -S COUNT  connections of producers      -c COUNT   connections of consumers (0: one a link)
//   -Z COUNT  of -f: consumers that stall   -z COUNT   what these ask for, before they stop reading
//   -R RATE   single events a second, with their latency
//   -X COUNT  ping-pong: rounds with one event in flight, on one thread
//   -J COUNT  jobs for -f workers that take one at a time, the first of which is slow
//   -j, -k    microseconds that a job takes a worker, and the slow one
//   -N        nobody produces here: events come to the topic from elsewhere
//   -I COUNT  connections that say nothing  -i bare|linked   without a link, or with one
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consumer.h"
#include "idle.h"
#include "jobs.h"
#include "latency.h"
#include "options.h"
#include "process.h"
#include "producer.h"
#include "topics.h"

Options options = {
    .port = 7450, .size = 128, .topics = 1, .consumers = 1, .seconds = 2, .warmUp = 0.5,
    .topic = "bench",
};

enum { WINDOW_BYTES = 8 << 20 };

const char *topicName(char *into, int index) {
    if (options.topics == 1) return options.topic;
    snprintf(into, TOPIC_BYTES, "%s.%d", options.topic, index);
    return into;
}

static void parse(int count, char **arguments) {
    const char *letters = "p:P:s:e:b:BL:Dd:w:t:H:G:T:f:S:c:Z:z:R:X:J:j:k:NI:i:";
    for (int letter; (letter = getopt(count, arguments, letters)) != -1;) switch (letter) {
        case 'p': options.port = atoi(optarg); break;
        case 'P': options.broker = atoi(optarg); break;
        case 's': options.size = atoi(optarg); break;
        case 'e': options.perFrame = atoi(optarg); break;
        case 'b': options.window = (uint32_t)atol(optarg); break;
        case 'B': options.broadcasts = true; break;
        case 'L':
            options.independent = true;
            options.stalledLag = atoi(optarg);
            break;
        case 'D': options.decodes = true; break;
        case 'd': options.seconds = atof(optarg); break;
        case 'w': options.warmUp = atof(optarg); break;
        case 't': options.topic = optarg; break;
        case 'H': options.sinkHome = optarg; break;
        case 'G': options.sourceHome = optarg; break;
        case 'T': options.topics = atoi(optarg); break;
        case 'f': options.consumers = atoi(optarg); break;
        case 'S': options.sources = atoi(optarg); break;
        case 'c': options.sinks = atoi(optarg); break;
        case 'Z': options.stalled = atoi(optarg); break;
        case 'z': options.stalledWindow = (uint32_t)atol(optarg); break;
        case 'R': options.rate = atof(optarg); break;
        case 'X': options.rounds = atol(optarg); break;
        case 'J': options.jobs = atol(optarg); break;
        case 'j': options.service = atol(optarg); break;
        case 'k': options.slowService = atol(optarg); break;
        case 'N': options.onlyConsumes = true; break;
        case 'I': options.idle = atoi(optarg); break;
        case 'i': options.idleKind = strcmp(optarg, "linked") ? IDLE_BARE : IDLE_LINKED; break;
        default: exit(64);
    }
    if (!options.window) {
        // As the anchors' generator has it.
        int window = WINDOW_BYTES / (options.size > 0 ? options.size : 1);
        options.window = (uint32_t)(window < 64 ? 64 : window > 200000 ? 200000 : window);
    }
    if (options.rate > 0 && options.size < 8) {
        fprintf(stderr, "with -R, -s must be at least 8: a payload carries its time\n");
        exit(64);
    }
}

static void rest(double seconds) { usleep((useconds_t)(seconds * 1e6)); }

// What changes while it is measured.
typedef struct {
    double time, cpu, own;
    long published, delivered, frames;
} Reading;

static Reading readNow(void) {
    return (Reading){
        .time = (double)nanoseconds() / 1e9,
        .cpu = cpuSeconds(options.broker),
        .own = ownCpuSeconds(),
        .published = atomic_load(&published),
        .delivered = atomic_load(&delivered),
        .frames = atomic_load(&deliveredFrames),
    };
}

static double per(double value, double count) { return count > 0 ? value / count : 0; }

static void print(Reading a, Reading b, long before, long withIdle) {
    double time = b.time - a.time, cpu = b.cpu - a.cpu;
    double sent = (double)(b.published - a.published);
    double came = (double)(b.delivered - a.delivered);
    printf("{\"published_per_s\":%.0f,\"delivered_per_s\":%.0f,\"mb_per_s\":%.1f,", sent / time,
           came / time, came / time * options.size / 1e6);
    printf("\"cpu_s_per_million\":%.5f,\"cpu\":%.3f,\"generator_cpu\":%.3f,", per(cpu * 1e6, came),
           cpu / time, (b.own - a.own) / time);
    printf("\"events_per_frame\":%.1f,", per(came, (double)(b.frames - a.frames)));
    printLatency();
    if (options.jobs) printf("\"makespan_s\":%.4f,\"late_us\":%.1f,", time, meanLateness());
    if (options.idle) {
        double kib = (double)(withIdle - before) / options.idle;
        printf("\"idle_kib_each\":%.3f,", kib);
    }
    printf("\"start_rss_kib\":%ld,\"rss_kib\":%ld,\"hwm_kib\":%ld}\n", before,
           statusKiB(options.broker, "VmRSS:"), statusKiB(options.broker, "VmHWM:"));
}

static void playRounds(void) {
    long rounds = options.rounds;
    options.rounds = rounds / 20 + 100;   // warming up
    playPingPong();
    options.rounds = rounds;
    startLatency();
}

int main(int count, char **arguments) {
    parse(count, arguments);
    long before = statusKiB(options.broker, "VmRSS:");
    openIdle();
    if (options.idle) rest(0.5);
    long withIdle = statusKiB(options.broker, "VmRSS:");
    if (options.jobs) openWorkers(); else openConsumers();
    if (!options.onlyConsumes) openProducers();

    Reading start;
    if (options.rounds) {
        playRounds();
        start = readNow();
        playPingPong();
    } else if (options.jobs) {
        start = readNow();
        playJobs();
    } else {
        pthread_t consumer, producer;
        pthread_create(&consumer, NULL, consume, NULL);
        if (!options.onlyConsumes) {
            pthread_create(&producer, NULL, options.rate > 0 ? producePaced : produce, NULL);
        }
        rest(options.warmUp);
        startLatency();
        start = readNow();
        rest(options.seconds);
    }
    Reading end = readNow();
    if (options.rounds) end.delivered = start.delivered + options.rounds;
    print(start, end, before, withIdle);
    fflush(stdout);
    // The threads know no end: what they would find closed here is not a failure.
    _exit(end.delivered > start.delivered ? 0 : 1);
}
