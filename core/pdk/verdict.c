/* verdict.c - what a plugin found out from a secret, or from what it remembers: noted by a recording, given again on a replay.
 * Service "verdict"; question: its name; no answer but the number. */
#include "pdk/call.h"
#include "exchange/outside.h"

enum { WHAT_MAX = 128 };

int mg_recall(struct mg_x *h, const char *what, size_t n, int64_t *value)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_str answer;

    *value = 0;
    if (!x)
        return MG_EENDED;
    if (!n || n > WHAT_MAX)
        return MG_EINVAL;
    return mg_outside_answers(x, "verdict", mg_str(what, n), value, &answer) ? 0 : MG_ENOENT;
}

int mg_note(struct mg_x *h, const char *what, size_t n, int64_t value)
{
    struct mg_exchange *x = mg_handle(h);

    (void)what;
    if (!x)
        return MG_EENDED;
    if (!n || n > WHAT_MAX)
        return MG_EINVAL;
    mg_outside_told(x, "verdict", value, mg_str(NULL, 0));
    return 0;
}
