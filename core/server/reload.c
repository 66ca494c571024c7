#include "server/reload.h"

#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "proxy/proxy.h"
#include "server/addresses.h"
#include "server/build.h"
#include "server/gateway.h"
#include "server/instances.h"
#include "server/onsave.h"
#include "service/dns.h"
#include "service/store.h"

enum { SWEEP_MS = 50, RESOLVE_MS = 2000, END_MS = 10000 };

struct mg_reload_job {
    struct mg_job job;
    struct mg_gateway *gateway;
    int workers;                /* that run: those that leave need their part of it too */
    struct mg_build build;
    struct mg_list opened;      /* sockets of addresses that were not served before */
};

static void begin(struct mg_reload *r);

/* ---- what is told ---- */

static void log_lines(int level, const char *text)
{
    struct mg_str rest = mg_str_c(text), line;

    while (mg_str_next(&rest, '\n', &line))
        if (line.n)
            mg_logf(level, "%.*s", (int)line.n, line.p);
}

static void answer_waiters(struct mg_list *waiters, bool ok, const char *text)
{
    while (!mg_list_empty(waiters)) {
        struct mg_reload_waiter *w = mg_container(mg_list_first(waiters), struct mg_reload_waiter, node);

        mg_list_remove(&w->node);
        w->done(w, ok, text);
    }
}

/* text: malloc'ed, taken; NULL when there was no memory for it. */
static void finish(struct mg_reload *r, bool ok, char *text)
{
    struct mg_gateway *g = r->gateway;

    r->phase = MG_RELOAD_IDLE;
    r->last_ok = ok;
    r->last_us = mg_clock_wall_us();
    free(r->last_text);
    r->last_text = text;
    if (ok)
        r->reloads_ok++;
    else
        r->reloads_failed++;
    answer_waiters(&r->waiters, ok, text ? text : "");
    if (g->onsave)
        mg_onsave_told(g->onsave, ok, text ? text : "");
    if (g->state == MG_GW_SERVING)
        mg_binder_note(g->binder, MG_NOTE_READY);
    if (g->state == MG_GW_STARTING && !ok)
        mg_gateway_fail(g, 1);
    if (r->again && g->state <= MG_GW_SERVING)
        begin(r);
}

static void finish_failed(struct mg_reload *r, char *text)
{
    mg_logf(MG_LOG_ERROR, r->gateway->snapshot ? "reload refused: the snapshot in force serves on" : "cannot start");
    if (!r->gateway->onsave || mg_log_fd() != STDERR_FILENO) /* else the terminal gets them with their lines */
        log_lines(MG_LOG_ERROR, text ? text : "out of memory");
    finish(r, false, text);
}

/* ---- building, on the builder thread ---- */

static char *text_of(const struct mg_error *err)
{
    return strdup(err->message[0] ? err->message : mg_error_name(err->code));
}

