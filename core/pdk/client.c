/* client.c - who is on the other end. Addresses become text only when somebody asks. */
#include "pdk/client.h"
#include "pdk/call.h"
#include "net/tls.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
static const uint8_t none[16];

/* Dotted quads are formatted here: inet_ntop goes through printf. */
static struct mg_str text_v4(struct mg_exchange *x, const uint8_t *a)
{
    char *p = mg_arena_alloc(&x->arena, 16), *o = p;

    if (!p)
        return mg_str(NULL, 0);
    for (int i = 0; i < 4; i++) {
        if (i)
            *o++ = '.';
        if (a[i] >= 100)
            *o++ = (char)('0' + a[i] / 100);
        if (a[i] >= 10)
            *o++ = (char)('0' + a[i] / 10 % 10);
        *o++ = (char)('0' + a[i] % 10);
    }
    return mg_str(p, (size_t)(o - p));
}

static struct mg_str address_text(struct mg_exchange *x, const uint8_t *addr)
{
    char text[INET6_ADDRSTRLEN];

    if (!memcmp(addr, mapped, sizeof mapped))
        return text_v4(x, addr + 12);
    if (!memcmp(addr, none, sizeof none))
        return MG_STR("unix:");
    if (!inet_ntop(AF_INET6, addr, text, sizeof text))
        return mg_str(NULL, 0);
    return mg_arena_copy(&x->arena, text, strlen(text));
}

struct mg_str mg_client_ip_text(struct mg_exchange *x)
{
    if (!x->client_ip.n)
        x->client_ip = memcmp(x->client_addr, x->peer_addr, 16) ? address_text(x, x->client_addr) : mg_client_peer_text(x);
    return x->client_ip;
}

struct mg_str mg_client_peer_text(struct mg_exchange *x)
{
    if (!x->peer_ip.n)
        x->peer_ip = address_text(x, x->peer_addr);
    return x->peer_ip;
}

void mg_client_keep(struct mg_exchange *x)
{
    const struct mg_stream *s = x->down ? x->down->stream : NULL;
    struct mg_str v;

    if (x->tls_kept || !s)
        return;
    x->tls_kept = true;
    if (!s->tls)
        return;
    v = mg_tls_version(s);
    x->tls_version = mg_arena_copy(&x->arena, v.p, v.n);
    v = mg_tls_cipher(s);
    x->tls_cipher = mg_arena_copy(&x->arena, v.p, v.n);
    v = mg_tls_sni(s);
    x->sni = mg_arena_copy(&x->arena, v.p, v.n);
}

int mg_client_ip(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? mg_client_ip_text(x) : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : out->p ? 0 : MG_ENOMEM;
}

int mg_client_addr(struct mg_x *h, uint8_t *out16)
{
    struct mg_exchange *x = mg_with_request(h);

    memcpy(out16, x ? x->client_addr : none, 16);
    return x ? 0 : mg_why_not(h);
}

int mg_client_peer_ip(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? mg_client_peer_text(x) : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : out->p ? 0 : MG_ENOMEM;
}

int mg_client_peer_is_trusted(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return x ? x->peer_is_trusted : mg_why_not(h);
}

int mg_client_port(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return x ? x->peer_port : mg_why_not(h);
}

static int tls_fact(struct mg_x *h, size_t offset, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    mg_client_keep(x);
    memcpy(out, (const char *)x + offset, sizeof *out);
    return 0;
}

int mg_client_tls_version(struct mg_x *h, struct mg_str *out)
{
    return tls_fact(h, offsetof(struct mg_exchange, tls_version), out);
}

int mg_client_tls_cipher(struct mg_x *h, struct mg_str *out)
{
    return tls_fact(h, offsetof(struct mg_exchange, tls_cipher), out);
}

int mg_client_sni(struct mg_x *h, struct mg_str *out)
{
    return tls_fact(h, offsetof(struct mg_exchange, sni), out);
}
