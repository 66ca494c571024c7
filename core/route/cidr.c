/* cidr.c - ranges of addresses. IPv4 lives in ::ffff:0:0/96, so one comparison serves both. */
#include "route/router.h"

#include <arpa/inet.h>

static bool host_bits_clear(const uint8_t *addr, int bits)
{
    for (int i = bits; i < 128; i++)
        if (addr[i / 8] & (0x80 >> (i % 8)))
            return false;
    return true;
}

/* The address before the slash into 16 bytes; how many bits of them a family fixes goes to *fixed. */
static bool parse_address(struct mg_str s, uint8_t *out, int *fixed)
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (strlen(text) != s.n)
        return false;
    *fixed = 0;
    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    *fixed = 96;
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    return inet_pton(AF_INET, text, out + 12) == 1;
}

int mg_cidr_parse(struct mg_str s, struct mg_cidr *out)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    struct mg_str address = slash ? mg_str(s.p, (size_t)(slash - s.p)) : s;
    uint64_t bits;
    int fixed;

    if (!parse_address(address, out->addr, &fixed))
        return MG_EINVAL;
    bits = 128 - (uint64_t)fixed;
    if (slash && !mg_str_u64(mg_str(slash + 1, s.n - address.n - 1), bits, &bits))
        return MG_EINVAL;
    out->bits = fixed + (int)bits;
    return host_bits_clear(out->addr, out->bits) ? 0 : MG_EINVAL;
}

bool mg_cidr_has(const struct mg_cidr *c, const uint8_t addr16[16])
{
    int whole = c->bits / 8, rest = c->bits % 8;

    if (whole && memcmp(c->addr, addr16, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((c->addr[whole] ^ addr16[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}
