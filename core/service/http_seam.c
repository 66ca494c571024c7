/* http_seam.c - what is asked of a simulated world in place of the network, and told to a recording. Formats: http.h.
 *
 * An op names its call by number, since a listener may end it when the call has been closed. */
#include "service/http_inner.h"

#include <stdio.h>
#include <stdlib.h>

struct mg_op *mg_call_op(struct mg_call *c, void (*cancel)(struct mg_op *))
{
    struct mg_op *op = mg_op_start(c->x, cancel);

    if (op)
        op->arg = (void *)(intptr_t)c->number;
    return op;
}

struct mg_call *mg_call_of(const struct mg_op *op)
{
    return mg_call_find(op->x, (int)(intptr_t)op->arg);
}

static struct mg_str heap_str(const struct mg_grown *h) { return mg_str(h->p ? h->p : "", h->n); }

/* Bytes that live until the exchange ends, when an op's answer is to. */
static int give(struct mg_op *op, struct mg_grown *h, struct mg_str *answer)
{
    *answer = mg_arena_copy(&op->x->arena, h->p ? h->p : "", h->n);
    mg_grown_free(h);
    return answer->p ? 0 : MG_ENOMEM;
}

/* ---- failures ---- */

static int save_failure(const struct mg_call *c, struct mg_op *op, struct mg_str *answer)
{
    *answer = mg_arena_printf(&op->x->arena, "%s: %.*s", c->token ? c->token : "cancelled", (int)c->words.n, c->words.n ? c->words.p : "");
    return answer->p ? 0 : MG_ENOMEM;
}

static int load_failure(struct mg_call *c, int status, struct mg_str answer)
{
    const char *colon = answer.n ? memmem(answer.p, answer.n, ": ", 2) : NULL;
    struct mg_str token = colon ? mg_str(answer.p, (size_t)(colon - answer.p)) : answer;
    struct mg_str copy = token.n ? mg_arena_copy(&c->arena, token.p, token.n) : mg_str(NULL, 0);
    struct mg_str words = colon ? mg_arena_copy(&c->arena, colon + 2, answer.n - token.n - 2) : mg_str("", 0);

    mg_call_fail(c, status, copy.p ? copy.p : mg_call_token(status), words.p ? words.p : "");
    return status;
}

/* ---- http, http.head ---- */

static int save_answer(struct mg_op *op, struct mg_str *answer)
{
    struct mg_call *c = mg_call_of(op);
    struct mg_grown text = { 0 };

    if (!c)
        return MG_ENOENT;
    if (op->status < 0)
        return save_failure(c, op, answer);
    if (!mg_http_text_response(c, &text)) {
        mg_grown_free(&text);
        return MG_ENOMEM;
    }
    return give(op, &text, answer);
}

static int take_message(struct mg_call *c, struct mg_str answer)
{
    struct mg_http_text_message m;
    int rc = mg_http_text_parse(answer, c->req.method, &c->arena, &m, &c->in);

    if (rc == 0 && !c->is_streamed && (int64_t)c->in.n > c->limit) {
        mg_call_fail(c, MG_ETOOBIG, "response_too_large", "the answer's body is over the limit");
        return MG_ETOOBIG;
    }
    if (rc) {
        mg_call_fail(c, rc, rc == MG_ENOMEM ? "no_memory" : "bad_response", "the simulated answer is no HTTP/1.1 response");
        return rc;
    }
    c->res = m.head;
    c->trailers = m.trailers;
    c->is_here = !c->is_streamed || m.says_length;
    c->in_ended = c->is_here;
    if (c->is_here)
        mg_loop_disarm(&c->x->worker->loop, &c->total_timer);
    c->state = c->is_here ? MG_CALL_DONE : MG_CALL_RECEIVING;
    return 0;
}

static int load_answer(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_call *c = mg_call_of(op);

    if (!c || c->op != op)
        return MG_ECANCELED;
    c->op = NULL; /* the caller ends it */
    return status < 0 ? load_failure(c, status, answer) : take_message(c, answer);
}

