/* write.c - the document of one exchange (docs/record.md says what is in it). */
#include "record/parts.h"
#include "base/alloc.h"
#include "base/text.h"
#include "exchange/consumer.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* What is being written, and whether memory held out. */
struct shown { struct mg_str text; bool is_left_out; };
struct out { struct mg_exchange *x; struct mg_record *r; bool is_short; struct shown request, received, answer; };

static cJSON *made(struct out *w, cJSON *item)
{
    w->is_short = w->is_short || !item;
    return item;
}

static bool is_text(struct mg_str s)
{
    for (size_t i = 0, k; i < s.n; i += k) {
        k = s.p[i] ? mg_utf8_length(s.p + i, s.n - i) : 0;
        if (!k)
            return false;
    }
    return true;
}

static cJSON *string_item(struct out *w, struct mg_str s)
{
    char *copy = strndup(s.p ? s.p : "", s.n);
    cJSON *item = made(w, copy ? cJSON_CreateString(copy) : NULL);

    free(copy);
    return item;
}

/* Text as a string; bytes that are no text as { "base64": … }. Secrets that are known by now are gone from both. */
static cJSON *text_item(struct out *w, struct mg_str s)
{
    struct mg_str coded;
    cJSON *item;

    s = mg_mask_scrub(&w->r->mask, s);
    if (is_text(s))
        return string_item(w, s);
    item = made(w, cJSON_CreateObject());
    if (mg_base64_encode(s.p, s.n, 0, &coded) != 0)
        w->is_short = true;
    else if (item)
        cJSON_AddItemToObject(item, "base64", string_item(w, coded));
    return item;
}

static void add(struct out *w, cJSON *o, const char *name, struct mg_str s)
{
    made(w, o);
    cJSON_AddItemToObject(o, name, text_item(w, s));
}

static void add_if(struct out *w, cJSON *o, const char *name, struct mg_str s)
{
    if (s.n)
        add(w, o, name, s);
}

static void number(struct out *w, cJSON *o, const char *name, int64_t n)
{
    made(w, cJSON_AddNumberToObject(o, name, (double)n));
}

static void truth(struct out *w, cJSON *o, const char *name)
{
    made(w, cJSON_AddTrueToObject(o, name));
}

/* [name, value] */
static void add_pair(struct out *w, cJSON *list, struct mg_str name, struct mg_str value)
{
    cJSON *pair = made(w, cJSON_CreateArray());

    cJSON_AddItemToArray(pair, text_item(w, name));
    cJSON_AddItemToArray(pair, text_item(w, value));
    cJSON_AddItemToArray(list, pair);
}

static void add_fields(struct out *w, cJSON *o, const char *name, const struct mg_kept_field *fields, size_t n)
{
    cJSON *list = made(w, cJSON_AddArrayToObject(o, name));

    for (size_t i = 0; i < n; i++)
        add_pair(w, list, fields[i].name, fields[i].value);
}

static struct mg_str field(const struct mg_kept_head *h, struct mg_str name)
{
    for (size_t i = 0; i < h->fields_n; i++)
        if (mg_str_ieq(h->fields[i].name, name))
            return h->fields[i].value;
    return mg_str("", 0);
}

/* Before anything is written: what is a secret of one body may stand in any text. */
static void mask_body(struct out *w, const struct mg_kept_head *h, const struct mg_kept_bytes *b, struct shown *out)
{
    bool changed;

    out->text = mg_str(b->p ? b->p : "", b->n);
    out->is_left_out = !mg_mask_body(&w->r->mask, field(h, MG_STR("content-type")), field(h, MG_STR("content-encoding")), out->text, &out->text, &changed);
    if (out->is_left_out)
        out->text = mg_str("", 0);
}

static void add_body(struct out *w, cJSON *o, const struct mg_kept_bytes *b, const struct shown *shown)
{
    struct mg_str body = mg_mask_scrub(&w->r->mask, shown->text);

    if (!b->total)
        return;
    if (b->total > b->n)
        body = mg_mask_tail(&w->r->mask, body);
    add(w, o, "body", body);
    if (!shown->is_left_out && !mg_str_eq(body, mg_str(b->p ? b->p : "", b->n)))
        truth(w, o, "body_masked");
    if (b->total > b->n || shown->is_left_out) {
        truth(w, o, "body_cut");
        number(w, o, "body_bytes", (int64_t)b->total);
    }
}

