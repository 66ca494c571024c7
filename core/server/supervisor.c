#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "server/notify.h"

enum { PAUSE_FIRST_MS = 100, PAUSE_MOST_MS = 10000, HEALTHY_MS = 60000 };

struct supervisor {
    const struct mg_supervisor_options *options;
    struct mg_sockets *table;
    sigset_t old_mask;
    int signals;            /* signalfd */
    int channel;            /* to the child; -1: none */
    bool is_deaf;           /* nothing more comes from there */
    pid_t child;            /* 0: none */
    bool was_ready;         /* some child has served */
    bool is_stopping;
    int interrupts;
    int64_t started_ms, restart_at_ms;
    int crashes;            /* in a row */
    int exit_code;
    bool is_done;
};

static int64_t now_ms(void) { return mg_clock_monotonic_us() / 1000; }

static void plan_restart(struct supervisor *s)
{
    int64_t pause = 0;

    if (now_ms() - s->started_ms > HEALTHY_MS)
        s->crashes = 0;
    if (s->crashes > 0) {
        pause = (int64_t)PAUSE_FIRST_MS << (s->crashes - 1 < 7 ? s->crashes - 1 : 7);
        pause = pause > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause;
    }
    s->crashes++;
    s->restart_at_ms = now_ms() + pause;
    mg_logf(MG_LOG_WARN, "starting the gateway process again in %lld ms", (long long)pause);
}

/* ---- the child ---- */

static int run_child(struct supervisor *s, int channel, pid_t parent)
{
    struct mg_gateway_options options = s->options->gateway;
    struct mg_binder *binder;
    int code;

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a supervisor: drain and end */
    if (getppid() != parent)
        return 1;
    close(s->signals);
    mg_sockets_forget(s->table);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    unsetenv("NOTIFY_SOCKET"); /* the supervisor is the service's main process */
    binder = mg_binder_remote(channel);
    if (!binder)
        return 1;
    options.is_supervised = true;
    code = mg_gateway_run(&options, binder);
    mg_binder_free(binder);
    return code;
}

/* True in the child, when it has ended: the caller returns s->exit_code. */
static bool start_child(struct supervisor *s)
{
    pid_t parent = getpid(), pid;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        mg_logf(MG_LOG_ERROR, "cannot start the gateway process: %s", strerror(errno));
        plan_restart(s);
        return false;
    }
    s->started_ms = now_ms();
    mg_sockets_mark(s->table);
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        s->exit_code = run_child(s, pair[1], parent);
        return true;
    }
    close(pair[1]);
    if (pid < 0) {
        mg_logf(MG_LOG_ERROR, "cannot start the gateway process: %s", strerror(errno));
        close(pair[0]);
        plan_restart(s);
        return false;
    }
    s->child = pid;
    s->channel = pair[0];
    s->is_deaf = false;
    return false;
}

/* ---- its end ---- */

static void tell_end(int status)
{
    if (WIFSIGNALED(status))
        mg_logf(MG_LOG_ERROR, "the gateway process was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        mg_logf(MG_LOG_ERROR, "the gateway process ended with code %d", WEXITSTATUS(status));
}

static void child_ended(struct supervisor *s, int status)
{
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    s->child = 0;
    close(s->channel);
    s->channel = -1;
    if (!clean && (s->was_ready || WIFSIGNALED(status)))
        tell_end(status);
    if (clean || s->is_stopping || !s->was_ready) {
        s->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        s->is_done = true;
        return;
    }
    plan_restart(s);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == s->child)
            child_ended(s, status);
}

/* ---- signals ---- */

static void forward(struct supervisor *s, int number)
{
    if (s->child > 0)
        kill(s->child, number);
}

static void stop(struct supervisor *s, bool at_once)
{
    s->is_stopping = true;
    if (s->child > 0)
        forward(s, at_once ? SIGQUIT : SIGTERM);
    else
        s->is_done = true;
}

static void on_signal(struct supervisor *s, int number)
{
    switch (number) {
    case SIGCHLD: reap(s); break;
    case SIGHUP:
        forward(s, SIGHUP);
        if (s->child == 0 && !s->is_stopping)
            s->restart_at_ms = now_ms(); /* somebody mended the config */
        break;
    case SIGUSR1: forward(s, SIGUSR1); break;
    case SIGTERM: stop(s, s->is_stopping); break;
    case SIGINT: stop(s, s->interrupts++ > 0); break;
    case SIGQUIT: stop(s, true); break;
    default: break;
    }
}

static int open_signals(struct supervisor *s)
{
    static const int numbers[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT, SIGQUIT };
    sigset_t mask;

    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(&mask, numbers[i]);
    sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? -errno : 0;
}

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        on_signal(s, (int)info.ssi_signo);
}

/* ---- questions of the child ---- */

static void answer_child(struct supervisor *s)
{
    enum mg_note note;

    if (mg_binder_serve(s->channel, s->table, &note) != 0) {
        s->is_deaf = true; /* it is gone, and SIGCHLD will say so */
        return;
    }
    if (note == MG_NOTE_READY) {
        s->was_ready = true;
        mg_sockets_sweep(s->table);
    }
    if (note)
        mg_notify(note);
}

static int wait_ms(const struct supervisor *s)
{
    int64_t left;

    if (s->child > 0 || s->is_stopping)
        return -1;
    left = s->restart_at_ms - now_ms();
    return left > 0 ? (int)left : 0;
}

/* True in the child. */
static bool turn(struct supervisor *s)
{
    struct pollfd fds[2] = { { .fd = s->signals, .events = POLLIN }, { .fd = s->is_deaf ? -1 : s->channel, .events = POLLIN } };
    int rc = poll(fds, 2, wait_ms(s));

    if (rc < 0 && errno != EINTR) {
        mg_logf(MG_LOG_ERROR, "poll: %s", strerror(errno));
        s->is_done = true;
        s->exit_code = 1;
        return false;
    }
    if (rc > 0 && fds[1].revents)
        answer_child(s);
    read_signals(s);
    if (s->child == 0 && !s->is_stopping && !s->is_done && now_ms() >= s->restart_at_ms)
        return start_child(s);
    return false;
}

/* ---- the whole ---- */

/* A gateway has two descriptors for each request: as many as we may have. */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int write_pid(const char *path)
{
    FILE *f = path ? fopen(path, "we") : NULL;

    if (!path)
        return 0;
    if (!f || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
        mg_logf(MG_LOG_ERROR, "%s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

int mg_supervisor_run(const struct mg_supervisor_options *options)
{
    struct supervisor s = { .options = options, .channel = -1, .signals = -1 };
    bool in_child = false;

    raise_fd_limit();
    s.table = mg_sockets_new();
    if (!s.table || open_signals(&s) != 0 || write_pid(options->pid_file) != 0) {
        mg_sockets_free(s.table);
        return 1;
    }
    while (!s.is_done && !in_child)
        in_child = turn(&s);
    if (in_child)
        return s.exit_code;
    mg_sockets_free(s.table);
    close(s.signals);
    if (options->pid_file)
        unlink(options->pid_file);
    return s.exit_code;
}

int mg_supervisor_run_alone(const struct mg_supervisor_options *options)
{
    struct mg_binder *binder;
    int code;

    raise_fd_limit();
    if (write_pid(options->pid_file) != 0)
        return 1;
    binder = mg_binder_local();
    code = binder ? mg_gateway_run(&options->gateway, binder) : 1;
    mg_binder_free(binder);
    if (options->pid_file)
        unlink(options->pid_file);
    return code;
}
