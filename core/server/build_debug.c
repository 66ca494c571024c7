/* build_debug.c - the config's `debug`: who may ask for a trace of the chain. */
#include "server/build_parts.h"
#include "proxy/traces.h"

static int networks(struct mg_making *m, struct mg_debug_conf *d, const struct mg_value *node)
{
    const struct mg_value *list = mg_value_get(node, "networks");
    const struct mg_str *texts = m->conf.debug.networks.items;
    size_t n = m->conf.debug.networks.n;
    struct mg_cidr *out = mg_arena_zalloc(mg_making_arena(m), (n + 1) * sizeof *out);

    if (!out)
        return MG_ENOMEM;
    d->networks = out;
    d->networks_n = n;
    for (size_t i = 0; i < n; i++)
        if (mg_cidr_parse(texts[i], &out[i]) != 0)
            mg_check_add(&m->check, mg_value_at(list, i), "expected an address or a network such as \"10.0.0.0/8\"; found \"%.*s\"", (int)texts[i].n,
                         texts[i].p);
    return 0;
}

int mg_make_debug(struct mg_making *m)
{
    const struct mg_value *node = mg_value_get(m->config->root, "debug");
    struct mg_debug_conf *d;
    char *p;

    if (!node || node->kind != MG_V_TABLE)
        return 0;
    d = mg_arena_zalloc(mg_making_arena(m), sizeof *d);
    p = mg_arena_alloc(mg_making_arena(m), m->conf.debug.header.n + 1);
    if (!d || !p)
        return MG_ENOMEM;
    for (size_t i = 0; i < m->conf.debug.header.n; i++)
        p[i] = m->conf.debug.header.p[i] >= 'A' && m->conf.debug.header.p[i] <= 'Z' ? (char)(m->conf.debug.header.p[i] | 0x20) : m->conf.debug.header.p[i];
    d->header = mg_str(p, m->conf.debug.header.n);
    d->secrets = m->conf.debug.secrets.items;
    d->secrets_n = m->conf.debug.secrets.n;
    d->masked = m->conf.debug.mask.items;
    d->masked_n = m->conf.debug.mask.n;
    d->keep = (int)m->conf.debug.keep;
    m->s->debug = d;
    return networks(m, d, node);
}
