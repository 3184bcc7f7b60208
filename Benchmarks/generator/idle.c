#include "idle.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "options.h"
#include "process.h"
#include "wire.h"

void openIdle(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < options.idle; i++) {
        Connection c = greet(options.port, 1 << 12);
        if (options.idleKind == IDLE_LINKED) {
            sendOpen(&c, 1, SINK, "idle", 10, BLOCK);
            await(&c, OPENED);
        }
        free(c.in);
    }
}
