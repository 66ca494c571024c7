/* chain.c - compiling a chain, and walking the phases of heads. Bodies: body.c. One call: step.c. */
#include "plugin/step.h"
#include "plugin/pull.h"

_Thread_local struct mg_calling mg_calling;

static mg_phase_fn *phase_fn(const struct mg_plugin *p, int phase)
{
    switch (phase) {
    case MG_ON_REWRITE: return p->on_rewrite;
    case MG_ON_REQUEST: return p->on_request;
    case MG_ON_REQUEST_BODY: return p->on_request_body;
    case MG_ON_RESPONSE: return p->on_response;
    case MG_ON_RESPONSE_BODY: return p->on_response_body;
    case MG_ON_LOG: return p->on_log;
    default: return NULL;
    }
}

static bool compile_phase(struct mg_chain *c, int phase, struct mg_arena *a)
{
    bool down = phase >= MG_ON_RESPONSE;
    struct mg_step *steps;
    int n = 0;

    for (int i = 0; i < c->entries_n; i++)
        n += phase_fn(c->entries[i]->plugin, phase) != NULL;
    c->steps_n[phase] = n;
    if (!n)
        return true;
    steps = mg_arena_alloc(a, (size_t)n * sizeof *steps);
    if (!steps)
        return false;
    c->steps[phase] = steps;
    for (int i = 0; i < c->entries_n; i++) {
        struct mg_chain_entry *e = c->entries[down ? c->entries_n - 1 - i : i];
        mg_phase_fn *fn = phase_fn(e->plugin, phase);

        if (!fn)
            continue;
        steps->fn = fn;
        steps->entry = e;
        steps++;
        c->has_phase[phase] |= (uint64_t)1 << e->index;
    }
    return true;
}

struct mg_chain *mg_chain_new(struct mg_chain_entry **entries, int n, struct mg_arena *a)
{
    struct mg_chain *c = mg_arena_zalloc(a, sizeof *c);

    if (!c || n > MG_ENTRIES_MAX)
        return NULL;
    c->entries_n = n;
    if (n) {
        c->entries = mg_arena_alloc(a, (size_t)n * sizeof(struct mg_chain_entry *));
        if (!c->entries)
            return NULL;
        memcpy(c->entries, entries, (size_t)n * sizeof(struct mg_chain_entry *));
    }
    for (int i = 0; i < n; i++)
        entries[i]->index = i;
    for (int phase = 0; phase < MG_PHASES; phase++)
        if (!compile_phase(c, phase, a))
            return NULL;
    return c;
}

/* Bits of the entries 0 to n - 1. */
static uint64_t first(int n)
{
    return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

void mg_chain_begin(struct mg_exchange *x, int phase)
{
    /* Who has on_rewrite has seen the request; the others when their turn in on_request comes. */
    if (phase == MG_ON_REQUEST)
        x->began = x->chain->has_phase[MG_ON_REWRITE] & x->began & ~x->skipped;
    x->phase = (uint8_t)phase;
    x->step = 0;
    x->is_waiting = false;
    x->undo = NULL;
}

/* An entry asked for a body and went on without it: what was gathered passes by, and the rest behind it. */
static void let_go(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_op *op = mg_op_find(x, b->gather_op);

    if (op)
        mg_op_drop(op);
    b->regather = false;
    b->gather = b->whole.n ? MG_GATHER_OVER : MG_GATHER_NO;
}

static enum mg_verdict phase_over(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST];

    if (x->phase <= MG_ON_REQUEST)
        x->began = first(x->chain->entries_n);
    if (b->gather == MG_GATHER_ASKED && (x->phase == MG_ON_REQUEST || x->phase == MG_ON_RESPONSE))
        let_go(x, b);
    return MG_CONTINUE;
}

/* The step that runs has returned v; it waits on or is behind us. */
static enum mg_verdict step_done(struct mg_exchange *x, enum mg_verdict v)
{
    x->is_waiting = v == MG_WAIT;
    if (v != MG_WAIT) {
        if (x->body[MG_REQUEST].more || x->body[MG_RESPONSE].more)
            mg_pull_settle(x, x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST, x->entry);
        x->step++;
        return v;
    }
    /* It may have asked for a body that is over the limit by its own word, or that another entry gathered. */
    if (x->body[x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST].gather == MG_GATHER_REFUSED) {
        x->is_waiting = false;
        x->step++;
        return MG_ERROR;
    }
    v = mg_body_regather(x);
    return v == MG_CONTINUE ? MG_WAIT : v;
}

enum mg_verdict mg_chain_run(struct mg_exchange *x)
{
    const struct mg_chain *c = x->chain;
    const struct mg_step *steps = c->steps[x->phase];
    int n = c->steps_n[x->phase];

    while (x->step < n) {
        const struct mg_step *s = &steps[x->step];
        int part = mg_step_takes_part(x, s->entry, x->phase);
        enum mg_verdict v;

        if (part == 0) {
            x->step++;
            continue;
        }
        if (x->phase <= MG_ON_REQUEST)
            x->began |= first(s->entry->index + 1);
        x->entry = (uint8_t)s->entry->index;
        v = part < 0 ? MG_ERROR : mg_step_call(x, s->entry, x->phase, s->fn);
        v = step_done(x, x->phase == MG_ON_LOG && v != MG_WAIT ? MG_CONTINUE : v);
        if (v != MG_CONTINUE)
            return v;
    }
    return phase_over(x);
}

/* Ended operations that nobody waits for any more. */
static void drop_stale(struct mg_exchange *x)
{
    mg_list_each(n, &x->ops)
    {
        struct mg_op *op = mg_container(n, struct mg_op, node);
        bool wanted = op->phase == MG_ON_STREAM          ? x->body[MG_REQUEST].feed || x->body[MG_RESPONSE].feed
                      : op->phase == MG_ON_REQUEST_BODY    ? x->body[MG_REQUEST].waiting
                      : op->phase == MG_ON_RESPONSE_BODY ? x->body[MG_RESPONSE].waiting
                                                         : x->is_waiting && op->phase == x->phase && op->entry == x->entry;

        if (op->has_ended && !wanted)
            mg_op_drop(op);
    }
}

enum mg_verdict mg_chain_wake(struct mg_exchange *x)
{
    enum mg_verdict v;

    drop_stale(x);
    if (!x->is_waiting)
        return MG_WAIT;
    v = mg_step_wake(x, x->chain->steps[x->phase][x->step].entry, x->phase);
    v = step_done(x, x->phase == MG_ON_LOG && v != MG_WAIT ? MG_CONTINUE : v);
    return v == MG_CONTINUE ? mg_chain_run(x) : v;
}
