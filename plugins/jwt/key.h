/* key.h - a key that tokens are verified with, and the one algorithm that it is for.
 *
 * The algorithm belongs to the key, never to the token (RFC 8725, 3.1): a token that names another is refused,
 * so an RSA key cannot be used as an HMAC secret, and "none" is no algorithm at all. Keys are read and
 * checked when the config loads. */
#ifndef JWT_KEY_H
#define JWT_KEY_H

#include <moongate/plugin.h>
#include <openssl/evp.h>

enum jwt_family { JWT_HS, JWT_RS, JWT_PS, JWT_ES, JWT_ED };
struct jwt_algorithm {
    const char *name;           /* as in a token's header */
    enum jwt_family family;
    const char *digest;         /* NULL for EdDSA */
    size_t part_bytes;          /* HS: least bytes of a secret; ES: of r and of s */
    const char *curve;          /* ES */
};
/* The names, NULL-terminated, in the order of the table: for MG_ENUM. */
extern const char *const jwt_algorithm_names[];
/* -1: none of that name. */
int jwt_algorithm_find(struct mg_str name);

struct jwt_key {
    struct mg_str kid;          /* own; empty: for tokens that name none */
    const struct jwt_algorithm *algorithm;
    struct mg_str secret;       /* HS; own */
    EVP_PKEY *pkey;             /* others */
    EVP_MD *digest;
};

/* One key as the config gives it: of the entry's `keys`, or a consumer's credential. */
struct jwt_key_conf {
    struct mg_str name;         /* kid, or the credential's key */
    struct mg_str id;
    int algorithm;              /* + 1; 0: the JWK says it, or HS256 for a secret */
    struct mg_str secret;
    int encoding;               /* enum jwt_encoding */
    struct mg_str public_key;   /* PEM text, or a file */
    struct mg_str jwk;          /* JSON */
    struct jwt_key *key;        /* made by jwt_key_prepare */
};
enum jwt_encoding { JWT_TEXT, JWT_BASE64, JWT_BASE64URL, JWT_HEX };

/* Read what the config gives. NULL with err filled. Free with jwt_key_free. folder: of relative files. */
struct jwt_key *jwt_key_new(const struct jwt_key_conf *conf, const char *folder, struct mg_error *err);
/* One JWK (RFC 7517) of a parsed document; algorithm: -1 where its "alg" decides. A key for encryption
 * ("use": "enc") gives NULL and err->code 0. */
struct jwt_key *jwt_key_from_jwk(struct mg_json *doc, int node, int algorithm, struct mg_error *err);
void jwt_key_free(struct jwt_key *key);

/* Is `signature` this key's over `text`? ctx: scratch of the calling thread. */
bool jwt_key_verify(const struct jwt_key *key, EVP_MD_CTX *ctx, struct mg_str text, struct mg_str signature);

/* Strict base64url without padding into `out` (room for n * 3 / 4); bytes, or -1. */
long jwt_base64url(const char *p, size_t n, uint8_t *out);
/* A member of an object: its value's node, -1 absent, -2 there twice. */
int jwt_member(struct mg_json *doc, int object, const char *name, size_t name_n);

#endif
