/* write.c - the document of one exchange (docs/record.md says what is in it). */
#include "record/parts.h"
#include "base/alloc.h"
#include "base/text.h"
#include "exchange/consumer.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* Text as a string; bytes that are no text as { "base64": … }. */
static cJSON *text_item(struct mg_str s)
{
    struct mg_str coded;
    char *copy;
    cJSON *item;

    for (size_t i = 0, k; i < s.n; i += k) {
        k = s.p[i] ? mg_utf8_length(s.p + i, s.n - i) : 0;
        if (k)
            continue;
        item = cJSON_CreateObject();
        if (item && mg_base64_encode(s.p, s.n, 0, &coded) == 0 && (copy = strndup(coded.p, coded.n))) {
            cJSON_AddStringToObject(item, "base64", copy);
            free(copy);
        }
        return item;
    }
    copy = strndup(s.p ? s.p : "", s.n);
    item = copy ? cJSON_CreateString(copy) : NULL;
    free(copy);
    return item;
}

static void add(cJSON *o, const char *name, struct mg_str s)
{
    cJSON_AddItemToObject(o, name, text_item(s));
}

static void add_if(cJSON *o, const char *name, struct mg_str s)
{
    if (s.n)
        add(o, name, s);
}

static void add_fields(cJSON *o, const char *name, const struct mg_kept_field *fields, size_t n)
{
    cJSON *list = cJSON_AddArrayToObject(o, name);

    for (size_t i = 0; i < n; i++) {
        cJSON *pair = cJSON_CreateArray();

        cJSON_AddItemToArray(pair, text_item(fields[i].name));
        cJSON_AddItemToArray(pair, text_item(fields[i].value));
        cJSON_AddItemToArray(list, pair);
    }
}

static void add_body(cJSON *o, const struct mg_record *r, struct mg_arena *a, const struct mg_kept_bytes *b)
{
    if (!b->total)
        return;
    add(o, "body", mg_mask_body(r->job, a, mg_str(b->p, b->n)));
    if (b->total > b->n) {
        cJSON_AddTrueToObject(o, "body_cut");
        cJSON_AddNumberToObject(o, "body_bytes", (double)b->total);
    }
}

/* [[µs, bytes], …] */
static void add_pieces(cJSON *o, const struct mg_kept_side *s)
{
    cJSON *list;

    if (!s->pieces_n)
        return;
    list = cJSON_AddArrayToObject(o, "pieces");
    for (size_t i = 0; i < s->pieces_n; i++) {
        double pair[2] = { (double)s->pieces[i].at_us, (double)s->pieces[i].n };

        cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(pair, 2));
    }
}

static void add_trailers(cJSON *o, const struct mg_record *r, struct mg_arena *a, const struct mg_headers *trailers)
{
    cJSON *list = trailers ? cJSON_AddArrayToObject(o, "trailers") : NULL;

    for (uint32_t i = 0; list && i < trailers->n; i++) {
        const struct mg_header *h = &trailers->at[i];
        cJSON *pair = h->name ? cJSON_CreateArray() : NULL;

        if (!pair)
            continue;
        cJSON_AddItemToArray(pair, text_item(mg_str(h->name, h->name_n)));
        cJSON_AddItemToArray(pair, text_item(mg_mask_field(r->job, a, mg_str(h->name, h->name_n), mg_str(h->value, h->value_n))));
        cJSON_AddItemToArray(list, pair);
    }
}

static cJSON *request_head(cJSON *doc, const char *name, const struct mg_kept_head *h)
{
    cJSON *o = cJSON_AddObjectToObject(doc, name);

    add(o, "method", h->method);
    add(o, "target", h->target);
    add_if(o, "upstream", h->upstream);
    add_if(o, "address", h->address);
    add_fields(o, "headers", h->fields, h->fields_n);
    return o;
}

static cJSON *response_head(cJSON *doc, const char *name, const struct mg_kept_head *h)
{
    cJSON *o = cJSON_AddObjectToObject(doc, name);

    cJSON_AddNumberToObject(o, "status", h->status);
    add_fields(o, "headers", h->fields, h->fields_n);
    return o;
}

