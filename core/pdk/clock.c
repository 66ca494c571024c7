/* clock.c - the time, from the one source that tests can set. */
#include "base/clock.h"
#include "exchange/outside.h"

static int64_t as_told(struct mg_exchange *x, const char *service, int64_t now)
{
    struct mg_str answer = mg_str(NULL, 0);
    int64_t said = now;

    if (mg_outside_answers(x, service, answer, &said, &answer))
        return said;
    mg_outside_told(x, service, now, answer);
    return now;
}

int64_t mg_now_us(void)
{
    struct mg_exchange *x = mg_outside_here();
    int64_t now = mg_clock_wall_us();

    return x ? as_told(x, "now", now) : now;
}

int64_t mg_now_ms(void)
{
    return mg_now_us() / 1000;
}

int64_t mg_monotonic_us(void)
{
    struct mg_exchange *x = mg_outside_here();
    int64_t now = mg_clock_monotonic_us();

    return x ? as_told(x, "monotonic", now) : now;
}
