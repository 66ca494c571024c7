#include "server/crash.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/log.h"
#include "exchange/route.h"
#include "plugin/step.h"

enum { STACK_BYTES = 32768 };

static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
enum { FATAL_N = sizeof fatal / sizeof fatal[0] };
static struct sigaction before[FATAL_N]; /* written once, before there are threads */
static _Thread_local void *stack;
static struct mg_last_words *words; /* these two as well */
static pid_t owner;

struct text { char *at, *end; };

static void put(struct text *t, struct mg_str s)
{
    size_t room = (size_t)(t->end - t->at);
    size_t n = s.n < room ? s.n : room;

    if (n)
        memcpy(t->at, s.p, n);
    t->at += n;
}

static struct mg_str phase_name(int phase)
{
    switch (phase) {
    case MG_AT_LOAD: return MG_STR("load");
    case MG_AT_CREATE: return MG_STR("create");
    case MG_AT_WORKER_CREATE: return MG_STR("worker_create");
    case MG_AT_WORKER_DESTROY: return MG_STR("worker_destroy");
    default: return mg_str_c(mg_phase_name(phase));
    }
}

/* Of a worker, or of this thread where it is none. */
struct running { const struct mg_chain_entry *entry; int phase; };

static struct running running_on(const struct mg_worker *w)
{
    if (w)
        return (struct running){ __atomic_load_n(&w->running_entry, __ATOMIC_RELAXED), __atomic_load_n(&w->running_phase, __ATOMIC_RELAXED) };
    return (struct running){ mg_calling.entry, mg_calling.phase };
}

/* On the worker's own thread the exchange knows its route; another may look at what the snapshot owns, and no more. */
static struct mg_str route_of(const struct mg_worker *w, const struct mg_chain_entry *e)
{
    if (w && w == mg_this_worker && w->running && !w->running->task)
        return w->running->route ? w->running->route->id : MG_STR("(none yet)");
    return e->scope.route.n ? e->scope.route : MG_STR("(the global chain)");
}

size_t mg_running_describe(const struct mg_worker *w, char *out, size_t room)
{
    struct running r = running_on(w);
    struct text t = { out, out + room - 1 };

    *out = '\0';
    if (!r.entry)
        return 0;
    put(&t, MG_STR("plugin "));
    put(&t, mg_str_c(r.entry->plugin->name));
    put(&t, MG_STR(", phase "));
    put(&t, phase_name(r.phase));
    if (r.phase != MG_AT_LOAD) {
        put(&t, MG_STR(", route "));
        put(&t, route_of(w, r.entry));
    }
    *t.at = '\0';
    return (size_t)(t.at - out);
}

static void copy(char *out, size_t room, struct mg_str s)
{
    struct text t = { out, out + room - 1 };

    put(&t, s);
    *t.at = '\0';
}

void mg_blame_entry(const struct mg_chain_entry *e, struct mg_blame *out)
{
    copy(out->plugin, sizeof out->plugin, mg_str_c(e->plugin->name));
    copy(out->entry, sizeof out->entry, e->info.id);
    copy(out->route, sizeof out->route, e->info.route);
    out->phase[0] = out->cause[0] = '\0';
    out->digest = e->digest;
    out->file = e->file_digest;
}

bool mg_running_blame(const struct mg_worker *w, const char *cause, struct mg_blame *out)
{
    struct running r = running_on(w);

    if (!r.entry)
        return false;
    mg_blame_entry(r.entry, out);
    copy(out->phase, sizeof out->phase, phase_name(r.phase));
    copy(out->cause, sizeof out->cause, mg_str_c(cause));
    return true;
}

void mg_crash_held(const struct mg_worker *w)
{
    if (!words)
        return;
    __atomic_store_n(&words->is_held, 0, __ATOMIC_RELEASE);
    if (w && mg_running_blame(w, "SIGKILL", &words->held))
        __atomic_store_n(&words->is_held, 1, __ATOMIC_RELEASE);
}

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    case SIGFPE: return "SIGFPE";
    default: return "SIGABRT";
    }
}

static void leave_words(const char *cause)
{
    if (words && !__atomic_load_n(&words->is_there, __ATOMIC_ACQUIRE) && mg_running_blame(mg_this_worker, cause, &words->blame))
        __atomic_store_n(&words->is_there, 1, __ATOMIC_RELEASE);
}

/* A plugin that calls exit() takes the process along as a crash does. */
static void on_exit_inside(void)
{
    char what[320];

    if (getpid() != owner || mg_running_describe(mg_this_worker, what, sizeof what) == 0)
        return;
    mg_logf(MG_LOG_ERROR, "exit() was called in %s", what);
    leave_words("exit");
}

/* The former action comes back: a core file, a sanitizer's report. */
static void restore(int number)
{
    for (int i = 0; i < FATAL_N; i++)
        if (fatal[i] == number)
            sigaction(number, &before[i], NULL);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    char line[512], what[320];
    struct text t = { line, line + sizeof line - 1 };
    size_t n = mg_running_describe(mg_this_worker, what, sizeof what);

    (void)context;
    leave_words(signal_name(number));
    put(&t, MG_STR("moongate: crash: "));
    put(&t, mg_str_c(signal_name(number)));
    put(&t, n ? MG_STR(" in ") : MG_STR(" outside of any plugin"));
    put(&t, mg_str(what, n));
    *t.at++ = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)(t.at - line));
    if (mg_log_fd() != STDERR_FILENO)
        (void)!write(mg_log_fd(), line, (size_t)(t.at - line));
    restore(number);
    /* A fault happens again when we return; a signal that somebody sent does not. */
    if (number == SIGABRT || info->si_code <= 0)
        raise(number);
}

void mg_crash_install(struct mg_last_words *page)
{
    struct sigaction sa = { .sa_sigaction = on_fatal, .sa_flags = SA_ONSTACK | SA_SIGINFO };

    words = page;
    owner = getpid();
    atexit(on_exit_inside);
    sigemptyset(&sa.sa_mask);
    for (int i = 0; i < FATAL_N; i++)
        sigaction(fatal[i], &sa, &before[i]);
}

void mg_crash_mask(sigset_t *out)
{
    sigfillset(out);
    for (int i = 0; i < FATAL_N; i++)
        sigdelset(out, fatal[i]);
}

int mg_crash_thread_enter(void)
{
    stack_t s = { .ss_size = STACK_BYTES }, old;

    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE))
        return 0; /* a sanitizer has given this thread one */
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) {
        stack = NULL;
        return MG_ENOMEM;
    }
    s.ss_sp = stack;
    return sigaltstack(&s, NULL);
}

void mg_crash_thread_leave(void)
{
    stack_t s = { .ss_flags = SS_DISABLE };

    if (!stack)
        return;
    sigaltstack(&s, NULL);
    munmap(stack, STACK_BYTES);
    stack = NULL;
}
