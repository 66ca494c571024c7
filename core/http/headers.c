#include "http/headers.h"
#include "base/bytes.h"

/* Sorted as enum mg_header_id. */
static const struct mg_str names[MG_H_COUNT] = {
    [MG_H_OTHER] = { "", 0 },
    [MG_H_ACCEPT_ENCODING] = { "Accept-Encoding", 15 },
    [MG_H_ALLOW] = { "Allow", 5 },
    [MG_H_AUTHORIZATION] = { "Authorization", 13 },
    [MG_H_CONNECTION] = { "Connection", 10 },
    [MG_H_CONTENT_ENCODING] = { "Content-Encoding", 16 },
    [MG_H_CONTENT_LENGTH] = { "Content-Length", 14 },
    [MG_H_CONTENT_TYPE] = { "Content-Type", 12 },
    [MG_H_COOKIE] = { "Cookie", 6 },
    [MG_H_DATE] = { "Date", 4 },
    [MG_H_EXPECT] = { "Expect", 6 },
    [MG_H_FORWARDED] = { "Forwarded", 9 },
    [MG_H_HOST] = { "Host", 4 },
    [MG_H_KEEP_ALIVE] = { "Keep-Alive", 10 },
    [MG_H_LOCATION] = { "Location", 8 },
    [MG_H_PROXY_CONNECTION] = { "Proxy-Connection", 16 },
    [MG_H_SERVER] = { "Server", 6 },
    [MG_H_TE] = { "TE", 2 },
    [MG_H_TRAILER] = { "Trailer", 7 },
    [MG_H_TRANSFER_ENCODING] = { "Transfer-Encoding", 17 },
    [MG_H_UPGRADE] = { "Upgrade", 7 },
    [MG_H_USER_AGENT] = { "User-Agent", 10 },
    [MG_H_VIA] = { "Via", 3 },
    [MG_H_X_FORWARDED_FOR] = { "X-Forwarded-For", 15 },
    [MG_H_X_FORWARDED_HOST] = { "X-Forwarded-Host", 16 },
    [MG_H_X_FORWARDED_PORT] = { "X-Forwarded-Port", 16 },
    [MG_H_X_FORWARDED_PROTO] = { "X-Forwarded-Proto", 17 },
    [MG_H_X_REAL_IP] = { "X-Real-IP", 9 },
};

/* Letters of either case look the same. */
static inline uint64_t word8(const char *p)
{
    return mg_word8(p) | MG_ONES * 0x20;
}

static inline uint32_t word4(const char *p)
{
    uint32_t w;

    memcpy(&w, p, 4);
    return w | UINT32_C(0x20202020);
}

/* Is it the known name b, whatever its case? Known names have letters and '-' alone, and of the bytes that a token may
 * hold only these give the same byte with bit 5 set, so whole words are compared; the last one overlaps. */
static inline bool is_known(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            if (word8(a + i) != word8(b + i))
                return false;
        return word8(a + n - 8) == word8(b + n - 8);
    }
    if (n >= 4)
        return word4(a) == word4(b) && word4(a + n - 4) == word4(b + n - 4);
    for (size_t i = 0; i < n; i++)
        if ((a[i] | 0x20) != (b[i] | 0x20))
            return false;
    return true;
}

/* Field names are short; a call to strncasecmp would cost more than the comparison. Nearly all of them differ in their
 * first word, whatever its case, or are equal to the letter. */
static inline bool same_name(const char *a, const char *b, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n && mg_word8(a + i) == mg_word8(b + i); i += 8)
        ;
    if (i + 8 <= n && word8(a + i) != word8(b + i))
        return false;
    for (; i < n; i++)
        if (mg_lower(a[i]) != mg_lower(b[i]))
            return false;
    return true;
}

/* Length and last letter but one tell all known names apart; one comparison settles it. */
static int candidate(struct mg_str s)
{
    char c = s.n < 2 ? 0 : (char)(s.p[s.n - 2] | 0x20);

    switch (s.n) {
    case 2: return MG_H_TE;
    case 3: return MG_H_VIA;
    case 4: return c == 's' ? MG_H_HOST : MG_H_DATE;
    case 5: return MG_H_ALLOW;
    case 6: return c == 'i' ? MG_H_COOKIE : c == 'c' ? MG_H_EXPECT : MG_H_SERVER;
    case 7: return c == 'd' ? MG_H_UPGRADE : MG_H_TRAILER;
    case 8: return MG_H_LOCATION;
    case 9: return c == 'e' ? MG_H_FORWARDED : MG_H_X_REAL_IP;
    case 10: return c == 'o' ? MG_H_CONNECTION : c == 'n' ? MG_H_USER_AGENT : MG_H_KEEP_ALIVE;
    case 12: return MG_H_CONTENT_TYPE;
    case 13: return MG_H_AUTHORIZATION;
    case 14: return MG_H_CONTENT_LENGTH;
    case 15: return c == 'n' ? MG_H_ACCEPT_ENCODING : MG_H_X_FORWARDED_FOR;
    case 16:
        return c == 'n'   ? MG_H_CONTENT_ENCODING
               : c == 'o' ? MG_H_PROXY_CONNECTION
               : c == 's' ? MG_H_X_FORWARDED_HOST
                          : MG_H_X_FORWARDED_PORT;
    case 17: return c == 'n' ? MG_H_TRANSFER_ENCODING : MG_H_X_FORWARDED_PROTO;
    default: return MG_H_OTHER;
    }
}

