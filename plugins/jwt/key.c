#include "key.h"
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct jwt_algorithm algorithms[] = {
    { "HS256", JWT_HS, "sha256", 32, NULL },    { "HS384", JWT_HS, "sha384", 48, NULL },
    { "HS512", JWT_HS, "sha512", 64, NULL },    { "RS256", JWT_RS, "sha256", 0, NULL },
    { "RS384", JWT_RS, "sha384", 0, NULL },     { "RS512", JWT_RS, "sha512", 0, NULL },
    { "PS256", JWT_PS, "sha256", 0, NULL },     { "PS384", JWT_PS, "sha384", 0, NULL },
    { "PS512", JWT_PS, "sha512", 0, NULL },     { "ES256", JWT_ES, "sha256", 32, "prime256v1" },
    { "ES384", JWT_ES, "sha384", 48, "secp384r1" }, { "ES512", JWT_ES, "sha512", 66, "secp521r1" },
    { "EdDSA", JWT_ED, NULL, 0, NULL },
};
enum { ALGORITHMS = sizeof(algorithms) / sizeof(algorithms[0]) };
const char *const jwt_algorithm_names[] = { "auto", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384",
                                            "PS512", "ES256", "ES384", "ES512", "EdDSA", NULL };

int jwt_algorithm_find(struct mg_str name)
{
    for (int i = 0; i < ALGORITHMS; i++)
        if (strlen(algorithms[i].name) == name.n && !memcmp(algorithms[i].name, name.p, name.n))
            return i;
    return -1;
}

static void *fail(struct mg_error *err, int code, const char *message)
{
    ERR_clear_error();
    err->code = code;
    snprintf(err->message, sizeof(err->message), "%s", message);
    return NULL;
}

/* ---- reading bytes ------------------------------------------------------------------------------ */

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

long jwt_base64url(const char *p, size_t n, uint8_t *out)
{
    uint32_t bits = 0;
    int have = 0;
    long made = 0;

    if (n % 4 == 1)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int d = digit_of(p[i]);

        if (d < 0)
            return -1;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[made++] = (uint8_t)(bits >> have);
        }
    }
    return bits & ((1u << have) - 1) ? -1 : made; /* one text for each value: left-over bits are 0 */
}

int jwt_member(struct mg_json *doc, int object, const char *name, size_t name_n)
{
    const struct mg_json_node *nodes;
    struct mg_str key;
    size_t n;
    int found = -1;

    nodes = mg_json_nodes(doc, &n);
    if (object < 0 || nodes[object].kind != MG_JSON_OBJECT)
        return -1;
    for (int i = object + 1; i < nodes[object].next; i = nodes[i].next) {
        if (nodes[i].key < 0 || mg_json_text(doc, nodes[i].key, &key) < 0 || key.n != name_n || memcmp(key.p, name, name_n))
            continue;
        if (found >= 0)
            return -2;
        found = i;
    }
    return found;
}

/* A string member of a JWK; empty when absent. */
static struct mg_str text_member(struct mg_json *doc, int object, const char *name)
{
    const struct mg_json_node *nodes;
    struct mg_str out = { NULL, 0 };
    size_t n;
    int i = jwt_member(doc, object, name, strlen(name));

    nodes = mg_json_nodes(doc, &n);
    if (i >= 0 && nodes[i].kind == MG_JSON_STRING)
        mg_json_text(doc, i, &out);
    return out;
}

/* A base64url member as bytes at `out`; -1 when it is absent, malformed or longer than `room`. */
static long bytes_member(struct mg_json *doc, int object, const char *name, uint8_t *out, size_t room)
{
    struct mg_str text = text_member(doc, object, name);

    if (text.n == 0 || text.n / 4 * 3 + 3 > room)
        return -1;
    return jwt_base64url(text.p, text.n, out);
}

