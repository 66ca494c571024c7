/* units.c - durations and sizes as people write them. */
#include "config/check.h"

struct unit { const char *name; double factor; };

/* Digits with an optional fraction, then the unit. */
static bool parse(struct mg_str s, const struct unit *units, size_t units_n, int64_t *out)
{
    double value = 0, scale = 1;
    size_t i = 0, digits = 0;

    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++, digits++)
        value = value * 10 + (s.p[i] - '0');
    if (i < s.n && s.p[i] == '.' && digits) {
        size_t before = ++i;

        for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            value += (s.p[i] - '0') * (scale /= 10);
        if (i == before)
            return false;
    }
    if (digits == 0 || digits > 15)
        return false;
    s = mg_str(s.p + i, s.n - i);
    for (i = 0; i < units_n; i++) {
        if (mg_str_eq(s, mg_str_c(units[i].name))) {
            value *= units[i].factor;
            if (value > 9e15)
                return false;
            *out = (int64_t)(value + 0.5);
            return true;
        }
    }
    return false;
}

bool mg_duration_parse(struct mg_str s, int64_t *ms)
{
    static const struct unit units[] = { { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 36e5 }, { "d", 864e5 } };

    return parse(s, units, 5, ms);
}

bool mg_size_parse(struct mg_str s, int64_t *bytes)
{
    static const struct unit units[] = { { "", 1 }, { "k", 1024 }, { "m", 1048576 }, { "g", 1073741824 } };

    return parse(s, units, 4, bytes);
}
