/* clock.h - what time is it? One source, so that tests can set it. */
#ifndef MG_BASE_CLOCK_H
#define MG_BASE_CLOCK_H

#include <stdint.h>

int64_t mg_clock_monotonic_us(void);
int64_t mg_clock_wall_us(void); /* since 1970 */
/* The HTTP date of now ("Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 5.6.7): 29 characters, made once a second for each thread. */
const char *mg_clock_http_date(void);
/* Tests: from now on this thread's clocks stand still at these values until set again; (-1, -1) lets them run. */
void mg_clock_set(int64_t monotonic_us, int64_t wall_us);

#endif
