/* jwt.c - who calls? The one whom a signed token names (RFC 7519, RFC 8725).
 *
 *     { "jwt", keys = { { kid = "k1", algorithm = "RS256", public_key = "keys/issuer.pem" } },
 *       issuer = "https://login.example.com", audience = "orders", scopes = "orders:read",
 *       consumer_claim = "sub", claims_to_headers = { sub = "x-user" } }
 *     consumers = { shop = { jwt = { { "shop-key", secret = os.getenv "SHOP_SECRET" } } } }
 *
 * A token names its key by `kid` (or a claim, for consumers' keys); the key says which algorithm counts. Then come
 * the signature, the times, issuer and audience, the claims and scopes that the config asks for. Refusals
 * speak RFC 6750. */
#include "jwt.h"
#include "../cookies.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct mg_str default_header = { "authorization", 13 };

/* ---- life --------------------------------------------------------------------------------------- */

static void destroy(void *self)
{
    jwt_keys_unload(self);
    free(self);
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = calloc(1, sizeof(*in));
    const struct conf *c = entry->conf;
    char folder[4096];

    if (!in)
        return no_memory(err);
    in->conf = c;
    in->headers = c->headers;
    in->is_default_place = !c->headers.n && !c->query.n && !c->cookies.n;
    if (in->is_default_place)
        in->headers = (struct mg_array){ &default_header, 1 };
    snprintf(folder, sizeof(folder), "%.*s", (int)entry->folder.n, entry->folder.n ? entry->folder.p : "");
    if (jwt_keys_load(in, folder, err) < 0) {
        destroy(in);
        return err->code;
    }
    *self = in;
    return 0;
}

static int worker_create(void *self, void **local)
{
    const struct conf *c = ((struct instance *)self)->conf;
    struct worker *w;
    size_t n = 0;

    if (c->cache)
        for (n = 1; n < (size_t)c->cache;)
            n *= 2;
    w = calloc(1, sizeof(*w) + n * sizeof(struct seen));
    if (!w)
        return MG_ENOMEM;
    w->seen_n = n;
    w->ctx = EVP_MD_CTX_new();
    if (!w->ctx) {
        free(w);
        return MG_ENOMEM;
    }
    *local = w;
    return 0;
}

static void worker_destroy(void *self, void *local)
{
    struct worker *w = local;

    (void)self;
    EVP_MD_CTX_free(w->ctx);
    free(w);
}

/* ---- the token ---------------------------------------------------------------------------------- */

/* "Bearer TOKEN" to "TOKEN"; in Authorization nothing else will do. */
static bool strip_bearer(struct mg_str *s, bool must)
{
    if (s->n < 7 || strncasecmp(s->p, "bearer ", 7))
        return !must && s->n > 0;
    s->p += 7;
    s->n -= 7;
    while (s->n && *s->p == ' ') {
        s->p++;
        s->n--;
    }
    return true;
}

static bool is_authorization(struct mg_str name)
{
    return name.n == 13 && !strncasecmp(name.p, "authorization", 13);
}

static bool find_token(struct mg_x *x, const struct instance *in, struct mg_str *out)
{
    const struct conf *c = in->conf;
    const struct mg_str *s = in->headers.items;

    for (size_t i = 0; i < in->headers.n; i++)
        if (mg_header_get(x, MG_REQUEST, s[i].p, s[i].n, out) == 0 && strip_bearer(out, is_authorization(s[i])))
            return true;
    s = c->query.items;
    for (size_t i = 0; i < c->query.n; i++)
        if (mg_query_get(x, s[i].p, s[i].n, out) == 0 && out->n)
            return true;
    s = c->cookies.items;
    for (size_t i = 0; i < c->cookies.n; i++)
        if (mg_request_cookie(x, s[i].p, s[i].n, out) == 0 && out->n)
            return true;
    return false;
}

static int hide(struct mg_x *x, const struct instance *in)
{
    const struct mg_str *s = in->headers.items;
    struct mg_str value;

    for (size_t i = 0; i < in->headers.n; i++)
        if (mg_header_get(x, MG_REQUEST, s[i].p, s[i].n, &value) == 0 && strip_bearer(&value, is_authorization(s[i])))
            mg_header_remove(x, MG_REQUEST, s[i].p, s[i].n);
    s = in->conf->query.items;
    for (size_t i = 0; i < in->conf->query.n; i++)
        mg_query_remove(x, s[i].p, s[i].n);
    s = in->conf->cookies.items;
    for (size_t i = 0; i < in->conf->cookies.n; i++)
        if (mg_hide_cookie(x, s[i]) < 0)
            return MG_ENOMEM;
    return 0;
}

