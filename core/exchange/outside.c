#include "exchange/outside.h"

bool mg_outside_takes(struct mg_op *op, const struct mg_op_kind *kind, struct mg_str question)
{
    struct mg_exchange *x = op->x;
    struct mg_str answer = mg_str(NULL, 0);
    int64_t status = 0;

    op->kind = kind;
    if (!x->outside || !x->outside->ask(x->outside, x, op, kind->service, question, &status, &answer))
        return false;
    op->is_simulated = true;
    op->cancel = NULL;
    return true;
}

void mg_outside_end(struct mg_op *op, int status, struct mg_str answer)
{
    if (op->kind && op->kind->load)
        status = op->kind->load(op, status, answer);
    mg_op_end(op, status);
}
