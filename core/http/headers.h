/* headers.h - a header block: fields in the order in which they came.
 *
 * An array of spans in the exchange's arena. Names that the core itself looks for have an id, found
 * when the head is parsed, so that "is there a Host" compares numbers. A field that was removed
 * stays as a hole (name.p NULL). Plugins' view (pdk/headers.c) and codecs use this one structure. */
#ifndef MG_HTTP_HEADERS_H
#define MG_HTTP_HEADERS_H

#include "base/arena.h"

/* Fields that the core knows by number. MG_H_OTHER: any other. Kept sorted in http/headers.c. */
enum mg_header_id {
    MG_H_OTHER = 0,
    MG_H_ACCEPT_ENCODING, MG_H_ALLOW, MG_H_AUTHORIZATION, MG_H_CONNECTION, MG_H_CONTENT_ENCODING, MG_H_CONTENT_LENGTH, MG_H_CONTENT_TYPE, MG_H_COOKIE, MG_H_DATE,
    MG_H_EXPECT, MG_H_FORWARDED, MG_H_HOST, MG_H_KEEP_ALIVE, MG_H_LOCATION, MG_H_PROXY_CONNECTION, MG_H_SERVER, MG_H_TE,
    MG_H_TRAILER, MG_H_TRANSFER_ENCODING, MG_H_UPGRADE, MG_H_USER_AGENT, MG_H_VIA,
    MG_H_X_FORWARDED_FOR, MG_H_X_FORWARDED_HOST, MG_H_X_FORWARDED_PORT, MG_H_X_FORWARDED_PROTO, MG_H_X_REAL_IP,
    MG_H_COUNT
};

struct mg_header {
    const char *name, *value;   /* name NULL: a hole */
    uint32_t name_n, value_n;
    uint16_t id;                /* enum mg_header_id */
    uint16_t flags;             /* enum mg_header_flags */
};
enum mg_header_flags { MG_HEADER_CHECKED = 1 }; /* name and value came through a codec's parser, or mg_headers_put: fit to be sent as they are */

struct mg_headers {
    struct mg_header *at;
    uint32_t n, room;           /* n counts holes */
    uint64_t present;           /* mg_header_bit of each field that was ever added; a clear bit means absent */
};

_Static_assert(MG_H_COUNT <= 48, "too few bits of `present` are left for the names without a number");

/* The bit of a known field is its own; all other names share the rest. Most of what is looked for is not there, and
 * that is seen without a look at the fields. */
static inline uint64_t mg_header_bit(int id, const char *name, size_t n)
{
    if (id != MG_H_OTHER || n == 0)
        return UINT64_C(1) << id;
    return UINT64_C(1) << (MG_H_COUNT + (n + 5 * (name[0] | 0x20u) + 3 * (name[n - 1] | 0x20u)) % (64 - MG_H_COUNT));
}
int mg_header_id_of(struct mg_str name);        /* whatever its case */
struct mg_str mg_header_id_name(int id);        /* "Content-Length", as we write it */
/* The first such field, or NULL. */
struct mg_header *mg_headers_find(const struct mg_headers *h, struct mg_str name);
struct mg_header *mg_headers_find_id(const struct mg_headers *h, int id);
struct mg_header *mg_headers_next(const struct mg_headers *h, const struct mg_header *after); /* the next of the same name */
/* Append; name and value are borrowed (they live in the arena or are literals). 0 or MG_ENOMEM. */
int mg_headers_add(struct mg_headers *h, struct mg_arena *a, struct mg_str name, struct mg_str value);
int mg_headers_add_id(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str value);
int mg_headers_set_id(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str value);
/* Set (or add, without `replace`) a copy of a field of which the caller has made sure, by mg_header_name_ok and
 * mg_header_value_ok, that it can be sent: it is not looked through again on its way out. id: mg_header_id_of(name). */
int mg_headers_put(struct mg_headers *h, struct mg_arena *a, int id, struct mg_str name, struct mg_str value, bool replace);
int mg_headers_remove(struct mg_headers *h, struct mg_str name); /* how many */
int mg_headers_remove_id(struct mg_headers *h, int id);
/* Bytes that a field name (token) or value (RFC 9110, 5.5: no controls but HTAB) may hold. */
bool mg_header_name_ok(struct mg_str name);
bool mg_header_value_ok(struct mg_str value);

#endif