/* ---- the key ------------------------------------------------------------------------------------ */

static const struct jwt_key *find_own_key(const struct instance *in, const struct token *t)
{
    int index = jwt_algorithm_find(t->algorithm);

    if (index < 0)
        return NULL;
    for (size_t i = 0; i < in->keys_n; i++) {
        const struct jwt_key *k = in->keys[i];

        if (k->kid.n != t->kid.n || (k->kid.n && memcmp(k->kid.p, t->kid.p, k->kid.n)))
            continue;
        if (k->kid.n || !strcmp(k->algorithm->name, jwt_algorithm_names[index + 1]))
            return k;
    }
    return NULL;
}

/* A consumer's key by the token's kid, or by the claim that names it. */
static const struct jwt_key *find_consumers_key(struct mg_x *x, const struct instance *in, const struct token *t, int *credential)
{
    const struct jwt_key_conf *found;
    struct mg_str name = t->kid;

    *credential = MG_ENOENT;
    if (name.n)
        *credential = mg_credential_find(x, "jwt", 3, name.p, name.n);
    if (*credential < 0 && in->conf->key_claim.n && claim_text(t->claims, claim_find(t->claims, in->conf->key_claim), &name)
        && name.n)
        *credential = mg_credential_find(x, "jwt", 3, name.p, name.n);
    if (*credential < 0)
        return NULL;
    found = mg_credential_conf(x, *credential);
    return found ? found->key : NULL;
}

/* Verify, or remember that it was verified: the same bytes under the same key are right again. */
static bool verify_really(const struct token *t, const struct jwt_key *key, struct worker *w)
{
    struct seen *seen = NULL;
    struct mg_str digest;
    uint32_t h;

    if (w->seen_n && key->algorithm->family != JWT_HS /* as cheap as a digest */
        && mg_digest("sha256", t->whole.p, t->whole.n, &digest) == 0 && digest.n == 32) {
        memcpy(&h, digest.p, sizeof(h));
        seen = &w->seen[h & (w->seen_n - 1)];
        if (seen->key == key && !memcmp(seen->digest, digest.p, 32))
            return true;
    }
    if (!jwt_key_verify(key, w->ctx, t->signed_text, t->signature))
        return false;
    if (seen) {
        mg_digest("sha256", t->whole.p, t->whole.n, &digest);
        memcpy(seen->digest, digest.p, 32);
        seen->key = key;
    }
    return true;
}

