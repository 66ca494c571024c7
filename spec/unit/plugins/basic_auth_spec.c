/* What the plugin asks of the password hashes: once for each pair, never when there are too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#define mg_password_verify fake_password_verify
#define mg_x_local fake_x_local
#define mg_header_get fake_header_get
#define mg_header_set fake_header_set
#define mg_header_remove fake_header_remove
#define mg_respond_error fake_respond_error
#define mg_consumer_set_credential fake_consumer_set_credential
#define mg_credential_find fake_credential_find
#define mg_credential_conf fake_credential_conf
#define mg_monotonic_us fake_monotonic_us
#include "../../../plugins/basic-auth/basic_auth.c"

static struct {
    const char *authorization;
    struct password alice;
    int verified;       /* how many hashes were asked for */
    int verify_says;    /* what mg_password_verify returns */
    char hash[ENCODED_MAX];
    int status, credential;
    char retry_after[8];
    int64_t now_us;
    _Alignas(16) char local[256];
} fake;

int fake_password_verify(struct mg_x *x, const char *encoded, size_t encoded_n, const char *password, size_t password_n)
{
    (void)x;
    (void)password;
    (void)password_n;
    fake.verified++;
    memcpy(fake.hash, encoded, encoded_n);
    fake.hash[encoded_n] = 0;
    return fake.verify_says;
}
void *fake_x_local(struct mg_x *x, size_t n)
{
    (void)x;
    assert_true(n <= sizeof(fake.local));
    return fake.local;
}
int fake_header_get(struct mg_x *x, int side, const char *name, size_t n, struct mg_str *out)
{
    (void)x;
    (void)side;
    (void)name;
    (void)n;
    *out = (struct mg_str){ fake.authorization, strlen(fake.authorization) };
    return 0;
}
int fake_header_set(struct mg_x *x, int side, const char *name, size_t n, const char *value, size_t value_n)
{
    (void)x;
    (void)side;
    if (n == 11 && !memcmp(name, "retry-after", 11))
        memcpy(fake.retry_after, value, value_n);
    return 0;
}
int fake_header_remove(struct mg_x *x, int side, const char *name, size_t n)
{
    (void)x;
    (void)side;
    (void)name;
    (void)n;
    return 0;
}
int fake_respond_error(struct mg_x *x, int status, const char *detail, size_t n)
{
    (void)x;
    (void)detail;
    (void)n;
    fake.status = status;
    return 0;
}
int fake_consumer_set_credential(struct mg_x *x, int credential)
{
    (void)x;
    fake.credential = credential;
    return 0;
}
int fake_credential_find(struct mg_x *x, const char *kind_, size_t kind_n, const char *key, size_t n)
{
    (void)x;
    (void)kind_;
    (void)kind_n;
    return n == 5 && !memcmp(key, "alice", 5) ? 7 : MG_ENOENT;
}
const void *fake_credential_conf(struct mg_x *x, int credential)
{
    (void)x;
    assert_int_equal(credential, 7);
    return &fake.alice;
}
int64_t fake_monotonic_us(void) { return fake.now_us; }

static struct conf conf;
static void *self, *local;
#define HASH "$2b$12$abcdefghijklmnopqrstuu3WgHHvE9belFvx1RAHzpHhs7GpquEiu"
#define STR(s) ((struct mg_str){ s, sizeof(s) - 1 })
#define RIGHT "Basic YWxpY2U6cGFzc3dvcmQ=" /* alice:password */

static int setup(void **state)
{
    struct mg_entry entry = { .conf = &conf };
    struct mg_error err = { 0 };

    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.alice.hash = STR(HASH);
    fake.verify_says = 1;
    fake.now_us = 1000000;
    conf = (struct conf){ .realm = STR("moongate"), .hide = true, .cache_ms = 60000, .cache_entries = 16 };
    assert_int_equal(create(&entry, &self, &err), 0);
    assert_int_equal(worker_create(self, &local), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    worker_destroy(self, local);
    destroy(self);
    return 0;
}

/* A request; `status` is what its hash comes to, if it is asked for. */
static enum mg_verdict ask(const char *authorization, int status)
{
    enum mg_verdict v;

    fake.authorization = authorization;
    fake.status = 0;
    fake.credential = -1;
    memset(fake.local, 0, sizeof(fake.local));
    v = on_request(NULL, self, local);
    return v == MG_WAIT ? on_wake(NULL, self, local, 1, status) : v;
}

static void a_pair_that_was_right_is_hashed_once(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(RIGHT, 1), MG_CONTINUE);
        assert_int_equal(fake.credential, 7);
    }
    assert_int_equal(fake.verified, 1);
    assert_string_equal(fake.hash, HASH);
    fake.now_us += 59999999;
    assert_int_equal(ask(RIGHT, 1), MG_CONTINUE);
    assert_int_equal(fake.verified, 1);
    fake.now_us += 2;
    assert_int_equal(ask(RIGHT, 1), MG_CONTINUE);
    assert_int_equal(fake.verified, 2);
}

static void what_was_wrong_is_hashed_again(void **state)
{
    (void)state;
    ask(RIGHT, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask("Basic YWxpY2U6d3Jvbmc=", 0), MG_RESPOND); /* alice:wrong */
        assert_int_equal(fake.status, 401);
    }
    assert_int_equal(fake.verified, 4);
}

static void a_new_hash_makes_old_proofs_void(void **state)
{
    (void)state;
    ask(RIGHT, 1);
    fake.alice.hash = STR("$2b$12$ABCDEFGHIJKLMNOPQRSTUU3WgHHvE9belFvx1RAHzpHhs7GpquEiu");
    assert_int_equal(ask(RIGHT, 0), MG_RESPOND);
    assert_int_equal(fake.verified, 2);
}

static void an_unknown_name_costs_the_same_hash(void **state)
{
    (void)state;
    ask(RIGHT, 1);
    assert_int_equal(ask("Basic Ym9iOnBhc3N3b3Jk", 1), MG_RESPOND); /* bob:password; even if it were right */
    assert_int_equal(fake.status, 401);
    assert_int_equal(fake.credential, -1);
    assert_int_equal(fake.verified, 2);
    assert_string_equal(fake.hash, HASH);
}

static void too_many_hashes_at_once_is_a_503_with_retry_after(void **state)
{
    (void)state;
    assert_int_equal(ask(RIGHT, MG_EBUSY), MG_RESPOND); /* told by on_wake */
    assert_int_equal(fake.status, 503);
    assert_string_equal(fake.retry_after, "1");
    fake.verify_says = MG_EBUSY;                        /* or at once */
    assert_int_equal(ask(RIGHT, 0), MG_RESPOND);
    assert_int_equal(fake.status, 503);
    fake.verify_says = 1;
    assert_int_equal(ask(RIGHT, 1), MG_CONTINUE);       /* and nothing was remembered */
    assert_int_equal(fake.verified, 3);
}

static void a_hash_that_cannot_be_verified_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(ask(RIGHT, MG_EINVAL), MG_ERROR);
    assert_int_equal(fake.credential, -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_pair_that_was_right_is_hashed_once), T(what_was_wrong_is_hashed_again), T(a_new_hash_makes_old_proofs_void),
        T(an_unknown_name_costs_the_same_hash), T(too_many_hashes_at_once_is_a_503_with_retry_after),
        T(a_hash_that_cannot_be_verified_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
