/* consumer.c - recognising the caller. */
#include "pdk/call.h"
#include "exchange/consumer.h"
#include "exchange/outside.h"

static const struct mg_consumers *all(const struct mg_exchange *x)
{
    return x->snapshot ? mg_snapshot_view.consumers(x->snapshot) : NULL;
}

/* Question: "KIND KEY", answer: "CONSUMER ID" of the credential: a key does not leave with a recording, and its number is the snapshot's. */
static const struct mg_credential *find_told(struct mg_exchange *x, struct mg_str kind, struct mg_str key)
{
    struct mg_str question = mg_arena_printf(&x->arena, "%.*s %.*s", (int)kind.n, kind.p, (int)key.n, key.p), answer, name;
    const struct mg_credential *c;
    int64_t status = 0;

    if (!mg_outside_answers(x, "credential", question, &status, &answer)) {
        c = mg_consumers_credential(all(x), kind, key);
        answer = c ? mg_arena_printf(&x->arena, "%.*s %.*s", (int)c->consumer->name.n, c->consumer->name.p, (int)c->id.n, c->id.p) : mg_str(NULL, 0);
        mg_outside_told(x, "credential", c ? 0 : MG_ENOENT, answer);
        return c;
    }
    if (status < 0)
        return NULL;
    name = answer.n ? mg_str(answer.p, 0) : answer;
    while (name.n < answer.n && answer.p[name.n] != ' ')
        name.n++;
    for (int i = 0; (c = mg_consumers_number(all(x), i)); i++)
        if (mg_str_eq(c->kind, kind) && mg_str_eq(c->consumer->name, name) && name.n < answer.n &&
            mg_str_eq(c->id, mg_str(answer.p + name.n + 1, answer.n - name.n - 1)))
            return c;
    return NULL;
}

int mg_credential_find(struct mg_x *h, const char *kind, size_t kind_n, const char *key, size_t key_n)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_credential *c;

    if (!x)
        return mg_why_not(h);
    c = x->outside ? find_told(x, mg_str(kind, kind_n), mg_str(key, key_n))
                   : mg_consumers_credential(all(x), mg_str(kind, kind_n), mg_str(key, key_n));
    return c ? c->number : MG_ENOENT;
}

static int pair_value(const struct mg_pair *pairs, size_t n, struct mg_str name, struct mg_str *out)
{
    for (size_t i = 0; i < n; i++)
        if (mg_str_eq(pairs[i].name, name))
            return mg_give(out, pairs[i].value);
    return MG_ENOENT;
}

int mg_credential_get(struct mg_x *h, int credential, const char *field, size_t field_n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_credential *c;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    c = mg_consumers_number(all(x), credential);
    return c ? pair_value(c->fields, c->fields_n, mg_str(field, field_n), out) : MG_ENOENT;
}

static int of_credential(struct mg_x *h, int credential, bool is_owner, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_credential *c;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    c = mg_consumers_number(all(x), credential);
    return c ? mg_give(out, is_owner ? c->consumer->name : c->id) : MG_ENOENT;
}

int mg_credential_id(struct mg_x *h, int credential, struct mg_str *out)
{
    return of_credential(h, credential, false, out);
}

int mg_credential_consumer(struct mg_x *h, int credential, struct mg_str *out)
{
    return of_credential(h, credential, true, out);
}

const void *mg_credential_conf(struct mg_x *h, int credential)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_credential *c = x ? mg_consumers_number(all(x), credential) : NULL;

    return c ? c->conf : NULL;
}

int mg_consumer_set_credential(struct mg_x *h, int credential)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_credential *c;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    c = mg_consumers_number(all(x), credential);
    if (!c)
        return MG_ENOENT;
    x->credential = c;
    x->consumer = c->consumer;
    return 0;
}

int mg_consumer_set(struct mg_x *h, const char *name, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_consumer *c;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    c = mg_consumers_find(all(x), mg_str(name, n));
    if (!c)
        return MG_ENOENT;
    x->consumer = c;
    x->credential = NULL;
    return 0;
}

int mg_consumer_name(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->consumer ? x->consumer->name : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : x->consumer ? 0 : MG_ENOENT;
}

int mg_consumer_credential_id(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->credential ? x->credential->id : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : x->credential ? 0 : MG_ENOENT;
}

int mg_consumer_group_at(struct mg_x *h, int i, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    if (!x->consumer || i < 0 || (size_t)i >= x->consumer->groups_n)
        return MG_ENOENT;
    *out = x->consumer->groups[i];
    return 0;
}

int mg_consumer_in_group(struct mg_x *h, const char *group, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    for (size_t i = 0; x->consumer && i < x->consumer->groups_n; i++)
        if (mg_str_eq(x->consumer->groups[i], mg_str(group, n)))
            return 1;
    return 0;
}

int mg_consumer_meta(struct mg_x *h, const char *name, size_t n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    return x->consumer ? pair_value(x->consumer->metadata, x->consumer->metadata_n, mg_str(name, n), out) : MG_ENOENT;
}

int mg_consumer_find(struct mg_x *h, const char *name, size_t name_n, const char *meta, size_t meta_n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_consumer *c;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    c = mg_consumers_find(all(x), mg_str(name, name_n));
    if (!c)
        return MG_ENOENT;
    return meta_n ? pair_value(c->metadata, c->metadata_n, mg_str(meta, meta_n), out) : mg_give(out, c->name);
}
