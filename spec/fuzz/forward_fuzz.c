/* Forwarded, X-Forwarded-* and Via of trusted and untrusted peers: whatever stands there, what goes upstream is sound. */
#include "exchange.h"
#include "proxy/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_all(struct mg_exchange *x, struct mg_str in)
{
    static const char *const names[] = { "x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-for",
                                         "forwarded", "via", "x-real-ip" };

    for (size_t i = 0; in.n && i < sizeof(names) / sizeof(names[0]); i++) {
        struct mg_str value = fuzz_next(&in);

        if (value.n)
            fuzz_field(x, names[i], value);
    }
}

static void check_out(const struct mg_head *out)
{
    must(out->target.n > 0 && out->target.p[0] == '/');
    for (uint32_t i = 0; i < out->headers.n; i++) {
        const struct mg_header *h = &out->headers.at[i];

        must(!h->name || mg_header_value_ok(mg_str(h->value, h->value_n)));
    }
}

/* First byte: bit 0 the peer is trusted, bit 1 all addresses are. The second: the peer's address. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_cidr trusted[2] = { 0 };
    struct mg_client client = { 0 };
    struct mg_upstream_spec upstream = { .name = MG_STR("u") };
    struct mg_exchange *x;
    struct mg_snapshot s;
    struct mg_head out = { 0 };
    const uint8_t *me;

    if (size < 2 || size > 8192)
        return 0;
    x = fuzz_exchange();
    s = *x->snapshot;
    must(mg_cidr_parse(MG_STR("10.0.0.0/8"), &trusted[0]) == 0 && mg_cidr_parse(MG_STR("::/0"), &trusted[1]) == 0);
    s.trusted = trusted;
    s.trusted_n = data[0] & 2 ? 2 : 1;
    s.forwarded = MG_FWD_X | MG_FWD_RFC7239;
    s.via = MG_STR("moongate");
    s.via10 = MG_STR("1.0 moongate");
    s.via11 = MG_STR("1.1 moongate");
    me = (uint8_t[16]){ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, data[0] & 1 ? 10 : 192, 0, 2, data[1] };
    memcpy(client.peer_addr, me, 16);
    memcpy(x->peer_addr, me, 16);
    memcpy(x->client_addr, me, 16);
    x->snapshot = &s;
    x->client = &client;
    x->upstream = &upstream;
    x->req->target = MG_STR("/a/b?c=d");
    x->req->authority = MG_STR("example.com:8080");
    add_all(x, mg_str((const char *)data + 2, size - 2));
    must(mg_forward_facts(x) == 0);
    if (!(data[0] & 3))
        must(memcmp(x->client_addr, me, 16) == 0); /* a stranger's word counts for nothing */
    if (mg_forward_request(x, &out) == 0) {
        check_out(&out);
        if (!(data[0] & 3))
            must(!mg_headers_find_id(&out.headers, MG_H_X_REAL_IP));
    }
    mg_exchange_free(x);
    return 0;
}
