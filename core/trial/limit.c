/* limit.c - the clock of a test. */
#include "trial/limit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static char said[512]; /* what the handler writes, made before */
static size_t said_n;

static void late(int signal)
{
    ssize_t n = write(STDOUT_FILENO, said, said_n);

    (void)signal;
    (void)n;
    _exit(1);
}

static void set(int seconds)
{
    setitimer(ITIMER_PROF, &(struct itimerval){ .it_value = { .tv_sec = seconds } }, NULL);
}

void mg_limit_begin(struct mg_str what)
{
    int n;

    set(0);
    n = snprintf(said, sizeof said, "FAILED %.*s\n  no end after %d s of CPU time: the run stops here\n", what.n > 300 ? 300 : (int)what.n, what.p,
                 MG_LIMIT_CPU_S);
    said_n = n > 0 ? (size_t)n : 0;
    fflush(stdout); /* what was told before stands before it */
    signal(SIGPROF, late);
    set(MG_LIMIT_CPU_S);
}

void mg_limit_end(void)
{
    set(0);
}
