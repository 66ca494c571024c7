#include "jwt.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const encodings[] = { "text", "base64", "base64url", "hex", NULL };
static const char *const scope_words[] = { "all", "any", NULL };

#define TOKEN "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

static const struct mg_field name_item = { .type = MG_STRING, .pattern = TOKEN };
static const struct mg_field text_item = { .type = MG_STRING, .has_min = true, .min = 1 };
static const struct mg_field scope_item = { .type = MG_STRING, .pattern = "[!#-\\[\\]-~]+" }; /* RFC 6749, 3.3 */
static const struct mg_field texts_item = { .type = MG_LIST, .item = &text_item, .item_bytes = sizeof(struct mg_str), .single = true,
                                            .has_min = true, .min = 1 };

#define KEY_FIELDS \
    { .name = "algorithm", .type = MG_ENUM, .offset = offsetof(struct jwt_key_conf, algorithm), .values = jwt_algorithm_names, \
      .preset = "auto", .doc = "The one algorithm that the key is for; \"auto\": what a JWK says, HS256 for a secret." }, \
    { .name = "secret", .type = MG_STRING, .offset = offsetof(struct jwt_key_conf, secret), .preset = "", .secret = true, \
      .doc = "HS algorithms: the shared secret." }, \
    { .name = "secret_encoding", .type = MG_ENUM, .offset = offsetof(struct jwt_key_conf, encoding), .values = encodings, \
      .preset = "text", .doc = "How the secret is written." }, \
    { .name = "public_key", .type = MG_STRING, .offset = offsetof(struct jwt_key_conf, public_key), .preset = "", \
      .doc = "The other algorithms: a PEM public key or certificate, or a file that holds one." }, \
    { .name = "jwk", .type = MG_ANY, .offset = offsetof(struct jwt_key_conf, jwk), .secret = true, \
      .doc = "The key as a JWK (RFC 7517), in place of secret and public_key." }

static const struct mg_field key_fields[] = {
    { .name = "kid", .type = MG_STRING, .offset = offsetof(struct jwt_key_conf, name), .preset = "",
      .doc = "The key's id in tokens; a key without one is tried for tokens that name none." },
    KEY_FIELDS,
    { 0 }
};
static const struct mg_field key_item = { .type = MG_TABLE, .fields = key_fields };

static const struct mg_field credential_fields[] = {
    { .name = "key", .type = MG_STRING, .offset = offsetof(struct jwt_key_conf, name), .required = true, .at = 1, .has_min = true,
      .min = 1, .doc = "What a token names the key by: its kid, or its issuer (see key_claim)." },
    KEY_FIELDS,
    { .name = "id", .type = MG_STRING, .offset = offsetof(struct jwt_key_conf, id),
      .doc = "A name for the credential in logs." },
    { 0 }
};

static int prepare(void *conf, const char *folder, struct mg_error *err)
{
    struct jwt_key_conf *c = conf;

    c->key = jwt_key_new(c, folder, err);
    return c->key ? 0 : err->code;
}

static void release(void *conf)
{
    struct jwt_key_conf *c = conf;

    jwt_key_free(c->key);
    c->key = NULL;
}

const struct mg_credential_kind jwt_credentials = {
    .kind = "jwt", .fields = credential_fields, .conf_bytes = sizeof(struct jwt_key_conf), .key = "key",
    .prepare = prepare, .release = release,
};