/* A recording has the token without its signature, and whether it was right. */
static bool verify(struct mg_x *x, const struct token *t, const struct jwt_key *key, struct worker *w)
{
    int64_t is_right;

    if (mg_recall(x, "jwt signature", 13, &is_right) != 0) {
        is_right = verify_really(t, key, w);
        mg_note(x, "jwt signature", 13, is_right);
    }
    return is_right != 0;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static char *put(char *p, const char *text, size_t n)
{
    memcpy(p, text, n);
    return p + n;
}

static char *put_parameter(char *p, const char *name, const char *value, size_t value_n)
{
    p = put(p, name, strlen(name));
    p = put(p, "=\"", 2);
    p = put(p, value, value_n);
    return put(p, "\"", 1);
}

/* WWW-Authenticate as RFC 6750, 3 has it. */
static int set_challenge(struct mg_x *x, const struct conf *c, const struct refusal *r)
{
    const struct mg_str *s = c->scopes.items;
    size_t room = 200 + c->realm.n;
    char *start, *p;

    for (size_t i = 0; i < c->scopes.n; i++)
        room += s[i].n + 1;
    start = mg_x_alloc(x, room);
    if (!start)
        return MG_ENOMEM;
    p = put(start, "Bearer ", 7);
    p = put_parameter(p, "realm", c->realm.p, c->realm.n);
    if (r->error) {
        p = put_parameter(put(p, ", ", 2), "error", r->error, strlen(r->error));
        p = put_parameter(put(p, ", ", 2), "error_description", r->description, strlen(r->description));
    }
    if (r->status == 403 && c->scopes.n) {
        p = put(p, ", scope=\"", 9);
        for (size_t i = 0; i < c->scopes.n; i++) {
            if (i)
                *p++ = ' ';
            p = put(p, s[i].p, s[i].n);
        }
        *p++ = '"';
    }
    return mg_header_set(x, MG_RESPONSE, "www-authenticate", 16, start, (size_t)(p - start));
}

static enum mg_verdict refuse(struct mg_x *x, const struct conf *c, struct refusal r)
{
    if (mg_respond_error(x, r.status, r.description, strlen(r.description)) < 0 || set_challenge(x, c, &r) < 0)
        return MG_ERROR;
    return MG_RESPOND;
}

static enum mg_verdict without_token(struct mg_x *x, const struct conf *c)
{
    struct mg_str id;

    if (!c->anonymous.n)
        return refuse(x, c, (struct refusal){ 401, NULL, "This needs a token." });
    if (mg_consumer_credential_id(x, &id) == 0) /* recognised by an earlier entry */
        return MG_CONTINUE;
    return mg_consumer_set(x, c->anonymous.p, c->anonymous.n) < 0 ? MG_ERROR : MG_CONTINUE;
}

/* ---- a request ---------------------------------------------------------------------------------- */

static struct refusal invalid(const char *description)
{
    return (struct refusal){ 401, "invalid_token", description };
}

/* Whose token is it? A consumer's key names its consumer, whatever the claims say. */
static struct refusal recognise(struct mg_x *x, const struct conf *c, struct mg_json *claims, int credential)
{
    struct mg_str name;
    int rc;

    if (credential >= 0)
        rc = mg_consumer_set_credential(x, credential);
    else if (!c->consumer_claim.n)
        return (struct refusal){ 0, NULL, NULL };
    else if (!claim_text(claims, claim_find(claims, c->consumer_claim), &name))
        return invalid("the token names no consumer");
    else
        rc = mg_consumer_set(x, name.p, name.n);
    if (rc == MG_ENOENT)
        return invalid("the token names nobody who is known here");
    return (struct refusal){ rc < 0 ? 500 : 0, NULL, NULL };
}

static struct refusal judge(struct mg_x *x, const struct instance *in, struct worker *w, struct token *t)
{
    const struct conf *c = in->conf;
    int credential = -1;
    const struct jwt_key *key = find_own_key(in, t);
    struct refusal r;

    if (!key)
        key = find_consumers_key(x, in, t, &credential);
    if (!key)
        return invalid("the token names no key that is known here");
    if (strlen(key->algorithm->name) != t->algorithm.n || memcmp(key->algorithm->name, t->algorithm.p, t->algorithm.n))
        return invalid("the token's algorithm is not its key's");
    if (!verify(x, t, key, w))
        return invalid("the token's signature is wrong");
    r = jwt_claims_check(c, t, mg_now_ms());
    if (r.status)
        return r;
    r = recognise(x, c, t->claims, credential);
    if (r.status)
        return r;
    if (jwt_claims_hand_on(x, c, t->claims) < 0)
        return (struct refusal){ 500, NULL, NULL };
    return r;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    const struct conf *c = in->conf;
    struct refusal r = { 0, NULL, NULL };
    struct mg_str text;
    struct token t;
    uint8_t *room;

    if (!find_token(x, in, &text))
        return without_token(x, c);
    if (text.n > (size_t)c->max_bytes)
        return refuse(x, c, invalid("the token is too long"));
    room = mg_x_alloc(x, text.n + 4);
    if (!room)
        return MG_ERROR;
    r.description = token_open(&t, text, room);
    r = r.description ? invalid(r.description) : judge(x, in, local, &t);
    token_close(&t);
    if (r.status == 500)
        return MG_ERROR;
    if (r.status)
        return refuse(x, c, r);
    return c->hide && hide(x, in) < 0 ? MG_ERROR : MG_CONTINUE;
}

/* ---- facts -------------------------------------------------------------------------------------- */

static const char *const *provides_of(const void *conf)
{
    static const char *const both[] = { "consumer", "credential", NULL };
    static const char *const consumer[] = { "consumer", NULL };
    const struct conf *c = conf;
    bool has_own = c->keys.n || c->jwks.n;

    if (!has_own) /* consumers' keys alone */
        return c->anonymous.n ? consumer : both;
    return c->consumer_claim.n ? consumer : NULL;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "jwt", .version = "1.0",
    .doc = "Recognises callers by signed tokens.",
    .fields = jwt_fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .provides_of = provides_of, .credentials = &jwt_credentials,
    .create = create, .destroy = destroy, .worker_create = worker_create, .worker_destroy = worker_destroy,
    .on_request = on_request,
};
