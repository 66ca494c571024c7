/* Tokens: the RFCs' own examples, every algorithm both ways, and everything that has to be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail
#include "../../../plugins/jwt/key.c"
#undef fail
#include "../../../plugins/jwt/claims.c"
#define is_word token_is_word
#define split token_split
#include "../../../plugins/jwt/token.c"
#include "../../../plugins/jwt/verify.c"
#include <openssl/rsa.h>

#define STR(s) ((struct mg_str){ s, sizeof(s) - 1 })

static struct mg_str str(const char *s)
{
    return (struct mg_str){ s, strlen(s) };
}

static struct jwt_key *key_of_jwk(const char *jwk)
{
    struct jwt_key_conf c = { .jwk = str(jwk) };
    struct mg_error err = { 0 };
    struct jwt_key *key = jwt_key_new(&c, "/", &err);

    if (!key)
        print_message("%s\n", err.message);
    assert_non_null(key);
    return key;
}

/* Is the token's signature this key's? Any payload will do. */
static bool is_signed(const struct jwt_key *key, const char *token)
{
    const char *dot = strrchr(token, '.');
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t signature[1024];
    long n = jwt_base64url(dot + 1, strlen(dot + 1), signature);
    bool is_right;

    assert_true(n > 0);
    is_right = jwt_key_verify(key, ctx, (struct mg_str){ token, (size_t)(dot - token) },
                              (struct mg_str){ (const char *)signature, (size_t)n });
    EVP_MD_CTX_free(ctx);
    return is_right;
}

/* ---- examples of the RFCs ------------------------------------------------------------------------ */

#define PAYLOAD "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define HS_TOKEN "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define HS_JWK "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"
#define RS_N "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_Yp" \
             "RPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv" \
             "b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

static void rfc_7515_a1_hs256(void **state)
{
    struct jwt_key *key = key_of_jwk(HS_JWK);

    (void)state;
    assert_true(is_signed(key, HS_TOKEN));
    assert_false(is_signed(key, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXg"));
    jwt_key_free(key);
}

static void rfc_7515_a2_rs256(void **state)
{
    struct jwt_key *key = key_of_jwk("{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"" RS_N "\",\"e\":\"AQAB\"}");

    (void)state;
    assert_true(is_signed(key, "eyJhbGciOiJSUzI1NiJ9." PAYLOAD
        ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQ"
        "jbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtF"
        "ZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"));
    jwt_key_free(key);
}

static void rfc_7515_a3_es256(void **state)
{
    struct jwt_key *key = key_of_jwk("{\"kty\":\"EC\",\"alg\":\"ES256\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                     "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");

    (void)state;
    assert_true(is_signed(key, "eyJhbGciOiJFUzI1NiJ9." PAYLOAD
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"));
    jwt_key_free(key);
}

static void rfc_8037_a4_eddsa(void **state)
{
    struct jwt_key *key = key_of_jwk("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");

    (void)state;
    assert_true(is_signed(key, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                               "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"));
    jwt_key_free(key);
}

/* ---- each algorithm, signed by OpenSSL itself ------------------------------------------------------ */

static const char text[] = "header.claims";

/* Sign `text`; ECDSA's answer comes back as r and s, `part` bytes each. */
static size_t sign(EVP_PKEY *pkey, const char *digest, bool is_pss, size_t part, uint8_t out[1024])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    uint8_t raw[1024];
    const uint8_t *der = raw;
    size_t n = sizeof(raw);
    ECDSA_SIG *sig;

    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, digest ? EVP_get_digestbyname(digest) : NULL, NULL, pkey), 1);
    if (is_pss) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, raw, &n, (const uint8_t *)text, sizeof(text) - 1), 1);
    EVP_MD_CTX_free(ctx);
    if (!part) {
        memcpy(out, raw, n);
        return n;
    }
    sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    assert_non_null(sig);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)part);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + part, (int)part);
    ECDSA_SIG_free(sig);
    return 2 * part;
}

static struct jwt_key *key_of_pkey(EVP_PKEY *pkey, const char *algorithm, struct mg_error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct jwt_key_conf c = { .algorithm = jwt_algorithm_find(str(algorithm)) + 1 };
    struct jwt_key *key;
    char *pem;
    long n;

    PEM_write_bio_PUBKEY(bio, pkey);
    n = BIO_get_mem_data(bio, &pem);
    c.public_key = (struct mg_str){ pem, (size_t)n };
    key = jwt_key_new(&c, "/", err);
    BIO_free(bio);
    return key;
}