static bool is_word(struct mg_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

static bool copy_text(struct mg_str *out, const void *p, size_t n)
{
    char *q = malloc(n + 1);

    if (!q)
        return false;
    if (n)
        memcpy(q, p, n);
    q[n] = 0;
    *out = (struct mg_str){ q, n };
    return true;
}

/* ---- public keys out of a JWK ------------------------------------------------------------------- */

static EVP_PKEY *pkey_from(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* OSSL_PARAM integers are in the machine's order. */
static void reverse(uint8_t *p, long n)
{
    const uint16_t one = 1;

    if (*(const uint8_t *)&one == 0)
        return;
    for (long i = 0; i < n / 2; i++) {
        uint8_t t = p[i];

        p[i] = p[n - 1 - i];
        p[n - 1 - i] = t;
    }
}

static EVP_PKEY *rsa_from_jwk(struct mg_json *doc, int node)
{
    uint8_t n[2052], e[16];
    long n_n = bytes_member(doc, node, "n", n, sizeof(n)), e_n = bytes_member(doc, node, "e", e, sizeof(e));
    OSSL_PARAM params[3];

    if (n_n <= 0 || e_n <= 0)
        return NULL;
    reverse(n, n_n);
    reverse(e, e_n);
    params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, (size_t)n_n);
    params[1] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, (size_t)e_n);
    params[2] = OSSL_PARAM_construct_end();
    return pkey_from("RSA", params);
}

static EVP_PKEY *ec_from_jwk(struct mg_json *doc, int node)
{
    static const struct { const char *crv, *group; long bytes; } curves[] = {
        { "P-256", "prime256v1", 32 }, { "P-384", "secp384r1", 48 }, { "P-521", "secp521r1", 66 } };
    struct mg_str crv = text_member(doc, node, "crv");
    uint8_t point[1 + 2 * 72] = { 4 };
    OSSL_PARAM params[3];

    for (size_t i = 0; i < 3; i++) {
        long size = curves[i].bytes;

        if (!is_word(crv, curves[i].crv))
            continue;
        if (bytes_member(doc, node, "x", point + 1, 72) != size || bytes_member(doc, node, "y", point + 1 + size, 72) != size)
            return NULL;
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curves[i].group, 0);
        params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, (size_t)(1 + 2 * size));
        params[2] = OSSL_PARAM_construct_end();
        return pkey_from("EC", params);
    }
    return NULL;
}

static EVP_PKEY *okp_from_jwk(struct mg_json *doc, int node)
{
    struct mg_str crv = text_member(doc, node, "crv");
    uint8_t x[64];
    long n = bytes_member(doc, node, "x", x, sizeof(x));

    if (n == 32 && is_word(crv, "Ed25519"))
        return EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x, 32);
    if (n == 57 && is_word(crv, "Ed448"))
        return EVP_PKEY_new_raw_public_key_ex(NULL, "ED448", NULL, x, 57);
    return NULL;
}

/* ---- making keys -------------------------------------------------------------------------------- */

void jwt_key_free(struct jwt_key *key)
{
    if (!key)
        return;
    if (key->secret.p)
        explicit_bzero((void *)key->secret.p, key->secret.n);
    free((void *)key->secret.p);
    free((void *)key->kid.p);
    EVP_PKEY_free(key->pkey);
    EVP_MD_free(key->digest);
    free(key);
}

/* Does the key fit its algorithm? NULL, or what is wrong. */
static const char *check_pkey(const struct jwt_key *key)
{
    const struct jwt_algorithm *a = key->algorithm;
    char group[64];
    size_t n;

    switch (a->family) {
    case JWT_RS:
    case JWT_PS:
        if (!EVP_PKEY_is_a(key->pkey, "RSA") && !(a->family == JWT_PS && EVP_PKEY_is_a(key->pkey, "RSA-PSS")))
            return "this algorithm needs an RSA key";
        return EVP_PKEY_get_bits(key->pkey) < 2048 ? "an RSA key needs 2048 bits at least (RFC 7518, 3.3)" : NULL;
    case JWT_ES:
        if (!EVP_PKEY_is_a(key->pkey, "EC") || EVP_PKEY_get_group_name(key->pkey, group, sizeof(group), &n) != 1
            || strcmp(group, a->curve))
            return "this algorithm needs an EC key on its own curve (RFC 7518, 3.4)";
        return NULL;
    case JWT_ED:
        return EVP_PKEY_is_a(key->pkey, "ED25519") || EVP_PKEY_is_a(key->pkey, "ED448") ? NULL
                                                                                       : "EdDSA needs an Ed25519 or Ed448 key";
    case JWT_HS:
        break;
    }
    return "this algorithm needs a secret, not a public key";
}

