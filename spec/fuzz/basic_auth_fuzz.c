/* Authorization fields: refused, or a name without a colon and a password, neither with controls. */
#include "exchange.h"
#undef fail
#define accept accept_credential
#include "../../plugins/basic-auth/basic_auth.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_field(struct mg_str value)
{
    struct mg_exchange *x = fuzz_exchange();
    char pair[PAIR_MAX];
    struct mg_str name, password;
    struct instance in = { 0 };
    uint8_t mac[DIGEST];

    fuzz_field(x, "authorization", value);
    if (read_pair(mg_handle_of(x), pair, &name, &password) == 0) {
        must(name.p == pair && name.n + 1 + password.n <= PAIR_MAX);
        must(!name.n || !memchr(name.p, ':', name.n));
        for (size_t i = 0; i < name.n + 1 + password.n; i++)
            must((unsigned char)pair[i] >= 0x20 && pair[i] != 0x7f);
        must(make_mac(&in, MG_STR("$2b$10$x"), password, mac));
        (void)matches_sha256(mg_handle_of(x), MG_STR("sha256:salt:0000000000000000000000000000000000000000000000000000000000000000"), password);
    }
    mg_exchange_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str out;
    char *value;

    if (size > 4096)
        return 0;
    try_field(mg_str((const char *)data, size));
    must(mg_base64_encode((const char *)data, size, 0, &out) == 0); /* the fuzzer cannot guess base64 */
    value = malloc(out.n + 6);
    must(value != NULL);
    memcpy(value, "Basic ", 6);
    if (out.n)
        memcpy(value + 6, out.p, out.n);
    try_field(mg_str(value, out.n + 6));
    free(value);
    return 0;
}