static void check_algorithm(EVP_PKEY *pkey, const char *name, const char *digest, bool is_pss, size_t part)
{
    struct mg_error err = { 0 };
    struct jwt_key *key = key_of_pkey(pkey, name, &err);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t signature[1024];
    size_t n = sign(pkey, digest, is_pss, part, signature);
    struct mg_str sig = { (const char *)signature, n };

    assert_non_null(key);
    assert_true(jwt_key_verify(key, ctx, STR("header.claims"), sig));
    assert_false(jwt_key_verify(key, ctx, STR("header.claimz"), sig));
    signature[n / 2] ^= 1;
    assert_false(jwt_key_verify(key, ctx, STR("header.claims"), sig));
    sig.n--;
    assert_false(jwt_key_verify(key, ctx, STR("header.claims"), sig));
    EVP_MD_CTX_free(ctx);
    jwt_key_free(key);
}

static void rsa_algorithms_verify_what_they_signed_and_nothing_else(void **state)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);

    (void)state;
    check_algorithm(pkey, "RS256", "sha256", false, 0);
    check_algorithm(pkey, "RS384", "sha384", false, 0);
    check_algorithm(pkey, "RS512", "sha512", false, 0);
    check_algorithm(pkey, "PS256", "sha256", true, 0);
    check_algorithm(pkey, "PS384", "sha384", true, 0);
    check_algorithm(pkey, "PS512", "sha512", true, 0);
    EVP_PKEY_free(pkey);
}

static void curve_algorithms_verify_what_they_signed_and_nothing_else(void **state)
{
    static const struct { const char *name, *digest, *curve; size_t part; } cases[] = {
        { "ES256", "sha256", "P-256", 32 }, { "ES384", "sha384", "P-384", 48 }, { "ES512", "sha512", "P-521", 66 } };
    EVP_PKEY *pkey;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        pkey = EVP_EC_gen(cases[i].curve);
        check_algorithm(pkey, cases[i].name, cases[i].digest, false, cases[i].part);
        EVP_PKEY_free(pkey);
    }
    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    check_algorithm(pkey, "EdDSA", NULL, false, 0);
    EVP_PKEY_free(pkey);
    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    check_algorithm(pkey, "EdDSA", NULL, false, 0);
    EVP_PKEY_free(pkey);
}

static void a_signature_of_zeros_is_wrong(void **state)
{
    static const char zeros[64];
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    struct mg_error err = { 0 };
    struct jwt_key *key = key_of_pkey(pkey, "ES256", &err);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    (void)state;
    assert_false(jwt_key_verify(key, ctx, STR("header.claims"), (struct mg_str){ zeros, 64 }));
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    jwt_key_free(key);
}

static void a_key_that_does_not_fit_its_algorithm_is_refused(void **state)
{
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *small = EVP_RSA_gen(1024), *ec = EVP_EC_gen("P-256");
    struct jwt_key_conf c = { .algorithm = 1, .secret = STR("too short") };
    struct mg_error err = { 0 };

    (void)state;
    assert_null(key_of_pkey(rsa, "ES256", &err));
    assert_null(key_of_pkey(rsa, "HS256", &err)); /* the classic confusion */
    assert_null(key_of_pkey(small, "RS256", &err));
    assert_null(key_of_pkey(ec, "ES384", &err));
    assert_null(key_of_pkey(ec, "RS256", &err));
    assert_null(key_of_pkey(ec, "EdDSA", &err));
    assert_null(jwt_key_new(&c, "/", &err));
    assert_non_null(strstr(err.message, "shorter"));
    c.secret = (struct mg_str){ NULL, 0 };
    assert_null(jwt_key_new(&c, "/", &err));
    c.secret = STR("0123456789abcdef0123456789abcdef");
    c.algorithm = jwt_algorithm_find(STR("RS256")) + 1;
    assert_null(jwt_key_new(&c, "/", &err));
    c.public_key = STR("/nowhere.pem");
    c.secret.n = 0;
    assert_null(jwt_key_new(&c, "/", &err));
    c = (struct jwt_key_conf){ .jwk = STR("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}") };
    assert_null(jwt_key_new(&c, "/", &err)); /* no alg */
    c.jwk = STR("{\"kty\":\"oct\",\"alg\":\"none\",\"k\":\"AAAA\"}");
    assert_null(jwt_key_new(&c, "/", &err));
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ec);
}

