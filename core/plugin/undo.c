/* undo.c - what an entry may change of the heads and bodies, kept before it changes and put back when it failed, or only
 * observes. The heads are kept.c's. A body that is replaced leaves its buffer here; when the entry succeeds the buffer stays
 * until the exchange ends. */
#include "plugin/step.h"
#include "plugin/body.h"
#include "plugin/kept.h"
#include "plugin/recode.h"

#include <stdlib.h>

struct mg_undo {
    struct mg_kept was;
    struct mg_kept mine;    /* while an observed entry waits: what it had changed so far */
    bool has_mine;
    bool has_body[2];
    struct mg_body body[2]; /* as it was before mg_body_set; owns `whole` */
};

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
    b->feed = was->feed;
}

int mg_undo_save(struct mg_exchange *x)
{
    struct mg_undo *u = mg_arena_zalloc(&x->arena, sizeof *u);

    if (!u || mg_kept_save(x, &u->was, &x->arena))
        return MG_ENOMEM;
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
    mg_kept_put_back(x, &u->was);
    mg_recode_undo(x);
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        restore_body(u, side, &x->body[side]);
}

const struct mg_kept *mg_undo_kept(const struct mg_exchange *x)
{
    return x->undo ? &x->undo->was : NULL;
}

int mg_undo_hide(struct mg_exchange *x)
{
    struct mg_undo *u = x->undo;

    u->has_mine = mg_kept_save(x, &u->mine, &x->arena) == 0;
    mg_kept_put_back(x, &u->was);
    return u->has_mine ? 0 : MG_ENOMEM;
}

void mg_undo_show(struct mg_exchange *x)
{
    struct mg_undo *u = x->undo;

    if (!u || !u->has_mine)
        return;
    u->has_mine = false;
    mg_kept_put_back(x, &u->mine);
}
