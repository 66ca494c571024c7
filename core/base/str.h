/* str.h - runs of bytes: comparing and cutting them without copying. */
#ifndef MG_BASE_STR_H
#define MG_BASE_STR_H

#include <moongate/pdk.h>
#include <string.h>

#define MG_STR(literal) ((struct mg_str){ literal, sizeof(literal) - 1 })

static inline struct mg_str mg_str(const char *p, size_t n) { return (struct mg_str){ p, n }; }
static inline struct mg_str mg_str_c(const char *s) { return (struct mg_str){ s, s ? strlen(s) : 0 }; }
static inline bool mg_str_eq(struct mg_str a, struct mg_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline char mg_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

/* ASCII case does not matter. */
bool mg_str_ieq(struct mg_str a, struct mg_str b);
int mg_str_cmp(struct mg_str a, struct mg_str b);
bool mg_str_starts(struct mg_str s, struct mg_str prefix);
/* Without SP and HTAB at both ends (OWS of RFC 9110, 5.6.3). */
struct mg_str mg_str_trim(struct mg_str s);
/* Cut the next item off a list with separator `sep` (for fields: ','), trimmed; false at the end.
 * Empty items are passed over (RFC 9110, 5.6.1); quotes mean nothing here. */
bool mg_str_next(struct mg_str *rest, char sep, struct mg_str *item);
/* A whole decimal number without sign, at most `max`; false for anything else, overflow included. */
bool mg_str_u64(struct mg_str s, uint64_t max, uint64_t *out);
/* Hash with a per-process random key (SipHash), for tables that outsiders can fill. */
uint64_t mg_str_hash(struct mg_str s);
/* The nearest of n known words to `word`, for "did you mean"; NULL when none is near. */
const char *mg_str_nearest(struct mg_str word, const char *const *known, size_t n);

#endif