/* [[µs, bytes], …] */
static void add_pieces(struct out *w, cJSON *o, const struct mg_kept_side *s)
{
    cJSON *list = s->pieces_n ? made(w, cJSON_AddArrayToObject(o, "pieces")) : NULL;

    for (size_t i = 0; i < s->pieces_n; i++) {
        double pair[2] = { (double)s->pieces[i].at_us, (double)s->pieces[i].n };

        cJSON_AddItemToArray(list, made(w, cJSON_CreateDoubleArray(pair, 2)));
    }
}

static void add_trailers(struct out *w, cJSON *o, const struct mg_kept_side *s)
{
    if (s->trailers_n)
        add_fields(w, o, "trailers", s->trailers, s->trailers_n);
}

/* Those that the client got, as the chain left them. */
static void add_sent_trailers(struct out *w, cJSON *o, const struct mg_headers *trailers)
{
    cJSON *list = trailers && trailers->n ? made(w, cJSON_AddArrayToObject(o, "trailers")) : NULL;

    for (uint32_t i = 0; list && i < trailers->n; i++) {
        const struct mg_header *h = &trailers->at[i];

        if (h->name)
            add_pair(w, list, mg_str(h->name, h->name_n),
                     mg_mask_field(&w->r->mask, mg_str(h->name, h->name_n), mg_str(h->value, h->value_n)));
    }
}

static cJSON *request_head(struct out *w, cJSON *doc, const char *name, const struct mg_kept_head *h)
{
    cJSON *o = made(w, cJSON_AddObjectToObject(doc, name));

    add(w, o, "method", h->method);
    add(w, o, "target", h->target);
    number(w, o, "at", h->at_us);
    add_if(w, o, "upstream", h->upstream);
    add_if(w, o, "address", h->address);
    add_fields(w, o, "headers", h->fields, h->fields_n);
    return o;
}

static cJSON *response_head(struct out *w, cJSON *doc, const char *name, const struct mg_kept_head *h)
{
    cJSON *o = made(w, cJSON_AddObjectToObject(doc, name));

    number(w, o, "status", h->status);
    number(w, o, "at", h->at_us);
    add_fields(w, o, "headers", h->fields, h->fields_n);
    return o;
}

static void add_client(struct out *w, cJSON *doc)
{
    cJSON *o = made(w, cJSON_AddObjectToObject(doc, "client"));
    struct mg_exchange *x = w->x;
    struct mg_str s;

    if (mg_client_ip(mg_handle_of(x), &s) == 0)
        add(w, o, "ip", s);
    if (mg_client_peer_ip(mg_handle_of(x), &s) == 0)
        add(w, o, "peer", s);
    number(w, o, "port", x->peer_port);
    add_if(w, o, "tls", x->tls_version);
    add_if(w, o, "cipher", x->tls_cipher);
    add_if(w, o, "sni", x->sni);
}

static void add_asked(struct out *w, cJSON *doc)
{
    cJSON *list = made(w, cJSON_AddArrayToObject(doc, "asked"));

    for (const struct mg_asked *a = w->r->asked; a; a = a->next) {
        cJSON *o = made(w, cJSON_CreateObject());

        made(w, cJSON_AddStringToObject(o, "service", a->service));
        if (w->x->chain && a->entry >= 0 && a->entry < w->x->chain->entries_n)
            add(w, o, "entry", w->x->chain->entries[a->entry]->info.id);
        add_if(w, o, "question", a->question);
        number(w, o, "at", a->asked_us);
        if (a->is_told) {
            number(w, o, "took", a->told_us - a->asked_us);
            number(w, o, "status", a->status);
            add_if(w, o, "answer", a->answer);
        }
        cJSON_AddItemToArray(list, o);
    }
}

