/* step.c - one call into a plugin, and what its verdict is worth. */
#include "plugin/watch.h"
#include "plugin/pull.h"
#include "plugin/private_ctx.h"
#include "exchange/account.h"
#include "pdk/problem.h"
#include "script/script.h"

int (*mg_chain_when)(struct mg_exchange *x, int32_t function);

const char *mg_phase_name(int phase)
{
    static const char *const names[] = {
        [MG_ON_REWRITE] = "on_rewrite", [MG_ON_REQUEST] = "on_request", [MG_ON_REQUEST_BODY] = "on_request_body",
        [MG_ON_RESPONSE] = "on_response", [MG_ON_RESPONSE_BODY] = "on_response_body", [MG_ON_LOG] = "on_log",
        [MG_ON_STREAM] = "stream", [MG_ON_WORKER] = "on_worker", [MG_ON_TASK] = "task"
    };

    return phase >= 0 && (size_t)phase < sizeof names / sizeof names[0] && names[phase] ? names[phase] : "?";
}

static bool is_body(int phase)
{
    return phase == MG_ON_REQUEST_BODY || phase == MG_ON_RESPONSE_BODY;
}

/* What runs beside the phases of heads. */
static bool is_beside(int phase)
{
    return is_body(phase) || phase == MG_ON_STREAM;
}

/* Most calls log nothing, and most exchanges need no id. */
static struct mg_str id_of(void *x)
{
    return mg_exchange_id(x);
}

void mg_frame_enter(struct mg_exchange *x, struct mg_frame *f, const struct mg_chain_entry *e, int phase)
{
    struct mg_worker *w = x->worker;

    f->running = w->running;
    f->running_entry = w->running_entry;
    f->running_phase = w->running_phase;
    f->phase = x->phase;
    f->entry = x->entry;
    f->scope = (struct mg_log_scope){ .plugin = e->scope.plugin, .route = e->scope.route, .id_of = id_of, .of = x };
    mg_worker_runs(w, x, e, phase);
    x->phase = (uint8_t)phase;
    x->entry = (uint8_t)e->index;
    x->in_step = true;
    x->told_why = false;
    f->answer_head = x->answer_head;
    f->answer = x->answer;
    if (is_beside(phase)) /* a head's entry may wait meanwhile, with an answer of its own */
        x->answer_head = NULL;
    mg_log_set_scope(&f->scope);
    f->account = w->accounts ? w->accounts + e->account : NULL;
    f->since = mg_account_begin(f->account);
}

void mg_frame_leave(struct mg_exchange *x, const struct mg_frame *f, enum mg_verdict v)
{
    mg_account_end(f->account, f->since);
    mg_log_set_scope(NULL);
    if (is_beside(x->phase) && v != MG_RESPOND) {
        x->answer_head = f->answer_head;
        x->answer = f->answer;
    }
    x->in_step = false;
    mg_loop_time_passed(&x->worker->loop);
    mg_worker_runs(x->worker, f->running, f->running_entry, f->running_phase);
    x->phase = f->phase;
    x->entry = f->entry;
}

/* An operation that it may wait for, under way or ended; NULL: it has none. */
static struct mg_op *op_of(struct mg_exchange *x, const struct mg_chain_entry *e, int phase)
{
    mg_list_each(n, &x->ops)
    {
        struct mg_op *op = mg_container(n, struct mg_op, node);

        if (op->entry == e->index && op->phase == phase)
            return op;
    }
    return NULL;
}

static enum mg_verdict fail(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, const char *why)
{
    struct mg_body *b = &x->body[phase == MG_ON_RESPONSE_BODY ? MG_RESPONSE : MG_REQUEST];

    if (!x->told_why) {
        mg_log_text_c("phase", mg_str_c(mg_phase_name(phase)));
        mg_logf(MG_LOG_ERROR, "%s", why);
    }
    x->answer_head = NULL;
    if (x->worker->accounts)
        mg_account_add(&x->worker->accounts[e->account].errors, 1);
    if (x->trace)
        mg_trace_why(x, mg_str_c(why));
    if (!e->continue_on_error || e->observe || phase == MG_ON_STREAM || (!is_body(phase) && mg_pull_has_spent(x)))
        return MG_ERROR;
    if (is_body(phase))
        b->piece = b->before;
    else
        mg_undo_apply(x);
    return MG_CONTINUE;
}

