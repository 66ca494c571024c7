#include "key.h"
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

/* r and s, one after the other (RFC 7518, 3.4), to what OpenSSL reads; the length, or 0. */
static int der_of(struct mg_str raw, uint8_t *der, size_t room)
{
    size_t half = raw.n / 2;
    const uint8_t *p = (const uint8_t *)raw.p;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, (int)half, NULL), *s = BN_bin2bn(p + half, (int)half, NULL);
    int n = 0;

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* sig's now */
        n = i2d_ECDSA_SIG(sig, NULL);
        if (n > 0 && (size_t)n <= room)
            n = i2d_ECDSA_SIG(sig, &der);
        else
            n = 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return n;
}

static bool verify_public(const struct jwt_key *key, EVP_MD_CTX *ctx, struct mg_str text, struct mg_str signature)
{
    EVP_PKEY_CTX *pctx = NULL;
    bool is_right = EVP_DigestVerifyInit(ctx, &pctx, key->digest, NULL, key->pkey) == 1;

    if (is_right && key->algorithm->family == JWT_PS) /* RFC 7518, 3.5: the salt is as long as the digest */
        is_right = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1
                   && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    is_right = is_right
               && EVP_DigestVerify(ctx, (const uint8_t *)signature.p, signature.n, (const uint8_t *)text.p, text.n) == 1;
    EVP_MD_CTX_reset(ctx);
    ERR_clear_error();
    return is_right;
}

bool jwt_key_verify(const struct jwt_key *key, EVP_MD_CTX *ctx, struct mg_str text, struct mg_str signature)
{
    struct mg_str mac;
    uint8_t der[160];

    switch (key->algorithm->family) {
    case JWT_HS:
        return mg_hmac(key->algorithm->digest, key->secret.p, key->secret.n, text.p, text.n, &mac) == 0
               && mg_equal(mac.p, mac.n, signature.p, signature.n);
    case JWT_ES:
        if (signature.n != 2 * key->algorithm->part_bytes)
            return false;
        signature.n = (size_t)der_of(signature, der, sizeof(der));
        signature.p = (const char *)der;
        return signature.n && verify_public(key, ctx, text, signature);
    case JWT_RS:
    case JWT_PS:
    case JWT_ED:
        break;
    }
    return verify_public(key, ctx, text, signature);
}
