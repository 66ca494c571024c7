/* record.c - one exchange as it runs: bytes, times, questions and answers. */
#include "record/parts.h"
#include "base/alloc.h"
#include "exchange/consumer.h"
#include "pdk/problem.h"

enum { ARENA_BYTES = 4 << 20, PIECES_MAX = 256 };

static int64_t since(const struct mg_exchange *x)
{
    return mg_loop_now_us(&x->worker->loop) - x->started_us;
}

/* ---- questions and answers ---- */

static struct mg_str keep_text(struct mg_record *r, struct mg_str s)
{
    return s.n ? mg_arena_copy(&r->arena, s.p, s.n) : mg_str("", 0);
}

/* Is what a credential is found by a secret? A user's name is not, a key is. */
static bool is_key(const struct mg_exchange *x, const char *service, struct mg_str question)
{
    const struct mg_consumers *all = x->snapshot ? mg_snapshot_view.consumers(x->snapshot) : NULL;
    const char *space = question.n ? memchr(question.p, ' ', question.n) : NULL;

    return strcmp(service, "credential") != 0 || !space || !all ||
           !mg_consumers_kind_is_open(all, mg_str(question.p, (size_t)(space - question.p)));
}

static bool on_ask(struct mg_outside *o, struct mg_exchange *x, struct mg_op *op, const char *service, struct mg_str question,
                   int64_t *status, struct mg_str *answer)
{
    struct mg_record *r = (struct mg_record *)o;
    struct mg_asked *a = r->asked_n < MG_RECORD_ASKED ? mg_arena_zalloc(&r->arena, sizeof *a) : NULL;

    (void)status;
    (void)answer;
    if (!a) {
        r->is_cut = true;
        return false;
    }
    a->service = service;
    a->op = op ? op->id : 0;
    a->entry = x->entry;
    a->phase = x->phase;
    a->asked_us = since(x);
    a->question = mg_mask_text(&r->mask, service, question, is_key(x, service, question));
    *r->asked_last = a;
    r->asked_last = &a->next;
    r->asked_n++;
    return false;
}

static void on_told(struct mg_outside *o, struct mg_exchange *x, int op, const char *service, int64_t status, struct mg_str answer)
{
    struct mg_record *r = (struct mg_record *)o;
    struct mg_asked *found = NULL;

    for (struct mg_asked *a = r->asked; a; a = a->next)
        if (!a->is_told && a->op == op && strcmp(a->service, service) == 0)
            found = a; /* at once: the latest; an op's number is its own */
    if (!found)
        return;
    found->is_told = true;
    found->told_us = since(x);
    found->status = status;
    found->answer = mg_mask_text(&r->mask, service, answer, false);
}

/* ---- heads and bodies ---- */

static void keep_fields(struct mg_record *r, const struct mg_headers *from, struct mg_kept_field **fields, size_t *fields_n)
{
    struct mg_kept_field *at = mg_arena_alloc(&r->arena, (from->n + 1) * sizeof *at);

    *fields = at;
    *fields_n = 0;
    if (!at) {
        r->is_cut = true;
        return;
    }
    for (uint32_t i = 0; i < from->n; i++) {
        const struct mg_header *h = &from->at[i];
        struct mg_kept_field *f = &at[*fields_n];

        if (!h->name)
            continue;
        f->name = mg_arena_copy(&r->arena, h->name, h->name_n);
        if (!f->name.p) {
            r->is_cut = true;
            return;
        }
        f->value = mg_mask_field(&r->mask, f->name, mg_str(h->value, h->value_n));
        ++*fields_n;
    }
}

static void keep_head(const struct mg_exchange *x, struct mg_kept_head *to, const struct mg_head *head)
{
    struct mg_record *r = x->record;

    to->is_there = true;
    to->at_us = since(x);
    to->version = head->version;
    to->status = head->status;
    to->method = keep_text(r, head->method_text);
    to->target = mg_mask_target(&r->mask, head->target);
    keep_fields(r, &head->headers, &to->fields, &to->fields_n);
}

