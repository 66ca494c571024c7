#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "server/crash.h"
#include "server/notify.h"

enum { PAUSE_FIRST_MS = 100, PAUSE_MOST_MS = 10000, HEALTHY_MS = 60000, AGAIN_MS = 1000, OLD_MAX = 4 };

/* A gateway process. */
struct process {
    pid_t pid;              /* 0: none */
    int channel;            /* -1: none; nothing more comes from there */
    bool says_stopping;     /* it was told to stop by itself */
    struct mg_last_words *words; /* shared with it; NULL: no memory for them */
    int64_t kill_at_ms;     /* of one that has a successor */
};

struct supervisor {
    const struct mg_supervisor_options *options;
    struct mg_sockets *table;
    sigset_t old_mask;
    int signals;            /* signalfd */
    struct process child;
    struct process old[OLD_MAX]; /* a worker is held there: they finish what they have, and end */
    int old_n;
    struct mg_quarantine quarantine;
    bool was_ready;         /* some child has served */
    bool is_stopping;
    int interrupts;
    int64_t started_ms, restart_at_ms;
    int64_t successor_at_ms;  /* 0: none is owed */
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

/* ---- a process ---- */

static void release(struct process *p)
{
    if (p->channel >= 0)
        close(p->channel);
    if (p->words)
        munmap(p->words, sizeof *p->words);
    *p = (struct process){ .channel = -1 };
}

static int run_child(struct supervisor *s, int channel, struct mg_last_words *words, pid_t parent)
{
    struct mg_gateway_options options = s->options->gateway;
    struct mg_binder *binder;
    int code;

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* without a supervisor: drain and end */
    if (getppid() != parent)
        return 1;
    close(s->signals);
    for (int i = 0; i < s->old_n; i++)
        release(&s->old[i]);
    mg_sockets_forget(s->table);
    signal(SIGHUP, SIG_IGN); /* until the gateway takes them: the config is not read yet, no log is open */
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    unsetenv("NOTIFY_SOCKET"); /* the supervisor is the service's main process */
    binder = mg_binder_remote(channel);
    if (!binder)
        return 1;
    options.is_supervised = true;
    options.quarantine = &s->quarantine; /* a copy by now, and this process's own */
    options.words = words;
    code = mg_gateway_run(&options, binder);
    mg_binder_free(binder);
    return code;
}

static struct mg_last_words *share_words(void)
{
    void *p = mmap(NULL, sizeof(struct mg_last_words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* 1 in the child, when it has ended: the caller returns s->exit_code. 0, or -errno. */
static int fork_child(struct supervisor *s, struct process *out)
{
    pid_t parent = getpid();
    int pair[2], rc;

    *out = (struct process){ .channel = -1, .words = share_words() };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        rc = -errno;
        release(out);
        return rc;
    }
    s->started_ms = now_ms();
    mg_sockets_mark(s->table);
    out->channel = pair[0];
    out->pid = fork();
    rc = out->pid < 0 ? -errno : 0;
    if (out->pid == 0) {
        close(pair[0]);
        if (out != &s->child)
            release(&s->child); /* the one that it succeeds */
        s->exit_code = run_child(s, pair[1], out->words, parent);
        return 1;
    }
    close(pair[1]);
    if (rc != 0) {
        out->pid = 0;
        release(out);
    }
    return rc;
}

/* True in the child, when it has ended. */
static bool start_child(struct supervisor *s)
{
    int rc = fork_child(s, &s->child);

    if (rc >= 0)
        return rc == 1;
    mg_logf(MG_LOG_ERROR, "cannot start the gateway process: %s", strerror(-rc));
    plan_restart(s);
    return false;
}

/* ---- blame ---- */

static void count(struct supervisor *s, const struct mg_blame *blame)
{
    char text[400];

    if (!mg_quarantine_count(&s->quarantine, blame, now_ms(), mg_clock_wall_us()))
        return;
    mg_blame_text(blame, text, sizeof text);
    mg_logf(MG_LOG_ERROR, "quarantine: %s: too many crashes or stalls; it is left out from now on", text);
}

/* Did it leave word whose fault its end is? Without words, SIGKILL is the kernel's way to say that memory ran out. */
static bool blame_end(struct supervisor *s, const struct process *p, int status)
{
    const struct mg_last_words *w = p->words;

    if (w && __atomic_load_n(&w->is_there, __ATOMIC_ACQUIRE))
        count(s, &w->blame);
    else if (w && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && __atomic_load_n(&w->is_held, __ATOMIC_ACQUIRE))
        count(s, &w->held);
    else
        return false;
    return true;
}

/* ---- a successor, while the old process finishes what it has ---- */

/* True in the child, when it has ended. */
static bool succeed(struct supervisor *s)
{
    struct process next;
    int rc;

    s->successor_at_ms = 0;
    if (s->old_n == OLD_MAX) { /* the first of them has had its time */
        kill(s->old[0].pid, SIGKILL);
        mg_logf(MG_LOG_ERROR, "too many gateway processes are held by plugins: a successor waits");
        s->successor_at_ms = now_ms() + AGAIN_MS;
        return false;
    }
    rc = fork_child(s, &next);
    if (rc != 0) {
        if (rc < 0) {
            mg_logf(MG_LOG_ERROR, "cannot start a successor: %s", strerror(-rc));
            s->successor_at_ms = now_ms() + AGAIN_MS;
        }
        return rc == 1;
    }
    mg_logf(MG_LOG_WARN, "a worker of the gateway process does not come back: a successor starts beside it");
    s->child.kill_at_ms = now_ms() + s->quarantine.rules.end_ms;
    s->old[s->old_n++] = s->child;
    s->child = next;
    return false;
}

static void end_late(struct supervisor *s)
{
    for (int i = 0; i < s->old_n; i++)
        if (now_ms() >= s->old[i].kill_at_ms) {
            mg_logf(MG_LOG_WARN, "a gateway process that has a successor does not end: killed");
            kill(s->old[i].pid, SIGKILL);
            s->old[i].kill_at_ms = INT64_MAX;
        }
}

/* ---- what a child says ---- */

/* True in a child that has ended. */
static bool heed(struct supervisor *s, const struct mg_word *word)
{
    switch (word->note) {
    case MG_NOTE_READY:
        s->was_ready = true;
        mg_sockets_sweep(s->table);
        for (int i = 0; i < s->old_n; i++)
            kill(s->old[i].pid, SIGUSR2); /* hand over and drain; again is no harm */
        break;
    case MG_NOTE_STOPPING: s->child.says_stopping = true; break;
    case MG_NOTE_RULES: s->quarantine.rules = word->rules; return false;
    case MG_NOTE_RELEASED: (void)mg_quarantine_release(&s->quarantine, &word->blame); return false;
    case MG_NOTE_STALLED:
        count(s, &word->blame);
        return !s->is_stopping && succeed(s);
    default: break;
    }
    if (word->note)
        mg_notify(word->note);
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

/* The last one that is to be waited for has ended. */
static void check_done(struct supervisor *s)
{
    s->is_done = s->is_stopping && s->child.pid == 0 && s->old_n == 0;
}

/* It has ended, and what it said last may still lie there. Only of a stall no more needs to be done. */
static void hear_out(struct supervisor *s)
{
    struct pollfd fd = { .fd = s->child.channel, .events = POLLIN };
    struct mg_word word;

    if (fd.fd < 0 || poll(&fd, 1, 0) <= 0)
        return;
    (void)mg_binder_serve(fd.fd, s->table, false, &word);
    if (word.note != MG_NOTE_STALLED)
        (void)heed(s, &word);
}

/* Signals that came before the gateway took them end it as well. */
static bool ended_as_told(const struct supervisor *s, int status)
{
    return s->is_stopping && WIFSIGNALED(status) && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGQUIT);
}

static void child_ended(struct supervisor *s, int status)
{
    bool blamed, clean, is_over;

    hear_out(s);
    blamed = blame_end(s, &s->child, status);
    clean = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !blamed && (s->child.says_stopping || !s->was_ready);
    is_over = clean || ended_as_told(s, status) || s->is_stopping || (!s->was_ready && !(blamed && s->quarantine.rules.crashes > 0));

    s->successor_at_ms = 0; /* this one's end brings one */
    release(&s->child);
    if (!clean && !ended_as_told(s, status) && (s->was_ready || WIFSIGNALED(status)))
        tell_end(status);
    if (!is_over) {
        plan_restart(s);
        return;
    }
    s->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : ended_as_told(s, status) ? 0 : 1;
    s->is_stopping = true;
    check_done(s);
}

static void old_ended(struct supervisor *s, int i)
{
    mg_logf(MG_LOG_INFO, "the gateway process that had a successor has ended");
    release(&s->old[i]);
    s->old_n--;
    memmove(&s->old[i], &s->old[i + 1], (size_t)(s->old_n - i) * sizeof s->old[0]);
    check_done(s);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < s->old_n; i++)
            if (pid == s->old[i].pid) {
                old_ended(s, i);
                break;
            }
        if (pid == s->child.pid)
            child_ended(s, status);
    }
}

/* ---- signals ---- */

static void forward(struct supervisor *s, int number, bool old_too)
{
    if (s->child.pid > 0)
        kill(s->child.pid, number);
    for (int i = 0; old_too && i < s->old_n; i++)
        kill(s->old[i].pid, number);
}

static void stop(struct supervisor *s, bool at_once)
{
    s->is_stopping = true;
    s->successor_at_ms = 0;
    forward(s, at_once ? SIGQUIT : SIGTERM, true);
    check_done(s);
}

static void on_signal(struct supervisor *s, int number)
{
    switch (number) {
    case SIGCHLD: reap(s); break;
    case SIGHUP:
        forward(s, SIGHUP, false);
        if (s->child.pid == 0 && !s->is_stopping)
            s->restart_at_ms = now_ms(); /* somebody mended the config */
        break;
    case SIGUSR1: forward(s, SIGUSR1, true); break;
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

/* ---- questions of the children ---- */

/* True in a child that has ended. */
static bool answer(struct supervisor *s, struct process *p)
{
    struct mg_word word;
    bool is_old = p != &s->child;

    /* It is gone, and SIGCHLD will say so; or else it must not wait for an answer. What it said counts in any case. */
    if (mg_binder_serve(p->channel, s->table, is_old, &word) != 0) {
        close(p->channel);
        p->channel = -1;
    }
    return !is_old && heed(s, &word);
}

static int wait_ms(const struct supervisor *s)
{
    int64_t until = s->child.pid > 0 || s->is_stopping ? INT64_MAX : s->restart_at_ms, left;

    if (s->successor_at_ms && s->successor_at_ms < until)
        until = s->successor_at_ms;
    for (int i = 0; i < s->old_n; i++)
        until = s->old[i].kill_at_ms < until ? s->old[i].kill_at_ms : until;
    if (until == INT64_MAX)
        return -1;
    left = until - now_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static struct pollfd listen_to(const struct process *p)
{
    return (struct pollfd){ .fd = p->channel, .events = POLLIN };
}

/* True in a child that has ended. */
static bool turn(struct supervisor *s)
{
    struct pollfd fds[2 + OLD_MAX] = { { .fd = s->signals, .events = POLLIN }, listen_to(&s->child) };
    int old_n = s->old_n, rc;

    for (int i = 0; i < old_n; i++)
        fds[2 + i] = listen_to(&s->old[i]);
    rc = poll(fds, (nfds_t)(2 + old_n), wait_ms(s));
    if (rc < 0 && errno != EINTR) {
        mg_logf(MG_LOG_ERROR, "poll: %s", strerror(errno));
        s->is_done = true;
        s->exit_code = 1;
        return false;
    }
    for (int i = 0; rc > 0 && i < old_n; i++)
        if (fds[2 + i].revents)
            (void)answer(s, &s->old[i]);
    if (rc > 0 && fds[1].revents && answer(s, &s->child))
        return true;
    read_signals(s);
    end_late(s);
    if (s->child.pid == 0 && !s->is_stopping && !s->is_done && now_ms() >= s->restart_at_ms)
        return start_child(s);
    if (s->successor_at_ms && s->child.pid > 0 && !s->is_stopping && now_ms() >= s->successor_at_ms)
        return succeed(s);
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
    struct supervisor s = { .options = options, .child = { .channel = -1 }, .signals = -1 };
    bool in_child = false;

    raise_fd_limit();
    mg_quarantine_init(&s.quarantine);
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
