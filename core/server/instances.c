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

int mg_instances_enter(struct mg_snapshot *s, int worker, struct mg_error *err)
{
    int rc = mg_instances_begin(s, worker, err);

    if (rc != 0)
        return rc;
    rc = s->script ? mg_script_enter(s->script, worker) : 0;
    if (rc != 0) {
        leave_first(s, worker, s->all_entries_n);
        return mg_fail(err, rc, "a script's on_worker failed on worker %d (see the log)", worker);
    }
    return 0;
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