static void keep_bytes(struct mg_record *r, struct mg_kept_bytes *b, struct mg_str bytes)
{
    size_t max = (size_t)r->job->conf.body_max, n = b->n < max ? max - b->n : 0;

    b->total += bytes.n;
    if (n > bytes.n)
        n = bytes.n;
    if (b->room < b->n + n) {
        size_t room = b->room ? b->room : 1024;
        char *p;

        while (room < b->n + n)
            room *= 2;
        p = mg_realloc(b->p, room);
        if (!p) {
            r->is_cut = true;
            return;
        }
        b->p = p;
        b->room = room;
    }
    if (n)
        memcpy(b->p + b->n, bytes.p, n);
    b->n += n;
}

static void keep_piece(struct mg_record *r, struct mg_kept_side *s, int64_t at_us, size_t n)
{
    if (!s->pieces)
        s->pieces = mg_arena_alloc(&r->arena, PIECES_MAX * sizeof *s->pieces);
    if (!s->pieces || !n)
        return;
    if (s->pieces_n == PIECES_MAX)
        s->pieces[s->pieces_n - 1].n += n;
    else
        s->pieces[s->pieces_n++] = (struct mg_kept_piece){ at_us, n };
}

void mg_record_piece(struct mg_exchange *x, int side, struct mg_str bytes, bool last)
{
    struct mg_record *r = x->record;
    struct mg_kept_side *s = side == MG_REQUEST ? &r->from_client : &r->from_upstream;

    keep_bytes(r, &s->body, bytes);
    keep_piece(r, s, since(x), bytes.n);
    s->got_end = s->got_end || last;
    if (last && x->body[side].trailers)
        keep_fields(r, x->body[side].trailers, &s->trailers, &s->trailers_n);
}

void mg_record_sent(struct mg_exchange *x, const struct mg_head *head)
{
    struct mg_record *r = x->record;

    keep_head(x, &r->sent, head);
    r->sent.upstream = keep_text(r, x->upstream ? x->upstream->name : mg_str(NULL, 0));
    r->sent.address = keep_text(r, x->target_text);
}

void mg_record_received(struct mg_exchange *x, const struct mg_head *head)
{
    keep_head(x, &x->record->received, head);
    x->record->is_streaming = head->framing != MG_BODY_NONE;
}

void mg_record_answer(struct mg_exchange *x, const struct mg_head *head)
{
    keep_head(x, &x->record->answer, head);
}

void mg_record_answer_piece(struct mg_exchange *x, struct mg_str bytes)
{
    keep_bytes(x->record, &x->record->to_client, bytes);
}

/* ---- beginning and ending ---- */

void mg_record_begin(struct mg_exchange *x, struct mg_str listener)
{
    struct mg_worker *w = x->worker;
    struct mg_record_job *job = w->record;
    struct mg_record *r;

    if (atomic_load_explicit(&job->has_ended, memory_order_relaxed)) {
        mg_record_leave(w);
        return;
    }
    if (x->outside || !mg_record_job_wants(job, x))
        return;
    r = mg_calloc(1, sizeof *r);
    if (!r) {
        mg_record_job_add(job, NULL, 0);
        mg_record_job_unref(job);
        return;
    }
    mg_arena_init(&r->arena, &w->loop.chunks, ARENA_BYTES + 8 * (size_t)job->conf.body_max);
    r->mask = (struct mg_mask){ .job = job, .arena = &r->arena };
    r->outside = (struct mg_outside){ on_ask, on_told };
    r->job = job;
    r->asked_last = &r->asked;
    x->record = r;
    x->outside = &r->outside;
    if (!x->trace)
        mg_trace_begin(x, job->conf.secret, job->conf.secret_n);
    r->listener = keep_text(r, listener);
    r->id = keep_text(r, mg_exchange_id(x));
    keep_head(x, &r->request, x->req);
}

void mg_record_end(struct mg_exchange *x, const struct mg_trace *trace)
{
    struct mg_record *r = x->record;
    struct mg_record_job *job = r->job;
    char *line = mg_record_job_keeps(job, x) ? mg_record_write(x, r, trace) : NULL;

    x->record = NULL;
    x->outside = x->worker->outside;
    mg_record_job_add(job, line, line ? strlen(line) : 0);
    mg_free(line);
    mg_free(r->from_client.body.p);
    mg_free(r->from_upstream.body.p);
    mg_free(r->to_client.p);
    mg_arena_deinit(&r->arena);
    mg_free(r);
    mg_record_job_unref(job);
}