/* Takes `pkey` and copies `secret`, one of which is there. */
static struct jwt_key *make_key(int algorithm, struct mg_str kid, struct mg_str secret, EVP_PKEY *pkey, struct mg_error *err)
{
    struct jwt_key *key = calloc(1, sizeof(*key));
    const char *wrong = NULL;

    if (!key) {
        EVP_PKEY_free(pkey);
        return fail(err, MG_ENOMEM, "out of memory");
    }
    key->algorithm = &algorithms[algorithm];
    key->pkey = pkey;
    if (!copy_text(&key->kid, kid.p, kid.n) || (!pkey && !copy_text(&key->secret, secret.p, secret.n)))
        wrong = "out of memory";
    else if (pkey)
        wrong = check_pkey(key);
    else if (key->algorithm->family != JWT_HS)
        wrong = "this algorithm needs a public key, not a secret";
    else if (secret.n < key->algorithm->part_bytes)
        wrong = "the secret is shorter than the algorithm's digest (RFC 7518, 3.2): 32, 48 or 64 bytes";
    if (!wrong && key->algorithm->digest && !(key->digest = EVP_MD_fetch(NULL, key->algorithm->digest, NULL)))
        wrong = "this digest is not available";
    if (!wrong)
        return key;
    jwt_key_free(key);
    fail(err, MG_ECONF, "");
    snprintf(err->message, sizeof(err->message), "%s: %s", algorithms[algorithm].name, wrong);
    return NULL;
}

struct jwt_key *jwt_key_from_jwk(struct mg_json *doc, int node, int algorithm, struct mg_error *err)
{
    struct mg_str kty = text_member(doc, node, "kty"), use = text_member(doc, node, "use"), alg = text_member(doc, node, "alg"),
                  kid = text_member(doc, node, "kid"), secret = { NULL, 0 };
    uint8_t bytes[1024];
    EVP_PKEY *pkey = NULL;
    long n;

    err->code = 0;
    if (is_word(use, "enc"))
        return NULL;
    if (algorithm < 0 && alg.n)
        algorithm = jwt_algorithm_find(alg);
    else if (algorithm < 0 && is_word(kty, "OKP"))
        algorithm = ALGORITHMS - 1;
    if (algorithm < 0)
        return fail(err, MG_ECONF, alg.n ? "jwk: its \"alg\" is none of those that are known"
                                         : "jwk: has no \"alg\"; say algorithm = \"…\", as a key is for one algorithm");
    if (is_word(kty, "oct")) {
        n = bytes_member(doc, node, "k", bytes, sizeof(bytes));
        if (n <= 0)
            return fail(err, MG_ECONF, "jwk: \"k\" is no base64url");
        secret = (struct mg_str){ (const char *)bytes, (size_t)n };
        return make_key(algorithm, kid, secret, NULL, err);
    }
    if (is_word(kty, "RSA"))
        pkey = rsa_from_jwk(doc, node);
    else if (is_word(kty, "EC"))
        pkey = ec_from_jwk(doc, node);
    else if (is_word(kty, "OKP"))
        pkey = okp_from_jwk(doc, node);
    else
        return fail(err, MG_ECONF, "jwk: \"kty\" is none of oct, RSA, EC, OKP");
    if (!pkey)
        return fail(err, MG_ECONF, "jwk: its members make no public key");
    return make_key(algorithm, kid, secret, pkey, err);
}

static struct jwt_key *from_jwk_text(const struct jwt_key_conf *c, struct mg_error *err)
{
    char text[160];
    struct mg_json *doc = mg_json_parse(c->jwk.p, c->jwk.n, text, sizeof(text));
    struct jwt_key *key;

