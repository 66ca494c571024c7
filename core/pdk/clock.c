/* clock.c - the time, from the one source that tests can set. */
#include "base/clock.h"
#include "base/str.h"

int64_t mg_now_ms(void) { return mg_clock_wall_us() / 1000; }
int64_t mg_now_us(void) { return mg_clock_wall_us(); }
int64_t mg_monotonic_us(void) { return mg_clock_monotonic_us(); }
