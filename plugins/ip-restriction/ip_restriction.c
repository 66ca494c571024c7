/* ip_restriction.c - which addresses may call?
 *
 *     { "ip-restriction", allow = { "10.0.0.0/8", "2001:db8::/32" }, deny = "10.0.0.13" }
 *
 * A denied address is refused; where `allow` names any, all others are refused as well. Both lists are
 * compiled to disjoint sorted ranges (IPv4 as ::ffff:a.b.c.d), so ten thousand entries cost a binary search. The
 * address is the client's, as the trusted proxies tell it. */
#include "../no_memory.h"
#include <moongate/plugin.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf {
    struct mg_array allow, deny; /* of struct mg_str */
    int64_t status;
    struct mg_str message;
};
struct range {
    uint8_t from[16], to[16];
};
struct ranges {
    struct range *items;
    size_t n;
};
struct instance {
    const struct conf *conf;
    struct ranges allow, deny;
};

static const struct mg_field address_item = { .type = MG_STRING, .has_min = true, .min = 2 };
static const struct mg_field fields[] = {
    { .name = "allow", .type = MG_LIST, .offset = offsetof(struct conf, allow), .item = &address_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Addresses and networks that may call; when empty, all but the denied." },
    { .name = "deny", .type = MG_LIST, .offset = offsetof(struct conf, deny), .item = &address_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Addresses and networks that may not call; stronger than allow." },
    { .name = "status", .type = MG_INT, .offset = offsetof(struct conf, status), .preset = "403", .has_min = true, .min = 400,
      .has_max = true, .max = 599, .doc = "Status of the refusal." },
    { .name = "message", .type = MG_STRING, .offset = offsetof(struct conf, message),
      .preset = "Your address may not call this.", .doc = "Detail of the refusal." },
    { 0 }
};

/* ---- reading addresses -------------------------------------------------------------------------- */

/* "10.0.0.1" or "2001:db8::1" to 16 bytes; returns the number of bits before the address proper (96 or 0), or -1. */
static int parse_address(const char *p, size_t n, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];

    if (n == 0 || n >= sizeof(text))
        return -1;
    memcpy(text, p, n);
    text[n] = 0;
    if (inet_pton(AF_INET6, text, out) == 1)
        return 0;
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    return inet_pton(AF_INET, text, out + 12) == 1 ? 96 : -1;
}

static int parse_bits(const char *p, size_t n, int most)
{
    int v = 0;

    if (n == 0 || n > 3)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v <= most ? v : -1;
}

/* The network's last address; false when bits beyond the prefix are set in `from`. */
static bool fill_range(struct range *r, int bits)
{
    bool is_clean = true;

    memcpy(r->to, r->from, 16);
    for (int i = bits; i < 128; i++) {
        uint8_t bit = (uint8_t)(0x80 >> (i & 7));

        if (r->from[i >> 3] & bit)
            is_clean = false;
        r->from[i >> 3] &= (uint8_t)~bit;
        r->to[i >> 3] |= bit;
    }
    return is_clean;
}

/* "ADDRESS", "ADDRESS/BITS" or "FIRST-LAST". NULL, or what is wrong with it. */
static const char *parse_range(struct mg_str s, struct range *r)
{
    const char *slash = memchr(s.p, '/', s.n), *dash = memchr(s.p, '-', s.n);
    const char *cut = slash ? slash : dash;
    size_t n = cut ? (size_t)(cut - s.p) : s.n;
    size_t rest = cut ? s.n - n - 1 : 0;
    int skip = parse_address(s.p, n, r->from), bits;

    if (skip < 0)
        return "is no IP address or network";
    if (!cut) {
        memcpy(r->to, r->from, 16);
        return NULL;
    }
    if (dash == cut) {
        if (parse_address(cut + 1, rest, r->to) != skip)
            return "does not end in an address of the same family";
        return memcmp(r->from, r->to, 16) > 0 ? "ends before it begins" : NULL;
    }
    bits = parse_bits(cut + 1, rest, 128 - skip);
    if (bits < 0)
        return skip ? "needs a prefix of 0 to 32 bits" : "needs a prefix of 0 to 128 bits";
    return fill_range(r, skip + bits) ? NULL : "has bits set beyond its prefix";
}

static int compare_ranges(const void *a, const void *b)
{
    return memcmp(((const struct range *)a)->from, ((const struct range *)b)->from, 16);
}

/* Sorted ranges to disjoint ones. */
static void merge_ranges(struct ranges *rs)
{
    size_t kept = 0;

    for (size_t i = 1; i < rs->n; i++) {
        struct range *last = &rs->items[kept];

        if (memcmp(rs->items[i].from, last->to, 16) > 0)
            rs->items[++kept] = rs->items[i];
        else if (memcmp(rs->items[i].to, last->to, 16) > 0)
            memcpy(last->to, rs->items[i].to, 16);
    }
    if (rs->n)
        rs->n = kept + 1;
}

static int compile(const char *field, const struct mg_array *list, struct ranges *out, struct mg_error *err)
{
    const struct mg_str *s = list->items;

    if (list->n == 0)
        return 0;
    out->items = malloc(list->n * sizeof(*out->items));
    if (!out->items)
        return no_memory(err);
    for (size_t i = 0; i < list->n; i++) {
        const char *wrong = parse_range(s[i], &out->items[i]);

        if (wrong) {
            snprintf(err->message, sizeof(err->message), "%s[%zu]: \"%.*s\" %s", field, i + 1, (int)(s[i].n < 100 ? s[i].n : 100),
                     s[i].p, wrong);
            return err->code = MG_ECONF;
        }
    }
    out->n = list->n;
    qsort(out->items, out->n, sizeof(*out->items), compare_ranges);
    merge_ranges(out);
    return 0;
}

static bool contains(const struct ranges *rs, const uint8_t addr[16])
{
    size_t low = 0, high = rs->n;

    while (low < high) { /* the last range that begins at or before addr */
        size_t mid = low + (high - low) / 2;

        if (memcmp(rs->items[mid].from, addr, 16) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && memcmp(addr, rs->items[low - 1].to, 16) <= 0;
}

/* ---- the plugin --------------------------------------------------------------------------------- */

static void destroy(void *self)
{
    struct instance *in = self;

    free(in->allow.items);
    free(in->deny.items);
    free(in);
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = calloc(1, sizeof(*in));

    if (!in)
        return no_memory(err);
    in->conf = entry->conf;
    if (!in->conf->allow.n && !in->conf->deny.n) {
        snprintf(err->message, sizeof(err->message), "needs allow or deny");
        err->code = MG_ECONF;
    } else if (compile("allow", &in->conf->allow, &in->allow, err) == 0
               && compile("deny", &in->conf->deny, &in->deny, err) == 0) {
        *self = in;
        return 0;
    }
    destroy(in);
    return err->code;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    const struct conf *c = in->conf;
    uint8_t addr[16];

    (void)local;
    if (mg_client_addr(x, addr) < 0)
        return MG_ERROR;
    if (!contains(&in->deny, addr) && (in->allow.n == 0 || contains(&in->allow, addr)))
        return MG_CONTINUE;
    return mg_respond_error(x, (int)c->status, c->message.p, c->message.n) < 0 ? MG_ERROR : MG_RESPOND;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "ip-restriction", .version = "1.0",
    .doc = "Lets only some client addresses call.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request,
};