/* Still inside the frame, so that what is logged names the plugin. */
static enum mg_verdict settle(struct mg_exchange *x, struct mg_chain_entry *e, int phase, enum mg_verdict v)
{
    switch (v) {
    case MG_CONTINUE:
        x->answer_head = NULL; /* recorded but not meant */
        if (!is_beside(phase) && !e->observe)
            x->undo = NULL;
        return v;
    case MG_WAIT:
        if (op_of(x, e, phase))
            return v;
        return fail(x, e, phase, "the plugin waits, but for nothing that is under way");
    case MG_RESPOND:
        if (x->answer_head) {
            if (!is_body(phase) && !e->observe)
                x->undo = NULL;
            return v;
        }
        return fail(x, e, phase, "the plugin says that it answers, but recorded no answer");
    case MG_ERROR:
        return fail(x, e, phase, "the plugin failed");
    }
    return fail(x, e, phase, "the plugin returned something that is no verdict");
}

/* What an observed entry's `when` changes is put back as what the entry changes is. */
static int observed_when(struct mg_exchange *x, const struct mg_chain_entry *e)
{
    struct mg_head *answer_head = x->answer_head;
    struct mg_undo *undo = x->undo; /* of an entry that waits, while this one is asked beside it */
    int r = MG_ENOMEM;

    if (mg_private_ctx_enter(x, e))
        return r;
    if (mg_undo_save(x) == 0) {
        r = mg_chain_when(x, e->when);
        mg_undo_apply(x);
    }
    x->undo = undo;
    x->answer_head = answer_head;
    mg_private_ctx_leave(x, e, NULL, NULL);
    return r;
}

static int ask_when(struct mg_exchange *x, const struct mg_chain_entry *e)
{
    if (!mg_chain_when)
        return MG_ENOENT;
    return e->observe ? observed_when(x, e) : mg_chain_when(x, e->when);
}

int mg_step_takes_part(struct mg_exchange *x, struct mg_chain_entry *e, int phase)
{
    uint64_t bit = (uint64_t)1 << e->index;
    struct mg_frame f;
    int r;

    if ((phase == MG_ON_RESPONSE || phase == MG_ON_RESPONSE_BODY) && !(x->began & bit))
        return 0;
    if (e->observe && x->over & bit && phase != MG_ON_LOG)
        return 0;
    if (e->when < 0)
        return 1;
    if (x->seen & bit)
        return !(x->skipped & bit);
    x->seen |= bit;
    mg_frame_enter(x, &f, e, phase);
    r = ask_when(x, e);
    if (r < 0 && (fail(x, e, phase, "the entry's `when` failed") == MG_CONTINUE || e->observe))
        r = 0;
    mg_frame_leave(x, &f, MG_CONTINUE);
    if (r <= 0)
        x->skipped |= bit;
    if (r <= 0 && x->trace)
        mg_trace_skipped(x, e, phase);
    return r;
}

static enum mg_verdict wake(struct mg_exchange *x, struct mg_chain_entry *e, int op, int status)
{
    if (!e->plugin->on_wake)
        return MG_CONTINUE;
    return e->plugin->on_wake(mg_handle_of(x), e->self, e->locals[x->worker->index], op, status);
}

/* What an observed entry took of the exchange's memory, others need not go without: the budget grows by it, to twice what it was
 * at most. */
static void make_good(struct mg_exchange *x, size_t used_before)
{
    size_t took = x->arena.used - used_before, at_most = x->arena.budget - x->observed_bytes;

    if (took > at_most - x->observed_bytes)
        took = at_most - x->observed_bytes;
    x->arena.budget += took;
    x->observed_bytes += took;
}

/* A call that somebody looks at, or that may have to be undone. fn NULL: it has been woken. */
static enum mg_verdict watched(struct mg_exchange *x, struct mg_chain_entry *e, int phase, mg_phase_fn *fn, int op, int status)
{
    enum mg_verdict v;
    struct mg_watch w;
    size_t used = x->arena.used;

    if (mg_watch_begin(x, e, phase, !fn, &w)) {
        v = fail(x, e, phase, "no memory left to keep what the plugin may change; it was skipped");
        return e->observe ? MG_CONTINUE : v;
    }
    v = fn ? fn(mg_handle_of(x), e->self, e->locals[x->worker->index]) : wake(x, e, op, status);
    v = mg_watch_end(x, e, phase, settle(x, e, phase, v), &w);
    if (e->observe)
        make_good(x, used);
    return v;
}

