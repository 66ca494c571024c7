#include "service/dns.h"
#include "pdk/call.h"

int mg_dns_resolve(struct mg_x *h, const char *name, size_t n, int type)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x)
        return MG_EENDED;
    if (!x->in_step || !mg_may(x, MG_START_WAIT))
        return MG_EPHASE;
    if (!n || n > 253 || (type != MG_DNS_ANY && type != MG_DNS_A && type != MG_DNS_AAAA && !mg_is_record_type(type)))
        return MG_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (name[i] <= 0x20 || name[i] >= 0x7f)
            return MG_EINVAL;
    return mg_dns_ask(x, mg_str(name, n), type);
}

int mg_dns_addresses(struct mg_x *h, int op, struct mg_str *out)
{
    struct mg_exchange *x = mg_handle(h);

    *out = mg_str(NULL, 0);
    return x ? mg_dns_answer(x, op, out) : MG_EENDED;
}

int mg_dns_free(struct mg_x *h, int op)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x)
        return MG_EENDED;
    mg_dns_forget(x, op);
    return 0;
}
