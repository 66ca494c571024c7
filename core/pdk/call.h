/* call.h - the first and the last lines of most PDK functions. */
#ifndef MG_PDK_CALL_H
#define MG_PDK_CALL_H

#include "pdk/phase.h"

static inline int mg_give(struct mg_str *out, struct mg_str s)
{
    *out = s;
    return 0;
}
static inline int mg_give_copy(struct mg_exchange *x, struct mg_str s, struct mg_str *out)
{
    *out = mg_arena_copy(&x->arena, s.p, s.n);
    return out->p ? 0 : MG_ENOMEM;
}

#endif
