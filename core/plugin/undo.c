/* undo.c - what an entry may change of the heads and bodies, kept before it changes and put back when it failed.
 *
 * Field bytes in the arena are never written again, so a copy of the index is enough. A body that is replaced leaves its
 * buffer here; when the entry succeeds the buffer stays until the exchange ends. */
#include "plugin/step.h"
#include "plugin/body.h"

#include <stdlib.h>

struct head_copy { struct mg_head *head; struct mg_head value; struct mg_header *at; };

struct mg_undo {
    struct head_copy req, res;
    struct mg_str path, query, host;
    bool has_query;
    int port;
    const struct mg_upstream_spec *upstream;
    const struct mg_consumer *consumer;
    const struct mg_credential *credential;
    bool resized[2];
    bool has_body[2];
    struct mg_body body[2]; /* as it was before mg_body_set; owns `whole` */
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

static void free_kept(void *arg)
{
    struct mg_body *kept = arg;

    free((char *)kept->whole.p);
    kept->whole = mg_str(NULL, 0);
}

int mg_undo_keep_body(struct mg_exchange *x, struct mg_body *b)
{
    int side = b == &x->body[MG_RESPONSE];
    struct mg_undo *u = x->undo;

    if (!u || u->has_body[side])
        return 0;
    u->body[side] = *b;
    if (mg_arena_defer(&x->arena, free_kept, &u->body[side])) {
        u->body[side].whole = mg_str(NULL, 0);
        return MG_ENOMEM;
    }
    u->has_body[side] = true;
    b->whole = mg_str(NULL, 0);
    b->room = 0;
    return 0;
}

/* The scratch of the pieces and what has been counted go on; what mg_body_set changed does not. */
static void restore_body(struct mg_undo *u, int side, struct mg_body *b)
{
    struct mg_body *was = &u->body[side];

    b->resized = u->resized[side];
    if (!u->has_body[side])
        return;
    free((char *)b->whole.p);
    b->whole = was->whole;
    b->room = was->room;
    was->whole = mg_str(NULL, 0);
    b->gather = was->gather;
    b->gather_entry = was->gather_entry;
    b->whole_at = was->whole_at;
    b->drop_at = was->drop_at;
    b->whole_last = was->whole_last;
    b->regather = was->regather;
    b->replaced = was->replaced;
}

int mg_undo_save(struct mg_exchange *x)
{
    struct mg_undo *u = mg_arena_zalloc(&x->arena, sizeof *u);

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
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        u->resized[side] = x->body[side].resized;
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
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        restore_body(u, side, &x->body[side]);
}
