/* watch.c - what a step changed: told to the trace, the log and the metrics, and put back where the entry only observes. */
#include "plugin/watch.h"
#include "plugin/private_ctx.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static bool is_heads(int phase)
{
    return phase == MG_ON_REWRITE || phase == MG_ON_REQUEST || phase == MG_ON_RESPONSE;
}

static struct mg_body *body_of(struct mg_exchange *x, int phase)
{
    return phase == MG_ON_REQUEST_BODY ? &x->body[MG_REQUEST] : phase == MG_ON_RESPONSE_BODY ? &x->body[MG_RESPONSE] : NULL;
}

/* ---- counters ------------------------------------------------------------------------------------ */

enum effect { WOULD_ANSWER, WOULD_FAIL, WOULD_REQUEST, WOULD_REQUEST_BODY, WOULD_RESPONSE, WOULD_RESPONSE_BODY, WOULD_UPSTREAM, WOULD_CONSUMER,
              WOULD_KINDS };
static const char *const effects[WOULD_KINDS] = { "answer", "error", "request", "request_body", "response", "response_body", "upstream", "consumer" };

static int observed_metric;
static pthread_once_t declared = PTHREAD_ONCE_INIT;

static void declare(void)
{
    static const char name[] = "moongate_observed_total", help[] = "What entries with mode = \"observe\" would have done.",
                      labels[] = "plugin,entry,route,effect";

    observed_metric = mg_metric(MG_METRIC_COUNTER, name, sizeof name - 1, help, sizeof help - 1, labels, sizeof labels - 1, "", 0);
}

void mg_watch_metrics(void)
{
    pthread_once(&declared, declare);
}

static void count(const struct mg_chain_entry *e, unsigned kinds)
{
    struct mg_str values[4] = { mg_str_c(e->plugin->name), e->scope.plugin, e->scope.route };

    pthread_once(&declared, declare);
    for (int i = 0; i < WOULD_KINDS && observed_metric > 0; i++) {
        if (!(kinds >> i & 1))
            continue;
        values[3] = mg_str_c(effects[i]);
        mg_metric_add(observed_metric, values, 4, 1);
    }
}

static int effect_of(int changed)
{
    switch (changed) {
    case MG_CHANGED_ANSWER:
    case MG_CHANGED_ANSWER_HEADER: return WOULD_ANSWER;
    case MG_CHANGED_CONSUMER: return WOULD_CONSUMER;
    case MG_CHANGED_UPSTREAM: return WOULD_UPSTREAM;
    case MG_CHANGED_STATUS:
    case MG_CHANGED_RESPONSE_HEADER: return WOULD_RESPONSE;
    case MG_CHANGED_REQUEST_BODY: return WOULD_REQUEST_BODY;
    case MG_CHANGED_RESPONSE_BODY: return WOULD_RESPONSE_BODY;
    case MG_CHANGED_CTX: return -1; /* nobody else sees one */
    default: return WOULD_REQUEST;
    }
}

/* ---- telling ------------------------------------------------------------------------------------- */

/* What one call of an entry comes to: a line in the making, the kinds of its effects, the trace's step. */
struct telling {
    struct mg_exchange *x;
    const struct mg_chain_entry *e;
    struct mg_trace_step *step;
    unsigned kinds;
    char line[768];
    size_t n;
};

static void say(struct telling *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct telling *t, const char *fmt, ...)
{
    va_list args;
    int n;

    if (t->n + 64 > sizeof t->line) { /* there is more in the trace */
        if (t->n && t->line[t->n - 1] != '.')
            t->n += (size_t)snprintf(t->line + t->n, sizeof t->line - t->n, ", ...");
        return;
    }
    if (t->n)
        t->n += (size_t)snprintf(t->line + t->n, sizeof t->line - t->n, ", ");
    va_start(args, fmt);
    n = vsnprintf(t->line + t->n, sizeof t->line - t->n, fmt, args);
    va_end(args);
    t->n = n < 0 ? t->n : t->n + (size_t)n < sizeof t->line ? t->n + (size_t)n : sizeof t->line - 1;
}