/* The trace is JSON already. */
static void add_steps(struct out *w, cJSON *doc, const struct mg_trace *trace)
{
    struct mg_str text, clean;
    char *copy;

    if (!trace)
        return;
    if (mg_trace_write(trace, MG_TRACE_JSON, 0, &text) != 0) {
        w->is_short = true;
        return;
    }
    clean = mg_mask_trace(&w->r->mask, text);
    copy = clean.n ? strndup(clean.p, clean.n) : NULL;
    if (clean.n)
        cJSON_AddItemToObject(doc, "trace", made(w, copy ? cJSON_CreateRaw(copy) : NULL));
    free(copy);
    free((char *)(uintptr_t)text.p);
}

static void add_answer(struct out *w, cJSON *doc)
{
    const struct mg_record *r = w->r;
    cJSON *o;

    if (!r->answer.is_there)
        return;
    o = response_head(w, doc, "answer", &r->answer);
    add_body(w, o, &r->to_client, &w->answer);
    add_sent_trailers(w, o, w->x->body[MG_RESPONSE].trailers);
}

static void add_exchange(struct out *w, cJSON *doc)
{
    const struct mg_record *r = w->r;
    struct mg_exchange *x = w->x;
    cJSON *o = request_head(w, doc, "request", &r->request);

    made(w, cJSON_AddStringToObject(o, "scheme", x->is_https ? "https" : "http"));
    number(w, o, "version", r->request.version);
    add_body(w, o, &r->from_client.body, &w->request);
    add_pieces(w, o, &r->from_client);
    add_trailers(w, o, &r->from_client);
    if (x->req->framing != MG_BODY_NONE && !r->from_client.got_end)
        truth(w, o, "broke_off");
    if (r->sent.is_there)
        request_head(w, doc, "sent", &r->sent);
    if (r->received.is_there) {
        o = response_head(w, doc, "received", &r->received);
        add_body(w, o, &r->from_upstream.body, &w->received);
        add_pieces(w, o, &r->from_upstream);
        add_trailers(w, o, &r->from_upstream);
        if (r->is_streaming && !r->from_upstream.got_end)
            truth(w, o, "broke_off");
    }
    add_answer(w, doc);
}

/* The names that were masked beside the usual ones: a replay's trace masks them, too. */
static void add_secret_names(struct out *w, cJSON *doc)
{
    const struct mg_record_conf *c = &w->r->job->conf;
    cJSON *list = c->secret_n ? made(w, cJSON_AddArrayToObject(doc, "secret")) : NULL;

    for (size_t i = 0; i < c->secret_n; i++)
        cJSON_AddItemToArray(list, string_item(w, c->secret[i]));
    if (c->keep_secrets)
        truth(w, doc, "has_secrets");
}

static void add_all(struct out *w, cJSON *doc, const struct mg_trace *trace)
{
    struct mg_exchange *x = w->x;

    mask_body(w, &w->r->request, &w->r->from_client.body, &w->request);
    mask_body(w, &w->r->received, &w->r->from_upstream.body, &w->received);
    mask_body(w, &w->r->answer, &w->r->to_client, &w->answer);
    made(w, cJSON_AddStringToObject(doc, "moongate", "recording"));
    number(w, doc, "version", 1);
    add(w, doc, "id", w->r->id);
    number(w, doc, "began_us", x->started_wall_us);
    number(w, doc, "took_us", x->ended_us - x->started_us);
    add_client(w, doc);
    add_if(w, doc, "listener", w->r->listener);
    if (x->route)
        add(w, doc, "route", x->route->id);
    add_secret_names(w, doc);
    add_exchange(w, doc);
    if (x->consumer)
        add(w, doc, "consumer", x->consumer->name);
    if (x->failure)
        made(w, cJSON_AddStringToObject(doc, "failure", x->failure));
    number(w, doc, "source", x->source);
    add_asked(w, doc);
    add_steps(w, doc, trace);
    if (w->r->is_cut || w->r->mask.is_short || (trace && trace->is_cut))
        truth(w, doc, "cut");
}

char *mg_record_write(struct mg_exchange *x, struct mg_record *r, const struct mg_trace *trace)
{
    struct out w = { .x = x, .r = r };
    cJSON *doc = made(&w, cJSON_CreateObject());
    char *text = NULL;

    if (doc)
        add_all(&w, doc, trace);
    if (!w.is_short)
        text = cJSON_PrintUnformatted(doc);
    cJSON_Delete(doc);
    return text;
}
