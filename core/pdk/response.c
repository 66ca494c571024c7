/* response.c - the response's status, and recording an answer. */
#include "pdk/call.h"
#include "pdk/problem.h"
#include "base/alloc.h"

enum { SMALL_ANSWER = 16384 };

static struct mg_head *response(struct mg_exchange *x)
{
    return x->answer_head ? x->answer_head : x->res;
}

int mg_response_status(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return !x ? mg_why_not(h) : response(x) ? response(x)->status : 0;
}

int mg_response_set_status(struct mg_x *h, int status)
{
    struct mg_exchange *x = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (!response(x) || (!x->answer_head && !mg_may(x, MG_SET_RESPONSE)))
        return MG_EPHASE;
    if (status < 200 || status > 599)
        return MG_EINVAL;
    response(x)->status = status;
    response(x)->reason = mg_reason(status);
    return 0;
}

int mg_response_source(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return !x ? mg_why_not(h) : x->answer_head ? MG_SOURCE_PLUGIN : x->source;
}

int mg_x_failure(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? mg_str_c(x->failure) : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

/* Large answers are bodies: they do not count against the exchange's memory. */
static int copy_body(struct mg_exchange *x, const char *p, size_t n, struct mg_str *out)
{
    char *copy;

    if (n <= SMALL_ANSWER)
        return mg_give_copy(x, mg_str(p, n), out);
    copy = mg_malloc(n);
    if (!copy)
        return MG_ENOMEM;
    if (mg_arena_defer(&x->arena, mg_free, copy)) {
        mg_free(copy);
        return MG_ENOMEM;
    }
    memcpy(copy, p, n);
    *out = mg_str(copy, n);
    return 0;
}

static int may_answer(struct mg_x *h, const struct mg_exchange *x, int status)
{
    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_RECORD_ANSWER))
        return MG_EPHASE;
    if (x->in_step && x->phase == MG_ON_REQUEST_BODY && x->response_started)
        return MG_EPHASE; /* the upstream's answer is on its way to the client */
    return status < 200 || status > 599 ? MG_EINVAL : 0;
}

static int record(struct mg_exchange *x, int status, struct mg_str body)
{
    struct mg_head *head = mg_arena_zalloc(&x->arena, sizeof *head);

    if (!head)
        return MG_ENOMEM;
    head->status = status;
    head->reason = mg_reason(status);
    head->version = 11;
    head->framing = MG_BODY_LENGTH;
    head->length = (int64_t)body.n;
    x->answer_head = head;
    x->answer_feed = NULL;
    x->answer = body;
    return 0;
}

int mg_respond(struct mg_x *h, int status, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str body;
    int rc = may_answer(h, x, status);

    if (rc)
        return rc;
    rc = copy_body(x, p, n, &body);
    return rc ? rc : record(x, status, body);
}

int mg_respond_error(struct mg_x *h, int status, const char *detail, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str type, body;
    int rc = may_answer(h, x, status);

    if (rc)
        return rc;
    rc = mg_problem(x, status, mg_str(detail, n), &type, &body);
    if (!rc)
        rc = record(x, status, body);
    if (!rc)
        rc = mg_headers_add_id(&x->answer_head->headers, &x->arena, MG_H_CONTENT_TYPE, type);
    if (rc)
        x->answer_head = NULL;
    return rc;
}