/* Names, not values: a log is read by more people than a secret is meant for. */
static void say_change(struct telling *t, const struct mg_change *c)
{
    const char *what = mg_changed_words(c->what), *verb = c->is.p ? "set" : "removed";

    switch (c->what) {
    case MG_CHANGED_ANSWER:
        say(t, "answered %.*s (%lld bytes)", (int)c->is.n, c->is.p, (long long)c->bytes);
        return;
    case MG_CHANGED_REQUEST_BODY:
    case MG_CHANGED_RESPONSE_BODY:
        say(t, "set the %s (%lld bytes)", what, (long long)c->bytes);
        return;
    case MG_CHANGED_REQUEST_HEADER:
    case MG_CHANGED_RESPONSE_HEADER:
        say(t, "%s %s %.*s", verb, what, c->name.n > 100 ? 100 : (int)c->name.n, c->name.p);
        return;
    case MG_CHANGED_CONSUMER:
    case MG_CHANGED_UPSTREAM:
    case MG_CHANGED_STATUS:
    case MG_CHANGED_METHOD:
        if (c->is.p) {
            say(t, "set %s %.*s", what, c->is.n > 100 ? 100 : (int)c->is.n, c->is.p);
            return;
        }
        break;
    case MG_CHANGED_ANSWER_HEADER:
    case MG_CHANGED_CTX:
        return;
    default:
        break;
    }
    say(t, "%s the %s", verb, what);
}

static void told(void *arg, const struct mg_change *c)
{
    struct telling *t = arg;
    int effect = effect_of(c->what);

    if (t->step)
        mg_trace_note(t->x->trace, t->step, c);
    if (!t->e->observe)
        return;
    if (effect >= 0)
        t->kinds |= 1u << effect;
    say_change(t, c);
}

static void publish(struct telling *t, int phase)
{
    if (!t->kinds)
        return;
    count(t->e, t->kinds);
    if (!mg_log_enabled(MG_LOG_INFO))
        return;
    mg_log_text_c("phase", mg_str_c(mg_phase_name(phase)));
    mg_logf(MG_LOG_INFO, "only observed: it would have %.*s", (int)t->n, t->line);
}

/* ---- before --------------------------------------------------------------------------------------- */

static int keep(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, bool woken, struct mg_watch *w)
{
    if (!is_heads(phase))
        return 0;
    if (mg_is_lenient(e)) {
        if (woken)
            mg_undo_show(x);
        else if (mg_undo_save(x))
            return MG_ENOMEM;
        w->was = mg_undo_kept(x);
    } else if (w->step && mg_kept_save(x, &w->kept, &x->trace->arena) == 0) {
        w->was = &w->kept;
    }
    return 0;
}

int mg_watch_begin(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, bool woken, struct mg_watch *w)
{
    const struct mg_body *b = body_of(x, phase);

    w->step = x->trace ? mg_trace_step(x, e, phase) : NULL;
    w->was = NULL;
    w->ctx = NULL;
    w->ctx_n = 0;
    if (e->observe && mg_private_ctx_enter(x, e))
        return MG_ENOMEM;
    if (keep(x, e, phase, woken, w)) {
        if (e->observe)
            mg_private_ctx_leave(x, e, NULL, NULL);
        return MG_ENOMEM;
    }
    if (!w->step)
        return 0;
    if (!e->observe && x->ctx_n && (w->ctx = mg_arena_alloc(&x->trace->arena, x->ctx_n * sizeof *w->ctx))) {
        memcpy(w->ctx, x->ctx, x->ctx_n * sizeof *w->ctx);
        w->ctx_n = x->ctx_n;
    }
    w->began_us = mg_clock_monotonic_us();
    w->step->calls++;
    if (w->step->is_waiting)
        w->step->waited_us += w->began_us - w->step->since_us;
    w->step->is_waiting = false;
    if (b && !woken)
        w->step->bytes_in += b->piece.n;
    return 0;
}

/* ---- after ---------------------------------------------------------------------------------------- */

static bool is_other(const struct mg_body *b)
{
    return b->piece.n != b->before.n || (b->piece.p != b->before.p && b->piece.n && memcmp(b->piece.p, b->before.p, b->piece.n) != 0);
}

static void answer_told(struct telling *t)
{
    char status[16];
    struct mg_change c = { .what = MG_CHANGED_ANSWER, .bytes = (int64_t)t->x->answer.n };

    if (!t->x->answer_head)
        return;
    snprintf(status, sizeof status, "%d", t->x->answer_head->status);
    c.is = mg_str_c(status);
    told(t, &c);
}