/* ---- taking tokens apart ------------------------------------------------------------------------- */

static size_t encode(const char *p, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t made = 0;
    uint32_t bits = 0;
    int have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | (uint8_t)p[i];
        for (have += 8; have >= 6;)
            out[made++] = digits[bits >> (have -= 6) & 63];
    }
    if (have)
        out[made++] = digits[bits << (6 - have) & 63];
    return made;
}

static const char *open_token(struct token *t, const char *header, const char *claims)
{
    static char whole[4096];
    static uint8_t room[4096];
    size_t n = encode(header, strlen(header), whole);

    whole[n++] = '.';
    n += encode(claims, strlen(claims), whole + n);
    memcpy(whole + n, ".c2ln", 5);
    return token_open(t, (struct mg_str){ whole, n + 5 }, room);
}

static void base64url_is_read_strictly(void **state)
{
    uint8_t out[16];

    (void)state;
    assert_int_equal(jwt_base64url("", 0, out), 0);
    assert_int_equal(jwt_base64url("AQAB", 4, out), 3);
    assert_int_equal(jwt_base64url("AQ", 2, out), 1);
    assert_int_equal(jwt_base64url("AR", 2, out), -1); /* left-over bits */
    assert_int_equal(jwt_base64url("A", 1, out), -1);
    assert_int_equal(jwt_base64url("AQ==", 4, out), -1);
    assert_int_equal(jwt_base64url("A+/B", 4, out), -1);
    assert_int_equal(jwt_base64url("AQ\nA", 4, out), -1);
}

static void malformed_tokens_are_refused(void **state)
{
    static const char *const wrong[] = { "", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "e30.e30.c2ln", "W10.e30.c2ln", "@.e30.c2ln" };
    struct token t;
    uint8_t room[64];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_non_null(token_open(&t, str(wrong[i]), room));
        token_close(&t);
    }
    assert_non_null(open_token(&t, "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "{}"));
    token_close(&t);
    assert_non_null(open_token(&t, "{\"alg\":\"HS256\",\"alg\":\"none\"}", "{}"));
    token_close(&t);
    assert_non_null(open_token(&t, "{\"alg\":7}", "{}"));
    token_close(&t);
    assert_non_null(open_token(&t, "{\"alg\":\"HS256\"}", "[]"));
    token_close(&t);
    assert_non_null(open_token(&t, "{\"alg\":\"HS256\"} x", "{}"));
    token_close(&t);
    assert_null(open_token(&t, "{\"alg\":\"HS256\",\"kid\":\"k\"}", "{}"));
    token_close(&t);
}

/* ---- claims -------------------------------------------------------------------------------------- */

enum { NOW = 1000000 }; /* seconds */

static struct refusal judged(const struct conf *c, const char *header, const char *claims)
{
    struct token t;
    struct refusal r;

    assert_null(open_token(&t, header, claims));
    r = jwt_claims_check(c, &t, NOW * 1000LL);
    token_close(&t);
    return r;
}
#define STATUS(c, claims) judged(c, "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", claims).status

static void times_are_judged_to_the_millisecond_with_leeway(void **state)
{
    struct conf c = { .require_exp = true };

    (void)state;
    assert_int_equal(STATUS(&c, "{\"exp\":1000001}"), 0);
    assert_int_equal(STATUS(&c, "{\"exp\":1000000}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1000000.5}"), 0);
    assert_int_equal(STATUS(&c, "{}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":\"1000001\"}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1e300}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":-1}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1000001,\"exp\":9}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1000001,\"nbf\":1000000}"), 0);
    assert_int_equal(STATUS(&c, "{\"exp\":1000001,\"nbf\":1000001}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1000001,\"iat\":1000002}"), 401);
    c.leeway_ms = 5000;
    assert_int_equal(STATUS(&c, "{\"exp\":999996}"), 0);
    assert_int_equal(STATUS(&c, "{\"exp\":999995}"), 401);
    assert_int_equal(STATUS(&c, "{\"exp\":1000001,\"nbf\":1000005}"), 0);
    c = (struct conf){ .max_age_ms = 60000 };
    assert_int_equal(STATUS(&c, "{}"), 401);
    assert_int_equal(STATUS(&c, "{\"iat\":999940}"), 0);
    assert_int_equal(STATUS(&c, "{\"iat\":999939}"), 401);
}

