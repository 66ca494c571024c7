/* undo.c - what an entry may change of the heads, copied before it runs and put back when it failed.
 *
 * Field bytes in the arena are never written again, so a copy of the index is enough. */
#include "plugin/step.h"

struct head_copy { struct mg_head *head; struct mg_head value; struct mg_header *at; };

struct mg_undo {
    struct head_copy req, res;
    struct mg_str path, query, host;
    bool has_query;
    int port;
    const struct mg_upstream_spec *upstream;
    const struct mg_consumer *consumer;
    const struct mg_credential *credential;
};

static bool copy(struct mg_exchange *x, struct head_copy *c, struct mg_head *head)
{
    size_t bytes;

    c->head = head;
    c->at = NULL;
    if (!head)
        return true;
    c->value = *head;
    bytes = head->headers.n * sizeof *c->at;
    if (!bytes)
        return true;
    c->at = mg_arena_alloc(&x->arena, bytes);
    if (!c->at)
        return false;
    memcpy(c->at, head->headers.at, bytes);
    return true;
}

/* The array may have grown and moved since: the newer, larger one is kept, its content put back. */
static void restore(struct head_copy *c)
{
    struct mg_headers now;

    if (!c->head)
        return;
    now = c->head->headers;
    *c->head = c->value;
    c->head->headers.at = now.at;
    c->head->headers.room = now.room;
    if (c->at)
        memcpy(now.at, c->at, c->value.headers.n * sizeof *c->at);
}

int mg_undo_save(struct mg_exchange *x)
{
    struct mg_undo *u = mg_arena_alloc(&x->arena, sizeof *u);

    if (!u || !copy(x, &u->req, x->req) || !copy(x, &u->res, x->res))
        return MG_ENOMEM;
    u->path = x->path;
    u->query = x->query;
    u->has_query = x->has_query;
    u->host = x->host;
    u->port = x->port;
    u->upstream = x->upstream;
    u->consumer = x->consumer;
    u->credential = x->credential;
    x->undo = u;
    return 0;
}

void mg_undo_apply(struct mg_exchange *x)
{
    struct mg_undo *u = x->undo;

    x->answer_head = NULL;
    if (!u)
        return;
    x->undo = NULL;
    restore(&u->req);
    restore(&u->res);
    x->path = u->path;
    x->query = u->query;
    x->has_query = u->has_query;
    x->host = u->host;
    x->port = u->port;
    x->upstream = u->upstream;
    x->consumer = u->consumer;
    x->credential = u->credential;
}