enum mg_verdict mg_step_call(struct mg_exchange *x, struct mg_chain_entry *e, int phase, mg_phase_fn *fn)
{
    enum mg_verdict v;
    struct mg_frame f;

    mg_frame_enter(x, &f, e, phase);
    if (mg_watched(x, e)) {
        v = watched(x, e, phase, fn, 0, 0);
    } else {
        v = fn(mg_handle_of(x), e->self, e->locals[x->worker->index]);
        v = settle(x, e, phase, v);
    }
    mg_frame_leave(x, &f, v);
    return v;
}

/* One that it waits for and that has ended, oldest first. */
static struct mg_op *ended_op(struct mg_exchange *x, const struct mg_chain_entry *e, int phase)
{
    mg_list_each(n, &x->ops)
    {
        struct mg_op *op = mg_container(n, struct mg_op, node);

        if (op->has_ended && op->entry == e->index && op->phase == phase)
            return op;
    }
    return NULL;
}

/* What it waits for is given up; it is passed over. (Whoever may not be passed over has been answered 504: proxy/run.c.) */
static enum mg_verdict late(struct mg_exchange *x, struct mg_chain_entry *e, int phase)
{
    enum mg_verdict v;
    struct mg_frame f;
    struct mg_op *op;

    while ((op = op_of(x, e, phase)))
        mg_op_drop(op);
    mg_script_forget(x, e->plugin, e->self, phase);
    mg_frame_enter(x, &f, e, phase);
    v = fail(x, e, phase, "the plugin waited too long");
    if (e->observe || x->trace)
        v = mg_watch_late(x, e, phase, v);
    mg_frame_leave(x, &f, v);
    return v;
}

/* An observed entry asked for a body, to be refused when it is over a limit; and it is. */
static bool is_refused(const struct mg_exchange *x, const struct mg_chain_entry *e, int phase, const struct mg_op *op)
{
    const struct mg_body *b = &x->body[phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST];

    return e->observe && op->id == b->gather_op && (op->status == MG_ETOOBIG || op->status == MG_ESYNTAX) && b->over == MG_OVER_OBSERVED &&
           (phase == MG_ON_REQUEST || phase == MG_ON_RESPONSE);
}

static enum mg_verdict refused(struct mg_exchange *x, struct mg_chain_entry *e, int phase)
{
    enum mg_verdict v;
    struct mg_frame f;

    mg_script_forget(x, e->plugin, e->self, phase);
    mg_frame_enter(x, &f, e, phase);
    v = mg_watch_refused(x, e, phase);
    mg_frame_leave(x, &f, v);
    return v;
}

enum mg_verdict mg_step_wake(struct mg_exchange *x, struct mg_chain_entry *e, int phase)
{
    enum mg_verdict v = MG_WAIT;
    struct mg_op *op;

    if (x->is_late)
        return late(x, e, phase);
    while (v == MG_WAIT && (op = ended_op(x, e, phase))) {
        int id = op->id, status = op->status;
        struct mg_frame f;

        if (is_refused(x, e, phase, op)) {
            mg_list_remove(&op->node);
            return refused(x, e, phase);
        }
        mg_op_done(op);
        mg_frame_enter(x, &f, e, phase);
        v = mg_watched(x, e) ? watched(x, e, phase, NULL, id, status) : settle(x, e, phase, wake(x, e, id, status));
        mg_frame_leave(x, &f, v);
    }
    return v;
}

enum mg_verdict mg_step_wake_stream(struct mg_exchange *x, struct mg_chain_entry *e)
{
    enum mg_verdict v = MG_WAIT;
    struct mg_op *op;

    while ((op = ended_op(x, e, MG_ON_STREAM))) {
        int id = op->id, status = op->status;
        struct mg_frame f;

        mg_op_done(op);
        mg_frame_enter(x, &f, e, MG_ON_STREAM);
        v = settle(x, e, MG_ON_STREAM, wake(x, e, id, status));
        mg_frame_leave(x, &f, v);
        if (v == MG_ERROR || v == MG_RESPOND)
            return MG_ERROR;
    }
    return v;
}
