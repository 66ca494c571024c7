/* phase.h - what may be done in which phase: the one table.
 *
 * Reading is allowed everywhere, but for tasks, which have no request and no response. Outside of plugins' functions (the proxy
 * renders a template, say) everything is. */
#ifndef MG_PDK_PHASE_H
#define MG_PDK_PHASE_H

#include "exchange/exchange.h"

enum mg_right {
    MG_SET_REQUEST,      /* method, path, query, request fields, id, consumer */
    MG_SET_RESPONSE,     /* status and response fields (or of an answer just recorded, anywhere) */
    MG_RECORD_ANSWER,    /* mg_respond */
    MG_CHOOSE_UPSTREAM,
    MG_READ_REQUEST_BODY, MG_READ_RESPONSE_BODY, /* whole: read and set */
    MG_RESIZE_REQUEST, MG_RESIZE_RESPONSE,
    MG_TOUCH_PIECE,
    MG_START_WAIT,
    MG_RIGHTS
};

#define MG_BIT(phase) (1u << (phase))
static const uint32_t mg_rights[MG_RIGHTS] = {
    [MG_SET_REQUEST] = MG_BIT(MG_ON_REWRITE) | MG_BIT(MG_ON_REQUEST),
    [MG_SET_RESPONSE] = MG_BIT(MG_ON_RESPONSE),
    [MG_RECORD_ANSWER] = MG_BIT(MG_ON_REWRITE) | MG_BIT(MG_ON_REQUEST) | MG_BIT(MG_ON_REQUEST_BODY) | MG_BIT(MG_ON_RESPONSE),
    [MG_CHOOSE_UPSTREAM] = MG_BIT(MG_ON_REQUEST),
    [MG_READ_REQUEST_BODY] = MG_BIT(MG_ON_REQUEST),
    [MG_READ_RESPONSE_BODY] = MG_BIT(MG_ON_RESPONSE),
    [MG_RESIZE_REQUEST] = MG_BIT(MG_ON_REWRITE) | MG_BIT(MG_ON_REQUEST),
    [MG_RESIZE_RESPONSE] = MG_BIT(MG_ON_REWRITE) | MG_BIT(MG_ON_REQUEST) | MG_BIT(MG_ON_RESPONSE),
    [MG_TOUCH_PIECE] = MG_BIT(MG_ON_REQUEST_BODY) | MG_BIT(MG_ON_RESPONSE_BODY),
    /* on_log is told, not asked: the exchange ends when it returns. */
    [MG_START_WAIT] = MG_BIT(MG_ON_REWRITE) | MG_BIT(MG_ON_REQUEST) | MG_BIT(MG_ON_REQUEST_BODY) | MG_BIT(MG_ON_RESPONSE) |
                      MG_BIT(MG_ON_RESPONSE_BODY) | MG_BIT(MG_ON_STREAM) | MG_BIT(MG_ON_TASK) | MG_BIT(MG_ON_WORKER),
};

static inline bool mg_may(const struct mg_exchange *x, enum mg_right right)
{
    if (x->in_step)
        return mg_rights[right] & MG_BIT(x->phase);
    return !x->worker->running; /* another's function has no rights over it */
}

/* The exchange behind a handle, for calls about its request or response; NULL when it has ended, and for a task, which has neither:
 * mg_why_not gives the code. */
static inline struct mg_exchange *mg_with_request(const struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);

    return x && !x->task ? x : NULL;
}
static inline int mg_why_not(const struct mg_x *h) { return mg_handle(h) ? MG_EPHASE : MG_EENDED; }

#endif