/* One of many pieces: counted and logged once in an exchange. */
static void piece_told(struct telling *t, const struct mg_body *b, int phase)
{
    int what = phase == MG_ON_REQUEST_BODY ? MG_CHANGED_REQUEST_BODY : MG_CHANGED_RESPONSE_BODY;

    if (t->step)
        t->step->pieces_changed += is_other(b);
    if (!t->e->observe || !is_other(b) || mg_private_said(t->x, t->e, what))
        return;
    t->kinds |= 1u << effect_of(what);
    say(t, "changed the %s", mg_changed_words(what));
}

static void end_of_trace(struct mg_exchange *x, int phase, enum mg_verdict v, struct mg_watch *w)
{
    const struct mg_body *b = body_of(x, phase);
    struct mg_trace_step *s = w->step;
    int64_t now = mg_clock_monotonic_us();

    s->ran_us += now - w->began_us;
    s->verdict = (uint8_t)v;
    s->is_waiting = v == MG_WAIT;
    s->since_us = now;
    s->has_failed = s->has_failed || v == MG_ERROR;
    if (b && v == MG_CONTINUE)
        s->bytes_out += b->piece.n;
}

/* An error that leaves the request alone (on_error = "continue") is none of its effects. */
static void failure_told(struct telling *t)
{
    if (t->e->continue_on_error)
        return;
    t->kinds |= 1u << WOULD_FAIL;
    say(t, "failed the request with 500");
}

/* Nothing of it counts. */
static enum mg_verdict observed(struct telling *t, int phase, enum mg_verdict v)
{
    struct mg_exchange *x = t->x;
    struct mg_body *b = body_of(x, phase);

    if (v == MG_WAIT) {
        if (is_heads(phase) && mg_undo_hide(x))
            mg_logf(MG_LOG_WARN, "only observed: no memory left for what it has changed so far");
        return v;
    }
    if (b)
        b->piece = b->before;
    else if (is_heads(phase))
        mg_undo_apply(x);
    if (phase != MG_ON_LOG && (v == MG_RESPOND || (v == MG_ERROR && !t->e->continue_on_error)))
        x->over |= (uint64_t)1 << t->e->index;
    return MG_CONTINUE;
}

enum mg_verdict mg_watch_end(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, enum mg_verdict v, struct mg_watch *w)
{
    struct telling t = { .x = x, .e = e, .step = w->step };
    struct mg_body *b = body_of(x, phase);

    if (w->step)
        end_of_trace(x, phase, v, w);
    if (v == MG_ERROR && e->observe && phase != MG_ON_LOG)
        failure_told(&t);
    else if (w->was && v != MG_ERROR && !(v == MG_WAIT && mg_is_lenient(e)))
        mg_kept_changes(x, w->was, told, &t);
    else if (b && v == MG_RESPOND)
        answer_told(&t);
    else if (b && v == MG_CONTINUE)
        piece_told(&t, b, phase);
    if (e->observe)
        mg_private_ctx_leave(x, e, told, &t);
    else if (w->step)
        mg_ctx_changes(w->ctx, w->ctx_n, x->ctx, x->ctx_n, told, &t);
    if (!e->observe)
        return v;
    v = observed(&t, phase, v);
    publish(&t, phase);
    return v;
}

enum mg_verdict mg_watch_refused(struct mg_exchange *x, const struct mg_chain_entry *e, int phase)
{
    bool is_request = phase <= MG_ON_REQUEST;
    struct mg_change c = { .what = MG_CHANGED_ANSWER, .is = is_request ? MG_STR("413") : MG_STR("502") };
    struct telling t = { .x = x, .e = e, .step = x->trace ? mg_trace_step(x, e, phase) : NULL };
    enum mg_verdict v;

    told(&t, &c);
    v = observed(&t, phase, MG_RESPOND);
    publish(&t, phase);
    return v;
}

enum mg_verdict mg_watch_late(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, enum mg_verdict v)
{
    struct telling t = { .x = x, .e = e, .step = x->trace ? mg_trace_step(x, e, phase) : NULL };

    if (t.step) {
        int64_t now = mg_clock_monotonic_us();

        t.step->waited_us += t.step->is_waiting ? now - t.step->since_us : 0;
        t.step->is_waiting = false;
        t.step->has_failed = true;
        t.step->verdict = MG_ERROR;
    }
    if (!e->observe)
        return v;
    if (!e->continue_on_error) {
        t.kinds = 1u << WOULD_FAIL;
        say(&t, "failed the request with 504");
    }
    v = observed(&t, phase, MG_ERROR);
    publish(&t, phase);
    return v;
}