static int open_scripts(struct mg_reload_job *job, struct mg_error *err)
{
    struct mg_snapshot *s = job->build.snapshot;
    int n = s->workers > job->workers ? s->workers : job->workers;

    for (int i = 0; s->script && i < n; i++) {
        int rc = mg_script_open(s->script, i, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Its files become those of the user that we are about to become. */
static int open_store(struct mg_snapshot *s, struct mg_error *err)
{
    struct passwd *user = s->user.n ? getpwnam(s->user.p) : NULL;
    struct group *group = s->group.n ? getgrnam(s->group.p) : NULL;

    if (!s->store_path.n)
        return 0;
    s->store = mg_store_open(s->store_path.p, err);
    if (!s->store)
        return err->code;
    if (user && geteuid() == 0)
        mg_store_chown(s->store, user->pw_uid, group ? group->gr_gid : user->pw_gid);
    return 0;
}

static void run_build(struct mg_job *j)
{
    struct mg_reload_job *job = mg_container(j, struct mg_reload_job, job);
    struct mg_error err = { 0 };

    if (mg_snapshot_build(&job->build) != 0) {
        job->build.snapshot = NULL;
        return;
    }
    if (mg_addresses_name(job->build.snapshot) != 0)
        mg_fail(&err, MG_ENOMEM, "out of memory");
    if (err.code != 0 || open_store(job->build.snapshot, &err) != 0 || open_scripts(job, &err) != 0 || mg_addresses_open(job->gateway, job->build.snapshot, &job->opened, &err) != 0) {
        job->build.mistakes = text_of(&err);
        mg_snapshot_free(job->build.snapshot);
        job->build.snapshot = NULL;
    }
}

/* What a snapshot leaves behind in the allocator goes back to the system: reloads must not grow the process. */
static void run_free(struct mg_job *j)
{
    struct mg_generation *gen = mg_container(j, struct mg_generation, free_job);

    mg_snapshot_free(gen->snapshot);
    malloc_trim(0);
}

static void freed(struct mg_job *j)
{
    struct mg_generation *gen = mg_container(j, struct mg_generation, free_job);
    struct mg_reload *r = gen->reload;

    memset(gen, 0, sizeof *gen);
    if (r->gateway->upstreams)
        mg_upstream_control_update(r->gateway->upstreams);
    if (r->again && r->phase == MG_RELOAD_IDLE && r->gateway->state <= MG_GW_SERVING)
        begin(r);
}

/* Nobody uses it any more: to the builder with it. */
static void free_generation(struct mg_reload *r, struct mg_generation *gen)
{
    gen->is_leaving = true;
    gen->reload = r;
    gen->free_job = (struct mg_job){ .run = run_free, .done = freed };
    mg_builder_do(r->gateway->builder, &gen->free_job);
}

/* ---- retired generations ---- */

static uint64_t pins_of(struct mg_gateway *g, int slot)
{
    uint64_t n = atomic_load_explicit(&g->control.worker.pins[slot], memory_order_acquire);

    for (int i = 0; i < g->workers_n; i++)
        n += atomic_load_explicit(&g->workers[i].worker.pins[slot], memory_order_acquire);
    return n;
}

static void left(struct mg_worker *control, void *arg)
{
    struct mg_generation *gen = arg;
    struct mg_gateway *g = mg_container(control, struct mg_gateway, control.worker);

    if (--gen->leaving == 0)
        free_generation(&g->reload, gen);
}

static void leave_here(struct mg_worker *w, void *arg)
{
    struct mg_generation *gen = arg;
    struct mg_thread *t = mg_container(w, struct mg_thread, worker);

    mg_instances_leave(gen->snapshot, w->index);
    mg_gateway_post(&t->gateway->control.worker, left, gen);
}

static void leave(struct mg_reload *r, struct mg_generation *gen)
{
    struct mg_gateway *g = r->gateway;

    gen->is_leaving = true;
    gen->leaving = 0;
    for (int i = 0; i < g->workers_n; i++)
        gen->leaving += (gen->entered & (UINT64_C(1) << i)) != 0;
    for (int i = 0; i < g->workers_n; i++)
        if (gen->entered & (UINT64_C(1) << i))
            mg_gateway_post(&g->workers[i].worker, leave_here, gen);
}

/* ---- leaving workers ---- */

static void close_idle_here(struct mg_worker *w, void *arg)
{
    (void)arg;
    if (w->is_leaving)
        mg_client_drain_all(w);
}

/* One that leaves is like the others, without listeners: it follows snapshots until its last connection has gone. True when nobody
 * leaves. */
static bool end_workers(struct mg_reload *r)
{
    struct mg_gateway *g = r->gateway;
    int wanted = g->snapshot ? g->snapshot->workers : g->workers_n;
    bool is_alone = r->phase == MG_RELOAD_IDLE && g->state == MG_GW_SERVING;

    if (g->workers_n <= wanted || g->state > MG_GW_SERVING)
        return true;
    for (int i = 0; i < MG_GENERATIONS; i++)
        is_alone = is_alone && (!r->generations[i].snapshot || r->generations[i].snapshot == g->snapshot);
    if (is_alone)
        mg_gateway_end_workers(g, wanted);
    for (int i = 0; i < MG_GENERATIONS; i++) /* another worker may take the place of one that has ended */
        r->generations[i].entered &= (UINT64_C(1) << g->workers_n) - 1;
    if (r->leave_deadline_ms && mg_loop_now_ms(&g->control.worker.loop) >= r->leave_deadline_ms) {
        r->leave_deadline_ms = 0;
        for (int i = wanted; i < g->workers_n; i++)
            mg_gateway_post(&g->workers[i].worker, close_idle_here, NULL);
    }
    return g->workers_n <= wanted;
}

static void on_sweep(uv_timer_t *timer)
{
    struct mg_reload *r = timer->data;
    bool is_done = true;

    for (int i = 0; i < MG_GENERATIONS; i++) {
        struct mg_generation *gen = &r->generations[i];

        if (!gen->snapshot || !gen->is_retired || gen->is_leaving)
            continue;
        if (pins_of(r->gateway, i) == 0)
            leave(r, gen);
        else
            is_done = false;
    }
    if (end_workers(r) && is_done)
        uv_timer_stop(timer);
}

static void begin_sweep(struct mg_reload *r)
{
    uv_timer_start(&r->sweep, on_sweep, 0, SWEEP_MS);
}

static void retire(struct mg_reload *r, struct mg_snapshot *s)
{
    r->generations[s->slot].is_retired = true;
    if (s->workers > r->gateway->snapshot->workers)
        r->leave_deadline_ms = mg_loop_now_ms(&r->gateway->control.worker.loop) + r->gateway->snapshot->drain_ms;
    begin_sweep(r);
}

/* ---- committing ---- */

/* Somebody changed what only a start can change. */
static bool is_another_user(const struct mg_gateway *g)
{
    return !mg_str_eq(g->snapshot->user, mg_str_c(g->user)) || !mg_str_eq(g->snapshot->group, mg_str_c(g->group));
}

/* What the supervisor is to go by from now on. */
static void tell_rules(struct mg_gateway *g)
{
    const struct mg_snapshot *s = g->snapshot;
    struct mg_word word = { .note = MG_NOTE_RULES,
                            .rules = { s->quarantine_crashes, s->quarantine_window_ms, s->drain_ms + MG_THREAD_JOIN_MS + END_MS } };

    mg_binder_tell(g->binder, &word);
}

static void committed(struct mg_worker *control, void *arg)
{
    struct mg_reload *r = arg;
    struct mg_gateway *g = r->gateway;
    struct mg_snapshot *old = g->snapshot;
    char *text = NULL;

    (void)control;
    if (--r->waiting > 0)
        return;
    g->snapshot = r->next;
    r->next = NULL;
    mg_addresses_committed(g, &r->opened);
    tell_rules(g);
    if (old)
        retire(r, old);
    if (asprintf(&text, "snapshot %llu is in force%s", (unsigned long long)g->snapshot->number,
                 is_another_user(g) ? "; another `user` or `group` takes a restart" : "") < 0)
        text = NULL;
    if (is_another_user(g))
        mg_logf(MG_LOG_WARN, "the config has another `user` or `group`: that takes a restart");
    mg_log_number_c("snapshot", (double)g->snapshot->number);
    mg_log_text_c("digest", g->snapshot->digest);
    mg_logf(MG_LOG_INFO, old ? "reloaded" : "started");
    if (!old)
        mg_gateway_ready(g);
    finish(r, true, text);
}

static void listeners_closed(struct mg_listeners *l, void *arg)
{
    struct mg_thread *t = mg_container(l, struct mg_thread, listeners);

    (void)arg;
    mg_gateway_post(&t->gateway->control.worker, committed, &t->gateway->reload);
}

static void commit_here(struct mg_worker *w, void *arg)
{
    struct mg_reload *r = arg;
    struct mg_thread *t = mg_container(w, struct mg_thread, worker);

    mg_proxy_snapshot(w, r->next);
    t->entered = NULL;
    w->is_leaving = !t->is_control && w->index >= r->next->workers;
    w->is_draining = false;
    mg_addresses_apply(t, r->next, &r->opened);
    mg_listeners_close(&t->listeners, mg_addresses_keep, r->next, listeners_closed, NULL);
}

static void each_worker(struct mg_reload *r, void (*fn)(struct mg_worker *, void *), bool control_too)
{
    struct mg_gateway *g = r->gateway;

    r->waiting = g->workers_n + (control_too ? 1 : 0);
    for (int i = 0; i < g->workers_n; i++)
        mg_gateway_post(&g->workers[i].worker, fn, r);
    if (control_too)
        mg_gateway_post(&g->control.worker, fn, r);
}

static void commit(struct mg_reload *r)
{
    struct mg_error err = { 0 };

    if (mg_log_configure(&r->next->log, &err) != 0)
        mg_logf(MG_LOG_ERROR, "%s", err.message);
    if (mg_shared_configure(r->next->shared, r->next->shared_n) != 0)
        mg_logf(MG_LOG_ERROR, "shared: not all dictionaries could be made");
    r->phase = MG_RELOAD_COMMITTING;
    each_worker(r, commit_here, true);
}

/* ---- preparing ---- */

/* Names are asked for as s says: by the next snapshot as soon as its names are to be resolved, and by the one in force again when that
 * comes to nothing. */
static void resolve_by(struct mg_gateway *g, const struct mg_snapshot *s)
{
    struct mg_error err = { 0 };

    if (s && (mg_upstream_control_resolver(g->upstreams, &s->resolver, &err) != 0 ||
              mg_dns_resolver(g->control.worker.dns, &s->resolver, &err) != 0))
        mg_logf(MG_LOG_ERROR, "%s", err.message);
}

static void abandon(struct mg_reload *r)
{
    char *text = text_of(&r->error);

    resolve_by(r->gateway, r->gateway->snapshot);
    mg_addresses_abandon(r->gateway, &r->opened);
    free_generation(r, &r->generations[r->next->slot]);
    r->next = NULL;
    begin_sweep(r); /* of the workers that it wanted more */
    finish_failed(r, text);
}

static void undone(struct mg_worker *control, void *arg)
{
    (void)control;
    if (--((struct mg_reload *)arg)->waiting == 0)
        abandon(arg);
}

static void undo_here(struct mg_worker *w, void *arg)
{
    struct mg_reload *r = arg;

    struct mg_thread *t = mg_container(w, struct mg_thread, worker);

    if (t->entered)
        mg_instances_leave(t->entered, w->index);
    t->entered = NULL;
    mg_gateway_post(&r->gateway->control.worker, undone, r);
}

/* What a worker has to say; it is the worker's until posted. Part of its mg_thread: no memory is asked for. */
static void prepared(struct mg_worker *control, void *arg)
{
    struct mg_thread *t = arg;
    struct mg_reload *r = &t->gateway->reload;

    (void)control;
    if (t->entering.error.code == 0)
        r->generations[r->next->slot].entered |= UINT64_C(1) << t->worker.index;
    else if (r->error.code == 0)
        r->error = t->entering.error;
    if (--r->waiting > 0)
        return;
    if (r->gateway->state > MG_GW_SERVING && r->error.code == 0)
        mg_fail(&r->error, MG_ECANCELED, "the gateway is stopping");
    if (r->error.code == 0) {
        commit(r);
        return;
    }
    r->phase = MG_RELOAD_UNDOING;
    each_worker(r, undo_here, false);
}

static void entered(struct mg_entering *e, const struct mg_error *err)
{
    struct mg_thread *t = mg_container(e, struct mg_thread, entering);

    t->entered = err->code == 0 ? e->snapshot : NULL;
    mg_gateway_post(&t->gateway->control.worker, prepared, t);
}

static void prepare_here(struct mg_worker *w, void *arg)
{
    struct mg_reload *r = arg;
    struct mg_thread *t = mg_container(w, struct mg_thread, worker);

    mg_instances_enter(&t->entering, r->next, w, entered);
}

static void resolved(void *arg)
{
    struct mg_reload *r = arg;

    if (r->phase != MG_RELOAD_RESOLVING)
        return;
    r->phase = MG_RELOAD_PREPARING;
    memset(&r->error, 0, sizeof r->error);
    each_worker(r, prepare_here, false);
}

/* ---- the way there ---- */

static void built(struct mg_job *j)
{
    struct mg_reload_job *job = mg_container(j, struct mg_reload_job, job);
    struct mg_gateway *g = job->gateway;
    struct mg_reload *r = &g->reload;
    struct mg_snapshot *s = job->build.snapshot;
    char *mistakes = job->build.mistakes;
    struct mg_error err = { 0 };

    mg_list_init(&r->opened);
    mg_addresses_move(&r->opened, &job->opened);
    free(job);
    if (!s) {
        mg_addresses_abandon(g, &r->opened);
        finish_failed(r, mistakes);
        return;
    }
    free(mistakes);
    r->next = s;
    r->generations[s->slot] = (struct mg_generation){ .snapshot = s, .number = s->number };
    if (g->state > MG_GW_SERVING || mg_gateway_start_workers(g, s, &err) != 0) {
        if (err.code == 0)
            mg_fail(&err, MG_ECANCELED, "the gateway is stopping");
        r->error = err;
        abandon(r);
        return;
    }
    r->phase = MG_RELOAD_RESOLVING;
    resolve_by(g, s);
    mg_upstream_control_update(g->upstreams);
    mg_upstream_control_ready(g->upstreams, RESOLVE_MS, resolved, r);
}

static int free_slot(const struct mg_reload *r)
{
    for (int i = 0; i < MG_GENERATIONS; i++)
        if (!r->generations[i].snapshot)
            return i;
    return -1;
}

static void begin(struct mg_reload *r)
{
    struct mg_gateway *g = r->gateway;
    struct mg_reload_job *job;
    int slot = free_slot(r);

    r->again = true;
    if (slot < 0)
        return; /* freed() calls again */
    job = calloc(1, sizeof *job);
    r->again = false;
    mg_list_init(&r->waiters);
    while (!mg_list_empty(&r->waiters_next)) {
        struct mg_list *n = mg_list_first(&r->waiters_next);

        mg_list_remove(n);
        mg_list_push(&r->waiters, n);
    }
    if (!job) {
        finish_failed(r, NULL);
        return;
    }
    if (g->state == MG_GW_SERVING)
        mg_binder_note(g->binder, MG_NOTE_RELOADING);
    r->phase = MG_RELOAD_BUILDING;
    job->job = (struct mg_job){ .run = run_build, .done = built };
    job->gateway = g;
    job->workers = g->workers_n;
    job->build = (struct mg_build){ .path = g->options.config, .number = ++r->number, .slot = slot,
                                    .workers = g->options.workers, .quarantine = g->options.quarantine, .binder = g->binder };
    mg_list_init(&job->opened);
    mg_builder_do(g->builder, &job->job);
}

void mg_reload_ask(struct mg_reload *r, struct mg_reload_waiter *waiter)
{
    if (waiter)
        mg_list_push(&r->waiters_next, &waiter->node);
    if (r->phase == MG_RELOAD_IDLE && !r->again)
        begin(r);
    else
        r->again = true;
}

void mg_reload_init(struct mg_reload *r, struct mg_gateway *g)
{
    memset(r, 0, sizeof *r);
    r->gateway = g;
    mg_list_init(&r->opened);
    mg_list_init(&r->waiters);
    mg_list_init(&r->waiters_next);
    uv_timer_init(&g->control.worker.loop.uv, &r->sweep);
    r->sweep.data = r;
}

void mg_reload_stop(struct mg_reload *r)
{
    answer_waiters(&r->waiters, false, "the gateway is stopping");
    answer_waiters(&r->waiters_next, false, "the gateway is stopping");
    uv_close((uv_handle_t *)&r->sweep, NULL);
}

void mg_reload_deinit(struct mg_reload *r)
{
    mg_addresses_abandon(r->gateway, &r->opened);
    for (int i = 0; i < MG_GENERATIONS; i++)
        if (r->generations[i].snapshot)
            mg_snapshot_free(r->generations[i].snapshot);
    memset(r->generations, 0, sizeof r->generations);
    free(r->last_text);
    r->last_text = NULL;
}
