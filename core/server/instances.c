#include "server/instances.h"
#include "plugin/alarm.h"

/* For the crash report, and the watch. The trial has no workers of its own. */
static void runs(const struct mg_chain_entry *e, int at)
{
    if (mg_this_worker)
        mg_worker_runs(mg_this_worker, NULL, e, at);
    else
        mg_calling = (struct mg_calling){ e, at };
}

static void leave_first(struct mg_snapshot *s, int worker, size_t n)
{
    if (mg_this_worker) {
        mg_alarms_end(mg_this_worker, s);
        mg_tasks_end(mg_this_worker, s);
    }
    while (n-- > 0) {
        struct mg_chain_entry *e = s->all_entries[n];

        runs(e, MG_AT_WORKER_DESTROY);
        if (e->plugin->worker_destroy)
            e->plugin->worker_destroy(e->self, e->locals[worker]);
        runs(NULL, 0);
        e->locals[worker] = NULL;
    }
}

int mg_instances_begin(struct mg_snapshot *s, int worker, struct mg_error *err)
{
    int rc;

    for (size_t i = 0; i < s->all_entries_n; i++) {
        struct mg_chain_entry *e = s->all_entries[i];

        runs(e, MG_AT_WORKER_CREATE);
        rc = e->plugin->worker_create ? e->plugin->worker_create(e->self, &e->locals[worker]) : 0;
        runs(NULL, 0);
        if (rc != 0) {
            leave_first(s, worker, i);
            return mg_fail(err, rc, "plugin %s (%.*s): worker_create failed on worker %d: %s", e->plugin->name,
                           (int)e->info.id.n, e->info.id.p, worker, mg_error_name(rc));
        }
    }
    return 0;
}

static void finish(struct mg_entering *e)
{
    void (*done)(struct mg_entering *, const struct mg_error *) = e->done;

    e->done = NULL;
    done(e, &e->error);
}

static void entered(struct mg_script_entering *script, int status)
{
    struct mg_entering *e = mg_container(script, struct mg_entering, script);

    if (status != 0) {
        leave_first(e->snapshot, e->worker->index, e->snapshot->all_entries_n);
        mg_fail(&e->error, status, "a script's on_worker failed on worker %d (see the log)", e->worker->index);
    }
    finish(e);
}

void mg_instances_enter(struct mg_entering *e, struct mg_snapshot *s, struct mg_worker *w,
                        void (*done)(struct mg_entering *e, const struct mg_error *err))
{
    int rc;

    *e = (struct mg_entering){ .snapshot = s, .worker = w, .done = done };
    rc = mg_instances_begin(s, w->index, &e->error);
    if (rc == 0)
        mg_script_enter(&e->script, s->script, w, mg_task_terms_of(s).on_worker_ms, entered);
    else if (e->error.code == 0)
        e->error.code = rc;
    if (rc != 0)
        finish(e);
}

void mg_instances_stop(struct mg_entering *e)
{
    if (!e->done)
        return;
    e->done = NULL;
    mg_script_enter_stop(&e->script);
    mg_instances_leave(e->snapshot, e->worker->index);
}

void mg_instances_leave(struct mg_snapshot *s, int worker)
{
    leave_first(s, worker, s->all_entries_n);
}

void mg_instances_destroy(struct mg_snapshot *s)
{
    for (size_t i = s->all_entries_n; i-- > 0;) {
        struct mg_chain_entry *e = s->all_entries[i];

        if (!mg_script_is_lua(e->plugin) && e->plugin->create && e->plugin->destroy)
            e->plugin->destroy(e->self);
    }
}
