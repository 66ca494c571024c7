#include "server/crash.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/log.h"
#include "exchange/route.h"
#include "plugin/chain.h"

enum { STACK_BYTES = 32768 };

static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
enum { FATAL_N = sizeof fatal / sizeof fatal[0] };
static struct sigaction before[FATAL_N]; /* written once, before there are threads */
static _Thread_local void *stack;

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
    static const char *const names[] = {
        [MG_ON_REWRITE] = "on_rewrite", [MG_ON_REQUEST] = "on_request", [MG_ON_REQUEST_BODY] = "on_request_body",
        [MG_ON_RESPONSE] = "on_response", [MG_ON_RESPONSE_BODY] = "on_response_body", [MG_ON_LOG] = "on_log",
    };

    if (phase < 0 || (size_t)phase >= sizeof names / sizeof names[0] || !names[phase])
        return MG_STR("?");
    return mg_str_c(names[phase]);
}

/* On the worker's own thread the exchange knows its route; another may look at what the snapshot owns, and no more. */
static struct mg_str route_of(const struct mg_worker *w, const struct mg_chain_entry *e)
{
    if (w == mg_this_worker && w->running)
        return w->running->route ? w->running->route->id : MG_STR("(none yet)");
    return e->scope.route.n ? e->scope.route : MG_STR("(the global chain)");
}

size_t mg_running_describe(const struct mg_worker *w, char *out, size_t room)
{
    const struct mg_chain_entry *e = w ? __atomic_load_n(&w->running_entry, __ATOMIC_RELAXED) : NULL;
    struct text t = { out, out + room - 1 };

    *out = '\0';
    if (!e)
        return 0;
    put(&t, MG_STR("plugin "));
    put(&t, mg_str_c(e->plugin->name));
    put(&t, MG_STR(", phase "));
    put(&t, phase_name(__atomic_load_n(&w->running_phase, __ATOMIC_RELAXED)));
    put(&t, MG_STR(", route "));
    put(&t, route_of(w, e));
    *t.at = '\0';
    return (size_t)(t.at - out);
}

static struct mg_str signal_name(int number)
{
    switch (number) {
    case SIGSEGV: return MG_STR("SIGSEGV");
    case SIGBUS: return MG_STR("SIGBUS");
    case SIGILL: return MG_STR("SIGILL");
    case SIGFPE: return MG_STR("SIGFPE");
    default: return MG_STR("SIGABRT");
    }
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
    put(&t, MG_STR("moongate: crash: "));
    put(&t, signal_name(number));
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

void mg_crash_install(void)
{
    struct sigaction sa = { .sa_sigaction = on_fatal, .sa_flags = SA_ONSTACK | SA_SIGINFO };

    sigemptyset(&sa.sa_mask);
    for (int i = 0; i < FATAL_N; i++)
        sigaction(fatal[i], &sa, &before[i]);
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
