// Jobs that take their time, for workers that take one at a time.
#pragma once

// Opens a link for each worker; the first one is slow.
void openWorkers(void);
// Publishes options.jobs jobs, and returns when the last one is done.
void playJobs(void);
// Microseconds by which the machine woke a worker late behind a job, in the mean.
double meanLateness(void);