int mg_header_id_of(struct mg_str name)
{
    int id = candidate(name);

    return id != MG_H_OTHER && is_known(name.p, names[id].p, name.n) ? id : MG_H_OTHER;
}

struct mg_str mg_header_id_name(int id)
{
    return id > MG_H_OTHER && id < MG_H_COUNT ? names[id] : names[MG_H_OTHER];
}

static inline bool is_field(const struct mg_header *f, int id, const char *name, size_t n)
{
    if (!f->name || f->id != id)
        return false;
    return id != MG_H_OTHER || (f->name_n == n && same_name(f->name, name, n));
}

static struct mg_header *find_from(const struct mg_headers *h, uint32_t i, int id, const char *name, size_t n)
{
    if (!(h->present & mg_header_bit(id, name, n)))
        return NULL;
    for (; i < h->n; i++)
        if (is_field(&h->at[i], id, name, n))
            return &h->at[i];
    return NULL;
}

struct mg_header *mg_headers_find(const struct mg_headers *h, struct mg_str name)
{
    return find_from(h, 0, mg_header_id_of(name), name.p, name.n);
}

struct mg_header *mg_headers_find_id(const struct mg_headers *h, int id)
{
    return id > MG_H_OTHER && id < MG_H_COUNT ? find_from(h, 0, id, NULL, 0) : NULL;
}

struct mg_header *mg_headers_next(const struct mg_headers *h, const struct mg_header *after)
{
    return find_from(h, (uint32_t)(after - h->at) + 1, after->id, after->name, after->name_n);
}

static int add(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str name, struct mg_str value, int flags)
{
    struct mg_header *f;

    if (name.n == 0 || name.n > UINT32_MAX || value.n > UINT32_MAX)
        return MG_EINVAL;
    if (h->n == h->room) {
        uint32_t room = h->room ? h->room * 2 : 8;

        if (room < h->room)
            return MG_ENOMEM;
        f = mg_arena_grow(a, h->at, h->room * sizeof *f, room * sizeof *f);
        if (!f)
            return MG_ENOMEM;
        h->at = f;
        h->room = room;
    }
    h->at[h->n++] = (struct mg_header){ .name = name.p, .value = value.p ? value.p : "", .name_n = (uint32_t)name.n,
                                        .value_n = (uint32_t)value.n, .id = (uint16_t)id, .flags = (uint16_t)flags };
    h->present |= mg_header_bit(id, name.p, name.n);
    return 0;
}

int mg_headers_add(struct mg_headers *h, struct mg_arena *a, struct mg_str name, struct mg_str value)
{
    return add(h, a, mg_header_id_of(name), name, value, 0);
}

int mg_headers_add_id(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str value)
{
    return add(h, a, id, mg_header_id_name(id), value, 0);
}

static int remove_from(struct mg_headers *h, struct mg_header *f, int id, const char *name, size_t n)
{
    int count = 0;

    for (; f && f < h->at + h->n; f++)
        if (is_field(f, id, name, n)) {
            f->name = NULL;
            count++;
        }
    return count;
}

int mg_headers_set_id(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str value)
{
    struct mg_str name = mg_header_id_name(id);
    struct mg_header *f = find_from(h, 0, id, name.p, name.n);

    if (!f)
        return add(h, a, id, name, value, 0);
    if (value.n > UINT32_MAX)
        return MG_EINVAL;
    f->value = value.p ? value.p : "";
    f->value_n = (uint32_t)value.n;
    f->flags = 0;
    remove_from(h, f + 1, id, name.p, name.n);
    return 0;
}

int mg_headers_put(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str name, struct mg_str value, bool replace)
{
    struct mg_header *f = replace ? find_from(h, 0, id, name.p, name.n) : NULL;
    size_t name_n = f || id != MG_H_OTHER ? 0 : name.n; /* to be copied */
    char *copy;

    if (name.n > UINT32_MAX || value.n > UINT32_MAX)
        return MG_EINVAL;
    copy = mg_arena_alloc(a, name_n + value.n + 1);
    if (!copy)
        return MG_ENOMEM;
    mg_copy_short(copy, value.p, value.n);
    value.p = copy;
    if (f) {
        f->value = copy;
        f->value_n = (uint32_t)value.n;
        remove_from(h, f + 1, id, name.p, name.n);
        return 0;
    }
    if (id != MG_H_OTHER) {
        name = mg_header_id_name(id);
    } else {
        mg_copy_short(copy + value.n, name.p, name.n);
        name.p = copy + value.n;
    }
    return add(h, a, id, name, value, MG_HEADER_CHECKED);
}

int mg_headers_remove(struct mg_headers *h, struct mg_str name)
{
    int id = mg_header_id_of(name);

    return remove_from(h, find_from(h, 0, id, name.p, name.n), id, name.p, name.n);
}

int mg_headers_remove_id(struct mg_headers *h, int id)
{
    return remove_from(h, mg_headers_find_id(h, id), id, NULL, 0);
}

/* token of RFC 9110, 5.6.2 */
static const uint8_t token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool mg_header_name_ok(struct mg_str name)
{
    const uint8_t *p = (const uint8_t *)name.p;
    unsigned all = 1;
    size_t i = 0;

    for (; i + 4 <= name.n; i += 4)
        all &= token[p[i]] & token[p[i + 1]] & token[p[i + 2]] & token[p[i + 3]];
    for (; i < name.n; i++)
        all &= token[p[i]];
    return all && name.n > 0;
}

bool mg_header_value_ok(struct mg_str value)
{
    if (mg_bytes_from(value.p, value.n, 0x20))
        return true;
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = (uint8_t)value.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
