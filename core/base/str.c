#include "base/str.h"

bool mg_str_ieq(struct mg_str a, struct mg_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] != b.p[i] && mg_lower(a.p[i]) != mg_lower(b.p[i]))
            return false;
    }
    return true;
}

int mg_str_cmp(struct mg_str a, struct mg_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool mg_str_starts(struct mg_str s, struct mg_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

struct mg_str mg_str_trim(struct mg_str s)
{
    if (s.n && (uint8_t)s.p[0] > ' ' && (uint8_t)s.p[s.n - 1] > ' ')
        return s;
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool mg_str_next(struct mg_str *rest, char sep, struct mg_str *item)
{
    while (rest->n) {
        const char *end = memchr(rest->p, sep, rest->n);
        size_t n = end ? (size_t)(end - rest->p) : rest->n;
        size_t skip = end ? n + 1 : n;

        *item = mg_str_trim(mg_str(rest->p, n));
        rest->p += skip;
        rest->n -= skip;
        if (item->n)
            return true;
    }
    *item = mg_str(NULL, 0);
    return false;
}

bool mg_str_u64(struct mg_str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (!s.n)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - '0';

        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

/* ---- did you mean ---- */

enum { WORD_MAX = 64 };

static unsigned char fold(char c) { return c == '_' ? '-' : (unsigned char)mg_lower(c); }

/* Edits between two words (letters added, dropped, changed, or two neighbours swapped); WORD_MAX when
 * one is too long to be worth it. */
static size_t distance(struct mg_str a, struct mg_str b)
{
    size_t row[3][WORD_MAX + 1];
    size_t *before = row[0], *above = row[1], *here = row[2];

    if (a.n > WORD_MAX || b.n > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b.n; j++)
        here[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *spare = before;

        before = above;
        above = here;
        here = spare;
        here[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = above[j - 1] + (fold(a.p[i - 1]) != fold(b.p[j - 1]));

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (here[j - 1] + 1 < best)
                best = here[j - 1] + 1;
            if (i > 1 && j > 1 && fold(a.p[i - 1]) == fold(b.p[j - 2]) && fold(a.p[i - 2]) == fold(b.p[j - 1]) &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            here[j] = best;
        }
    }
    return here[b.n];
}

const char *mg_str_nearest(struct mg_str word, const char *const *known, size_t n)
{
    size_t best = word.n <= 3 ? 2 : word.n / 3 + 2; /* must be beaten: at most a third of the letters differ */
    const char *found = NULL;

    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, mg_str_c(known[i]));

        if (d < best && d < strlen(known[i])) {
            best = d;
            found = known[i];
        }
    }
    return found;
}