static void add_client(cJSON *doc, struct mg_exchange *x)
{
    cJSON *o = cJSON_AddObjectToObject(doc, "client");
    struct mg_str s;

    if (mg_client_ip(mg_handle_of(x), &s) == 0)
        add(o, "ip", s);
    if (mg_client_peer_ip(mg_handle_of(x), &s) == 0)
        add(o, "peer", s);
    cJSON_AddNumberToObject(o, "port", x->peer_port);
    add_if(o, "tls", x->tls_version);
    add_if(o, "cipher", x->tls_cipher);
    add_if(o, "sni", x->sni);
}

static void add_asked(cJSON *doc, const struct mg_record *r, struct mg_exchange *x)
{
    cJSON *list = cJSON_AddArrayToObject(doc, "asked");

    for (const struct mg_asked *a = r->asked; a; a = a->next) {
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "service", a->service);
        if (x->chain && a->entry < x->chain->entries_n)
            add(o, "entry", x->chain->entries[a->entry]->info.id);
        add(o, "question", a->question);
        cJSON_AddNumberToObject(o, "at", (double)a->asked_us);
        if (a->is_told) {
            cJSON_AddNumberToObject(o, "took", (double)(a->told_us - a->asked_us));
            cJSON_AddNumberToObject(o, "status", (double)a->status);
            add_if(o, "answer", a->answer);
        }
        cJSON_AddItemToArray(list, o);
    }
}

static void add_steps(cJSON *doc, const struct mg_trace *trace)
{
    struct mg_str text;

    if (!trace || mg_trace_write(trace, MG_TRACE_JSON, 0, &text) != 0)
        return;
    cJSON_AddItemToObject(doc, "trace", cJSON_CreateRaw(text.p));
    free((char *)(uintptr_t)text.p);
}

static void add_exchange(cJSON *doc, const struct mg_record *r, struct mg_exchange *x, struct mg_arena *a)
{
    cJSON *o = request_head(doc, "request", &r->request);

    cJSON_AddStringToObject(o, "scheme", x->is_https ? "https" : "http");
    cJSON_AddNumberToObject(o, "version", r->request.version);
    add_body(o, r, a, &r->from_client.body);
    add_pieces(o, &r->from_client);
    add_trailers(o, r, a, x->body[MG_REQUEST].trailers);
    if (r->sent.is_there)
        request_head(doc, "sent", &r->sent);
    if (r->received.is_there) {
        o = response_head(doc, "received", &r->received);
        add_body(o, r, a, &r->from_upstream.body);
        add_pieces(o, &r->from_upstream);
        add_trailers(o, r, a, x->body[MG_RESPONSE].trailers);
        if (!r->from_upstream.got_end && r->from_upstream.body.total)
            cJSON_AddTrueToObject(o, "broke_off");
    }
    if (r->answer.is_there) {
        o = response_head(doc, "answer", &r->answer);
        add_body(o, r, a, &r->to_client);
    }
}

char *mg_record_write(const struct mg_exchange *cx, const struct mg_record *r, const struct mg_trace *trace)
{
    struct mg_exchange *x = (struct mg_exchange *)(uintptr_t)cx;
    struct mg_arena *a = (struct mg_arena *)(uintptr_t)&r->arena;
    cJSON *doc = cJSON_CreateObject();
    char *text;

    cJSON_AddStringToObject(doc, "moongate", "recording");
    cJSON_AddNumberToObject(doc, "version", 1);
    add(doc, "id", r->id);
    cJSON_AddNumberToObject(doc, "began_us", (double)x->started_wall_us);
    cJSON_AddNumberToObject(doc, "took_us", (double)(x->ended_us - x->started_us));
    add_client(doc, x);
    add_if(doc, "listener", r->listener);
    if (x->route)
        add(doc, "route", x->route->id);
    add_exchange(doc, r, x, a);
    if (x->consumer)
        add(doc, "consumer", x->consumer->name);
    if (x->failure)
        cJSON_AddStringToObject(doc, "failure", x->failure);
    cJSON_AddNumberToObject(doc, "source", x->source);
    if (r->is_cut)
        cJSON_AddTrueToObject(doc, "cut");
    add_asked(doc, r, x);
    add_steps(doc, trace);
    text = cJSON_PrintUnformatted(doc);
    cJSON_Delete(doc);
    return text;
}