const struct mg_field jwt_fields[] = {
    { .name = "header", .type = MG_LIST, .offset = offsetof(struct conf, headers), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true,
      .doc = "Header fields that may carry the token, with or without \"Bearer\"; authorization (with it) when no place is named." },
    { .name = "query", .type = MG_LIST, .offset = offsetof(struct conf, query), .item = &text_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Query arguments that may carry the token." },
    { .name = "cookie", .type = MG_LIST, .offset = offsetof(struct conf, cookies), .item = &name_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Cookies that may carry the token." },
    { .name = "keys", .type = MG_LIST, .offset = offsetof(struct conf, keys), .item = &key_item,
      .item_bytes = sizeof(struct jwt_key_conf), .doc = "Keys of issuers; besides, consumers may have their own." },
    { .name = "jwks", .type = MG_PATH, .offset = offsetof(struct conf, jwks), .doc = "A file with a JWK set, whose keys are added." },
    { .name = "key_claim", .type = MG_STRING, .offset = offsetof(struct conf, key_claim), .preset = "iss",
      .doc = "The claim that names a consumer's key where the token has no kid." },
    { .name = "consumer_claim", .type = MG_STRING, .offset = offsetof(struct conf, consumer_claim), .preset = "",
      .doc = "Tokens of an issuer's key: the claim that names the consumer." },
    { .name = "issuer", .type = MG_LIST, .offset = offsetof(struct conf, issuers), .item = &text_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Values of iss that will do; any when none is given." },
    { .name = "audience", .type = MG_LIST, .offset = offsetof(struct conf, audiences), .item = &text_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Audiences of which aud has to hold one; any when none is given." },
    { .name = "require", .type = MG_LIST, .offset = offsetof(struct conf, required), .item = &text_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Claims that have to be there." },
    { .name = "claims", .type = MG_MAP, .offset = offsetof(struct conf, claims), .item = &texts_item,
      .item_bytes = sizeof(struct claim_values),
      .doc = "Claims and the values that will do; one is enough. A list in the token has to hold one of them." },
    { .name = "scopes", .type = MG_LIST, .offset = offsetof(struct conf, scopes), .item = &scope_item,
      .item_bytes = sizeof(struct mg_str), .single = true, .doc = "Scopes that the token has to have." },
    { .name = "scopes_match", .type = MG_ENUM, .offset = offsetof(struct conf, scopes_match), .values = scope_words, .preset = "all",
      .doc = "All of the scopes, or any." },
    { .name = "scope_claim", .type = MG_STRING, .offset = offsetof(struct conf, scope_claim), .preset = "scope",
      .doc = "The claim with the scopes: words with spaces between, or a list." },
    { .name = "type", .type = MG_STRING, .offset = offsetof(struct conf, type), .preset = "",
      .doc = "What the header's typ has to be, such as \"at+jwt\"." },
    { .name = "require_exp", .type = MG_BOOL, .offset = offsetof(struct conf, require_exp), .preset = "true",
      .doc = "Refuse tokens that never expire." },
    { .name = "leeway", .type = MG_DURATION, .offset = offsetof(struct conf, leeway_ms), .preset = "0s", .has_min = true, .min = 0,
      .has_max = true, .max = 3600000, .doc = "How far the issuer's clock may be from ours." },
    { .name = "max_age", .type = MG_DURATION, .offset = offsetof(struct conf, max_age_ms), .preset = "0s", .has_min = true, .min = 0,
      .doc = "How long after iat a token is good, whatever exp says; 0s: no bound." },
    { .name = "max_bytes", .type = MG_SIZE, .offset = offsetof(struct conf, max_bytes), .preset = "8k", .has_min = true, .min = 64,
      .has_max = true, .max = 1 << 20, .doc = "Longer tokens are refused unread." },
    { .name = "claims_to_headers", .type = MG_MAP, .offset = offsetof(struct conf, to_headers), .item = &name_item,
      .item_bytes = sizeof(struct claim_target), .doc = "Claim to request field for the upstream; a client's own such fields are dropped." },
    { .name = "claims_to_ctx", .type = MG_MAP, .offset = offsetof(struct conf, to_ctx), .item = &text_item,
      .item_bytes = sizeof(struct claim_target), .doc = "Claim to ctx name, for later entries and logs." },
    { .name = "hide_credentials", .type = MG_BOOL, .offset = offsetof(struct conf, hide), .preset = "false",
      .doc = "Take the token off before the request goes upstream." },
    { .name = "anonymous", .type = MG_STRING, .offset = offsetof(struct conf, anonymous), .preset = "",
      .doc = "The consumer that callers without a token count as; empty: they are refused." },
    { .name = "realm", .type = MG_STRING, .offset = offsetof(struct conf, realm), .preset = "moongate",
      .pattern = "[^\"\\\\\\x00-\\x1f\\x7f]*", .doc = "The realm named in WWW-Authenticate." },
    { .name = "cache", .type = MG_INT, .offset = offsetof(struct conf, cache), .preset = "1024", .has_min = true, .min = 0,
      .has_max = true, .max = 1 << 20, .doc = "How many right signatures each worker remembers; 0: verify each time." },
    { 0 }
};

/* ---- the entry's keys ----------------------------------------------------------------------------- */

static int add_key(struct instance *in, struct jwt_key *key, struct mg_error *err)
{
    struct jwt_key **grown;

    for (size_t i = 0; i < in->keys_n; i++)
        if (in->keys[i]->kid.n == key->kid.n && !memcmp(in->keys[i]->kid.p, key->kid.p, key->kid.n) && key->kid.n) {
            snprintf(err->message, sizeof(err->message), "two keys have the kid \"%.*s\"", (int)key->kid.n, key->kid.p);
            jwt_key_free(key);
            return err->code = MG_ECONF;
        }
    grown = realloc(in->keys, (in->keys_n + 1) * sizeof(*grown));
    if (!grown) {
        jwt_key_free(key);
        return no_memory(err);
    }
    in->keys = grown;
    in->keys[in->keys_n++] = key;
    return 0;
}

static char *read_file(const char *path, size_t *n)
{
    enum { MOST = 1 << 20 };
    FILE *f = fopen(path, "r");
    char *text = f ? malloc(MOST) : NULL;

    if (text)
        *n = fread(text, 1, MOST, f);
    if (text && (ferror(f) || *n == MOST)) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

static int load_set(struct instance *in, const char *path, struct mg_error *err)
{
    char why[100] = "cannot be read";
    size_t n = 0, nodes_n;
    char *text = read_file(path, &n);
    struct mg_json *doc = text ? mg_json_parse(text, n, why, sizeof(why)) : NULL;
    const struct mg_json_node *nodes;
    int list;

    free(text);
    if (!doc) {
        snprintf(err->message, sizeof(err->message), "jwks: %.100s: %s", path, why);
        return err->code = MG_ECONF;
    }
    err->code = 0;
    nodes = mg_json_nodes(doc, &nodes_n);
    list = jwt_member(doc, 0, "keys", 4);
    if (list < 0 || nodes[list].kind != MG_JSON_ARRAY) {
        snprintf(err->message, sizeof(err->message), "jwks: %.100s: no list of \"keys\"", path);
        err->code = MG_ECONF;
    }
    for (int i = list + 1; !err->code && i < nodes[list].next; i = nodes[i].next) {
        struct jwt_key *key = jwt_key_from_jwk(doc, i, -1, err);

        if (key)
            add_key(in, key, err);
    }
    mg_json_free(doc);
    return err->code;
}

int jwt_keys_load(struct instance *in, const char *folder, struct mg_error *err)
{
    const struct jwt_key_conf *c = in->conf->keys.items;
    char text[200];

    for (size_t i = 0; i < in->conf->keys.n; i++) {
        struct jwt_key *key = jwt_key_new(&c[i], folder, err);

        if (!key) {
            memcpy(text, err->message, sizeof(text) - 1);
            text[sizeof(text) - 1] = 0;
            snprintf(err->message, sizeof(err->message), "keys[%zu]: %s", i + 1, text);
            return err->code;
        }
        if (add_key(in, key, err) < 0)
            return err->code;
    }
    return in->conf->jwks.n ? load_set(in, in->conf->jwks.p, err) : 0;
}

void jwt_keys_unload(struct instance *in)
{
    for (size_t i = 0; i < in->keys_n; i++)
        jwt_key_free(in->keys[i]);
    free(in->keys);
}