static const struct mg_op_kind http_kind = { .service = "http", .save = save_answer, .load = load_answer };
static const struct mg_op_kind head_kind = { .service = "http.head", .save = save_answer, .load = load_answer };

bool mg_call_asks(struct mg_call *c, struct mg_op *op)
{
    struct mg_grown text = { 0 };

    if (!c->x->outside)
        return false;
    if (mg_http_text_request(c, &text))
        c->is_simulated = mg_outside_takes(op, c->is_streamed ? &head_kind : &http_kind, heap_str(&text));
    mg_grown_free(&text);
    return c->is_simulated;
}

/* ---- http.read ---- */

static int save_piece(struct mg_op *op, struct mg_str *answer)
{
    struct mg_call *c = mg_call_of(op);
    struct mg_grown text = { 0 };

    if (!c)
        return MG_ENOENT;
    if (op->status < 0)
        return save_failure(c, op, answer);
    if (op->status > 0 && !mg_grown_put(&text, c->piece.p, c->piece.n))
        return MG_ENOMEM;
    if (op->status == 0 && c->trailers && !mg_http_text_fields(c->trailers, &text)) {
        mg_grown_free(&text);
        return MG_ENOMEM;
    }
    return give(op, &text, answer);
}

static int take_end(struct mg_call *c, struct mg_str answer)
{
    c->in_ended = true;
    c->state = MG_CALL_DONE;
    mg_loop_disarm(&c->x->worker->loop, &c->total_timer);
    if (!answer.n)
        return 0;
    c->trailers = mg_arena_zalloc(&c->arena, sizeof(*c->trailers));
    return c->trailers ? mg_http_text_parse_fields(answer, &c->arena, c->trailers) : MG_ENOMEM;
}

static int load_piece(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_call *c = mg_call_of(op);

    if (!c || c->read_op != op)
        return MG_ECANCELED;
    c->read_op = NULL;
    if (status < 0)
        return load_failure(c, status, answer);
    if (status == 0)
        return take_end(c, answer);
    c->piece.n = 0;
    if (!mg_grown_put(&c->piece, answer.p, answer.n))
        return MG_ENOMEM;
    c->has_piece = true;
    return (int)answer.n;
}

static const struct mg_op_kind read_kind = { .service = "http.read", .save = save_piece, .load = load_piece };

bool mg_call_asks_read(struct mg_call *c, struct mg_op *op)
{
    char number[16];

    if (!c->x->outside)
        return false;
    return mg_outside_takes(op, &read_kind, mg_str(number, (size_t)snprintf(number, sizeof(number), "%d", c->number)));
}

/* ---- http.write, http.end ---- */

static int load_write(struct mg_op *op, int status, struct mg_str answer)
{
    struct mg_call *c = mg_call_of(op);

    if (c && c->write_op == op)
        c->write_op = NULL;
    return c && status < 0 ? load_failure(c, status, answer) : status;
}

static const struct mg_op_kind write_kind = { .service = "http.write", .load = load_write };

bool mg_call_asks_write(struct mg_call *c, struct mg_op *op, struct mg_str bytes)
{
    struct mg_grown text = { 0 };
    char number[16];
    bool taken = false;

    if (mg_grown_put(&text, number, (size_t)snprintf(number, sizeof(number), "%d\n", c->number)) && mg_grown_put(&text, bytes.p, bytes.n))
        taken = mg_outside_takes(op, &write_kind, heap_str(&text));
    mg_grown_free(&text);
    return taken;
}

void mg_call_says_end(struct mg_call *c)
{
    struct mg_str answer, question;
    int64_t status;
    char number[16];

    if (!c->x->outside)
        return;
    question = mg_str(number, (size_t)snprintf(number, sizeof(number), "%d", c->number));
    if (!mg_outside_answers(c->x, "http.end", question, &status, &answer))
        mg_outside_told(c->x, "http.end", 0, mg_str("", 0));
}