    if (!doc) {
        fail(err, MG_ECONF, "jwk: no JSON");
        return NULL;
    }
    key = jwt_key_from_jwk(doc, 0, c->algorithm - 1, err);
    mg_json_free(doc);
    if (!key && err->code == 0)
        fail(err, MG_ECONF, "jwk: a key for encryption verifies nothing");
    if (key && c->name.n) { /* the config's name is stronger */
        free((void *)key->kid.p);
        if (!copy_text(&key->kid, c->name.p, c->name.n)) {
            key->kid = (struct mg_str){ NULL, 0 };
            jwt_key_free(key);
            return fail(err, MG_ENOMEM, "out of memory");
        }
    }
    return key;
}

static struct jwt_key *from_secret(const struct jwt_key_conf *c, struct mg_error *err)
{
    struct mg_str bytes = c->secret;
    int algorithm = c->algorithm ? c->algorithm - 1 : 0;

    /* What everybody may know is no secret (RFC 8725, 2.1). */
    if (memmem(c->secret.p, c->secret.n, "-----BEGIN", 10))
        return fail(err, MG_ECONF, "secret: this is a PEM key or certificate; name it as public_key");
    if (c->encoding == JWT_HEX && mg_hex_decode(c->secret.p, c->secret.n, &bytes) < 0)
        return fail(err, MG_ECONF, "secret: no hex digits");
    if (c->encoding == JWT_BASE64 && mg_base64_decode(c->secret.p, c->secret.n, 0, &bytes) < 0)
        return fail(err, MG_ECONF, "secret: no base64");
    if (c->encoding == JWT_BASE64URL && mg_base64_decode(c->secret.p, c->secret.n, 1, &bytes) < 0)
        return fail(err, MG_ECONF, "secret: no base64url");
    return make_key(algorithm, c->name, bytes, NULL, err);
}

static BIO *open_pem(struct mg_str text, const char *folder)
{
    char path[4096];
    int n;

    if (text.n > 10 && memmem(text.p, text.n, "-----BEGIN", 10))
        return BIO_new_mem_buf(text.p, (int)text.n);
    n = text.p[0] == '/' ? snprintf(path, sizeof(path), "%.*s", (int)text.n, text.p)
                         : snprintf(path, sizeof(path), "%s/%.*s", folder, (int)text.n, text.p);
    return n < (int)sizeof(path) ? BIO_new_file(path, "r") : NULL;
}

static struct jwt_key *from_pem(const struct jwt_key_conf *c, const char *folder, struct mg_error *err)
{
    struct mg_str none = { NULL, 0 };
    EVP_PKEY *pkey = NULL;
    X509 *cert;
    BIO *bio;

    if (!c->algorithm)
        return fail(err, MG_ECONF, "a public key needs its algorithm: a key is for one algorithm");
    bio = open_pem(c->public_key, folder);
    if (!bio) {
        fail(err, MG_ECONF, "");
        snprintf(err->message, sizeof(err->message), "public_key: %.*s is neither PEM text nor a file that can be read",
                 c->public_key.n > 120 ? 120 : (int)c->public_key.n, c->public_key.p);
        return NULL;
    }
    pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (!pkey && BIO_seek(bio, 0) >= 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        pkey = X509_get_pubkey(cert);
        X509_free(cert);
    }
    BIO_free(bio);
    if (!pkey)
        return fail(err, MG_ECONF, "public_key: no PEM public key or certificate");
    ERR_clear_error();
    return make_key(c->algorithm - 1, c->name, none, pkey, err);
}

struct jwt_key *jwt_key_new(const struct jwt_key_conf *c, const char *folder, struct mg_error *err)
{
    int given = (c->secret.n > 0) + (c->public_key.n > 0) + (c->jwk.n > 0);

    if (given != 1)
        return fail(err, MG_ECONF, "a key needs one of secret, public_key and jwk");
    if (c->jwk.n)
        return from_jwk_text(c, err);
    return c->secret.n ? from_secret(c, err) : from_pem(c, folder, err);
}
