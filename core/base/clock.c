#include "base/clock.h"
#include <stdbool.h>
#include <string.h>
#include <time.h>

static _Thread_local bool is_set;
static _Thread_local int64_t set_monotonic, set_wall;

static int64_t read_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t mg_clock_monotonic_us(void) { return is_set ? set_monotonic : read_us(CLOCK_MONOTONIC); }
int64_t mg_clock_wall_us(void) { return is_set ? set_wall : read_us(CLOCK_REALTIME); }

void mg_clock_set(int64_t monotonic_us, int64_t wall_us)
{
    is_set = monotonic_us != -1 || wall_us != -1;
    set_monotonic = monotonic_us;
    set_wall = wall_us;
}

static void put2(char *p, int v)
{
    p[0] = (char)('0' + v / 10);
    p[1] = (char)('0' + v % 10);
}

const char *mg_clock_http_date(void)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static _Thread_local char text[32];
    static _Thread_local int64_t made = -1;
    int64_t now = mg_clock_wall_us() / 1000000;
    time_t t = (time_t)now;
    struct tm tm;

    if (now == made)
        return text;
    gmtime_r(&t, &tm);
    memcpy(text, "Sun, 06 Nov 1994 08:49:37 GMT", 30);
    memcpy(text, days + (size_t)tm.tm_wday * 3, 3);
    put2(text + 5, tm.tm_mday);
    memcpy(text + 8, months + (size_t)tm.tm_mon * 3, 3);
    put2(text + 12, (tm.tm_year + 1900) / 100);
    put2(text + 14, (tm.tm_year + 1900) % 100);
    put2(text + 17, tm.tm_hour);
    put2(text + 20, tm.tm_min);
    put2(text + 23, tm.tm_sec);
    made = now;
    return text;
}
