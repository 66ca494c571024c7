#include "service/brought.h"

static void free_all(void *arg)
{
    struct mg_exchange *x = arg;

    while (x->brought)
        mg_brought_drop(x, x->brought);
}

int mg_brought_keep(struct mg_exchange *x, struct mg_brought *b)
{
    if (!x->brought_defer && mg_arena_defer(&x->arena, free_all, x) != 0) {
        b->free(b);
        return MG_ENOMEM;
    }
    x->brought_defer = true;
    b->next = x->brought;
    x->brought = b;
    return 0;
}

struct mg_brought *mg_brought_find(struct mg_exchange *x, const void *kind, int op)
{
    struct mg_brought *b = x->brought;

    while (b && (b->op != op || b->kind != kind))
        b = b->next;
    return b;
}

void mg_brought_drop(struct mg_exchange *x, struct mg_brought *b)
{
    struct mg_brought **at = &x->brought;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->free(b);
}