static void issuer_audience_and_type_have_to_match(void **state)
{
    struct mg_str issuer = STR("https://i"), audience = STR("orders");
    struct conf c = { .issuers = { &issuer, 1 }, .audiences = { &audience, 1 } };

    (void)state;
    assert_int_equal(STATUS(&c, "{\"iss\":\"https://i\",\"aud\":\"orders\"}"), 0);
    assert_int_equal(STATUS(&c, "{\"iss\":\"https://i\",\"aud\":[\"x\",\"orders\"]}"), 0);
    assert_int_equal(STATUS(&c, "{\"iss\":\"https://i\",\"aud\":[\"x\"]}"), 401);
    assert_int_equal(STATUS(&c, "{\"iss\":\"https://i\"}"), 401);
    assert_int_equal(STATUS(&c, "{\"iss\":\"https://j\",\"aud\":\"orders\"}"), 401);
    assert_int_equal(STATUS(&c, "{\"aud\":\"orders\"}"), 401);
    c = (struct conf){ .type = STR("at+jwt") };
    assert_int_equal(STATUS(&c, "{}"), 0);
    assert_int_equal(judged(&c, "{\"alg\":\"HS256\",\"typ\":\"application/AT+JWT\"}", "{}").status, 0);
    assert_int_equal(judged(&c, "{\"alg\":\"HS256\"}", "{}").status, 401);
    assert_int_equal(judged(&c, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{}").status, 401);
}

static void scopes_and_claims_decide_on_403(void **state)
{
    struct mg_str scopes[] = { STR("read"), STR("write") }, admin = STR("admin"), name = STR("realm.roles");
    struct claim_values roles = { STR("realm.roles"), { &admin, 1 } };
    struct conf c = { .scopes = { scopes, 2 }, .scope_claim = STR("scope") };

    (void)state;
    assert_int_equal(STATUS(&c, "{\"scope\":\"read write\"}"), 0);
    assert_int_equal(STATUS(&c, "{\"scope\":[\"write\",\"read\"]}"), 0);
    assert_int_equal(STATUS(&c, "{\"scope\":\"read\"}"), 403);
    assert_int_equal(STATUS(&c, "{\"scope\":\"reader write\"}"), 403);
    assert_int_equal(STATUS(&c, "{}"), 403);
    c.scopes_match = SCOPES_ANY;
    assert_int_equal(STATUS(&c, "{\"scope\":\"read\"}"), 0);
    assert_int_equal(STATUS(&c, "{\"scope\":\"\"}"), 403);
    c = (struct conf){ .claims = { &roles, 1 } };
    assert_int_equal(STATUS(&c, "{\"realm\":{\"roles\":[\"user\",\"admin\"]}}"), 0);
    assert_int_equal(STATUS(&c, "{\"realm.roles\":\"admin\"}"), 0);
    assert_int_equal(STATUS(&c, "{\"realm\":{\"roles\":[\"user\"]}}"), 403);
    assert_int_equal(STATUS(&c, "{\"realm\":\"admin\"}"), 403);
    c = (struct conf){ .required = { &name, 1 } };
    assert_int_equal(STATUS(&c, "{\"realm\":{\"roles\":null}}"), 0);
    assert_int_equal(STATUS(&c, "{\"realm\":{}}"), 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_7515_a1_hs256),
        cmocka_unit_test(rfc_7515_a2_rs256),
        cmocka_unit_test(rfc_7515_a3_es256),
        cmocka_unit_test(rfc_8037_a4_eddsa),
        cmocka_unit_test(rsa_algorithms_verify_what_they_signed_and_nothing_else),
        cmocka_unit_test(curve_algorithms_verify_what_they_signed_and_nothing_else),
        cmocka_unit_test(a_signature_of_zeros_is_wrong),
        cmocka_unit_test(a_key_that_does_not_fit_its_algorithm_is_refused),
        cmocka_unit_test(base64url_is_read_strictly),
        cmocka_unit_test(malformed_tokens_are_refused),
        cmocka_unit_test(times_are_judged_to_the_millisecond_with_leeway),
        cmocka_unit_test(issuer_audience_and_type_have_to_match),
        cmocka_unit_test(scopes_and_claims_decide_on_403),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
