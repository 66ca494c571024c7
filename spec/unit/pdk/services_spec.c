#include "pdk/fake.h"

#include <crypt.h>
#include <pthread.h>

static void assert_hex(struct mg_str raw, const char *hex)
{
    struct mg_str s;

    assert_int_equal(mg_hex_encode(raw.p, raw.n, &s), 0);
    assert_int_equal(s.n, strlen(hex));
    assert_memory_equal(s.p, hex, s.n);
}

static void digests_and_hmacs_agree_with_the_standards(void **state)
{
    struct mg_str s;

    (void)state;
    assert_int_equal(mg_digest("sha256", LIT("abc"), &s), 0); /* FIPS 180-4 */
    assert_hex(s, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(mg_digest("SHA1", LIT("abc"), &s), 0);
    assert_hex(s, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_int_equal(mg_digest("sha256", NULL, 0, &s), 0);
    assert_hex(s, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(mg_hmac("sha256", LIT("Jefe"), LIT("what do ya want for nothing?"), &s), 0); /* RFC 4231, 4.3 */
    assert_hex(s, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(mg_hmac("sha256", "", 0, "", 0, &s), 0);
    assert_hex(s, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_int_equal(mg_digest("no-such", LIT("abc"), &s), MG_ENOENT);
    assert_int_equal(mg_hmac("no-such", "", 0, "", 0, &s), MG_ENOENT);
}

static void *digest_much(void *arg)
{
    struct mg_str s;

    (void)arg;
    for (int i = 0; i < 500; i++)
        if (mg_digest(i % 2 ? "sha512" : "md5", "x", 1, &s) || mg_hmac("sha384", "k", 1, "x", 1, &s))
            return "failed";
    return NULL;
}
static void digests_work_on_any_thread(void **state)
{
    pthread_t t[3];
    void *r;

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, digest_much, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], &r);
        assert_null(r);
    }
}

static void base64_is_strict(void **state)
{
    static const char *const pairs[][3] = { { "", "", "" }, { "f", "Zg==", "Zg" }, { "fo", "Zm8=", "Zm8" }, { "foo", "Zm9v", "Zm9v" },
                                            { "foob", "Zm9vYg==", "Zm9vYg" }, { "\xfb\xff", "+/8=", "-_8" } };
    static const char *const bad[] = { "Zg=", "Zg", "Z", "Zh==", "Zm9=", "Zg==Zg==", "Z g=", "Zm8*", "====", "=" };
    struct mg_str s;

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (int url = 0; url < 2; url++) {
            const char *text = pairs[i][1 + url];

            assert_int_equal(mg_base64_encode(pairs[i][0], strlen(pairs[i][0]), url, &s), 0);
            assert_int_equal(s.n, strlen(text));
            assert_memory_equal(s.p, text, s.n);
            assert_int_equal(mg_base64_decode(text, strlen(text), url, &s), 0);
            assert_int_equal(s.n, strlen(pairs[i][0]));
            assert_memory_equal(s.p, pairs[i][0], s.n);
        }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mg_base64_decode(bad[i], strlen(bad[i]), 0, &s), MG_ESYNTAX);
    assert_int_equal(mg_base64_decode(LIT("Zg=="), 1, &s), MG_ESYNTAX);
    assert_int_equal(mg_base64_decode(LIT("+/8"), 1, &s), MG_ESYNTAX);
}

static void hex_and_percent_encoding_go_both_ways(void **state)
{
    struct mg_str s;

    (void)state;
    assert_int_equal(mg_hex_decode(LIT("00fFA5"), &s), 0);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "\x00\xff\xa5", 3);
    assert_int_equal(mg_hex_decode(LIT("0"), &s), MG_ESYNTAX);
    assert_int_equal(mg_hex_decode(LIT("0g"), &s), MG_ESYNTAX);
    assert_int_equal(mg_url_encode(LIT("a b/~\xff"), &s), 0);
    assert_str(s, "a%20b%2F~%FF");
    assert_int_equal(mg_url_decode(LIT("a%20b%2f+"), &s), 0);
    assert_str(s, "a b/+");
    assert_int_equal(mg_url_decode(LIT("%2"), &s), MG_ESYNTAX);
    assert_int_equal(mg_url_decode(LIT("%zz"), &s), MG_ESYNTAX);
    assert_int_equal(mg_equal(LIT("abc"), LIT("abc")), 1);
    assert_int_equal(mg_equal(LIT("abc"), LIT("abd")), 0);
    assert_int_equal(mg_equal(LIT("abc"), LIT("ab")), 0);
    assert_int_equal(mg_equal(NULL, 0, NULL, 0), 1);
}

static void expressions_give_spans(void **state)
{
    char why[160];
    struct mg_re *re = mg_re_new(LIT("(a)(b)?(c+)"), 0, why, sizeof why);
    int32_t at[8];

    (void)state;
    assert_non_null(re);
    assert_int_equal(mg_re_match(re, LIT("xxaccx"), 0, at, 4), 4);
    assert_int_equal(at[0], 2); assert_int_equal(at[1], 5);
    assert_int_equal(at[2], 2); assert_int_equal(at[4], -1); assert_int_equal(at[5], -1);
    assert_int_equal(at[6], 3); assert_int_equal(at[7], 5);
    assert_int_equal(mg_re_match(re, LIT("xxaccx"), 3, at, 4), 0);
    assert_int_equal(mg_re_match(re, LIT("ac"), 0, at, 1), 1);
    assert_int_equal(mg_re_match(re, LIT("ac"), 0, NULL, 0), 1);
    assert_int_equal(mg_re_match(re, LIT("ac"), 3, at, 1), MG_EINVAL);
    mg_re_free(re);
    re = mg_re_new(LIT("^ab$"), MG_RE_CASELESS | MG_RE_MULTILINE, why, sizeof why);
    assert_int_equal(mg_re_match(re, LIT("x\nAB\ny"), 0, at, 1), 1);
    mg_re_free(re);
    assert_null(mg_re_new(LIT("a(b"), 0, why, sizeof why));
    assert_non_null(strstr(why, "byte "));
}

static void a_catastrophic_expression_runs_into_its_limit(void **state)
{
    struct mg_re *re = mg_re_new(LIT("^(a+)+$"), 0, NULL, 0);
    int32_t at[2];

    (void)state;
    assert_int_equal(mg_re_match(re, LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), 0, at, 1), MG_ETOOBIG);
    mg_re_free(re);
}

static void time_and_chance(void **state)
{
    char a[16], b[16];
    struct mg_str s;

    (void)state;
    mg_clock_set(5000, 1700000000123456);
    assert_int_equal(mg_now_ms(), 1700000000123);
    assert_int_equal(mg_now_us(), 1700000000123456);
    assert_int_equal(mg_monotonic_us(), 5000);
    mg_clock_set(-1, -1);
    for (int i = 0; i < 1000; i++) {
        double r = mg_random();

        assert_true(r >= 0 && r < 1);
    }
    assert_int_equal(mg_random_bytes(a, 16), 0);
    assert_int_equal(mg_random_bytes(b, 16), 0);
    assert_memory_not_equal(a, b, 16);
    assert_int_equal(mg_uuid(&s), 0);
    assert_int_equal(s.n, 36);
    assert_int_equal(s.p[14], '4');
    assert_non_null(strchr("89ab", s.p[19]));
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

static int started, ended_op, ended_status;
static const char *encoded, *password;
static enum mg_verdict begin(struct mg_x *x, void *self, void *local)
{
    (void)local;
    started = ((int (*)(struct mg_x *))self)(x);
    return started > 0 ? MG_WAIT : MG_CONTINUE;
}
static enum mg_verdict finish(struct mg_x *x, void *self, void *local, int op, int status)
{
    (void)x;
    (void)self;
    (void)local;
    ended_op = op;
    ended_status = status;
    return MG_CONTINUE;
}
static const struct mg_plugin waiter = { .abi = MG_PLUGIN_ABI, .size = sizeof waiter, .name = "waiter", .on_request = begin, .on_wake = finish };

static int sleep_20(struct mg_x *x) { return mg_sleep(x, 20); }
static int sleep_resumed(struct mg_x *x)
{
    int op = mg_sleep(x, 1);

    assert_int_equal(mg_resume(x, op, 7), MG_ENOENT); /* its timer would be left behind */
    return op;
}
static int sleep_negative(struct mg_x *x) { return mg_sleep(x, -1); }
static int verify(struct mg_x *x) { return mg_password_verify(x, encoded, strlen(encoded), password, strlen(password)); }
static int resumed_first(struct mg_x *x)
{
    int op = mg_op_new(x);

    assert_int_equal(mg_resume(x, op, 7), 0);
    assert_int_equal(mg_resume(x, op, 8), MG_ENOENT);
    return op;
}
struct far { struct mg_x *x; int op; };
static void *resume_from_elsewhere(void *arg)
{
    struct far *r = arg;

    assert_int_equal(mg_resume(r->x, r->op, 9), 0);
    return NULL;
}
static pthread_t helper;
static struct far far;
static int resumed_far(struct mg_x *x)
{
    far.x = x;
    far.op = mg_op_new(x);
    pthread_create(&helper, NULL, resume_from_elsewhere, &far);
    return far.op;
}
static int cancelled(struct mg_x *x)
{
    int op = mg_sleep(x, 10);

    assert_int_equal(mg_op_cancel(x, op), 0);
    assert_int_equal(mg_op_cancel(x, op), MG_ENOENT);
    return mg_sleep(x, 20);
}

static void wait_for(struct fake *f, int (*start)(struct mg_x *))
{
    f->entries_n = 0;
    fake_entry(f, &waiter, (void *)start);
    ended_op = ended_status = -99;
    f->wakes = 0;
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    while (ended_op == -99)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    assert_int_equal(ended_op, started);
}

static void sleeping_is_never_shorter_than_asked(void **state)
{
    struct fake *f = *state;
    int64_t from = mg_monotonic_us();

    wait_for(f, sleep_20);
    assert_int_equal(ended_status, 0);
    assert_true(mg_monotonic_us() - from >= 20000 - 1000); /* the loop's own clock counts whole milliseconds */
    f->entries_n = 0;
    fake_entry(f, &waiter, (void *)sleep_negative);
    fake_phase(f, MG_ON_REQUEST);
    assert_int_equal(started, MG_EINVAL);
}

static void resuming_works_before_waiting_and_from_any_thread(void **state)
{
    struct fake *f = *state;

    wait_for(f, resumed_first);
    assert_int_equal(ended_status, 7);
    wait_for(f, resumed_far);
    assert_int_equal(ended_status, 9);
    pthread_join(helper, NULL);
    wait_for(f, sleep_resumed);
    assert_int_equal(ended_status, 0);
}

static void a_cancelled_operation_does_not_come_back(void **state)
{
    struct fake *f = *state;

    wait_for(f, cancelled);
    assert_int_equal(f->wakes, 1);
}

static int verified(struct fake *f, const char *e, const char *p)
{
    encoded = e;
    password = p;
    wait_for(f, verify);
    return ended_status;
}

static void passwords_are_verified_on_the_thread_pool(void **state)
{
    struct fake *f = *state;
    struct crypt_data data = { 0 };
    char sha[128], bcrypt[128];

    strcpy(sha, crypt_r("secret", "$5$rounds=1000$saltsalt", &data));
    strcpy(bcrypt, crypt_r("secret", "$2b$04$abcdefghijklmnopqrstuu", &data));
    assert_int_equal(verified(f, sha, "secret"), 1);
    assert_int_equal(verified(f, sha, "Secret"), 0);
    assert_int_equal(verified(f, bcrypt, "secret"), 1);
    assert_int_equal(verified(f, bcrypt, ""), 0);
    assert_int_equal(verified(f, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$broken", "x"), MG_EINVAL);
    assert_int_equal(verified(f, "secret", "secret"), MG_EINVAL); /* never plain text */
    assert_int_equal(verified(f, "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "password"), MG_EINVAL);
}

static void an_exchange_that_ends_forgets_its_password_job(void **state)
{
    struct fake *f = *state;
    struct crypt_data data = { 0 };
    char sha[128];

    strcpy(sha, crypt_r("secret", "$5$rounds=1000$saltsalt", &data));
    encoded = sha;
    password = "secret";
    fake_entry(f, &waiter, (void *)verify);
    ended_op = -99;
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    fake_end_exchange(f);
    verified((fake_new_exchange(f), f), sha, "secret"); /* queued behind it */
    assert_int_equal(ended_status, 1);
}

static void lines_go_to_a_file(void **state)
{
    char path[] = "/tmp/moongate-sink-XXXXXX", why[160];
    int fd = mkstemp(path);
    struct mg_sink *s;

    (void)state;
    assert_true(fd >= 0);
    s = mg_sink_open(path, strlen(path), why, sizeof why);
    assert_non_null(s);
    assert_int_equal(mg_sink_write(s, LIT("hello")), 0);
    mg_sink_close(s);
    assert_null(mg_sink_open(LIT(""), why, sizeof why));
    assert_null(mg_sink_open(LIT("/no/such/folder/x.log"), why, sizeof why));
    assert_true(strlen(why) > 0);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
        cmocka_unit_test(digests_and_hmacs_agree_with_the_standards), cmocka_unit_test(digests_work_on_any_thread), cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(hex_and_percent_encoding_go_both_ways), cmocka_unit_test(expressions_give_spans),
        cmocka_unit_test(a_catastrophic_expression_runs_into_its_limit), cmocka_unit_test(time_and_chance),
        T(sleeping_is_never_shorter_than_asked), T(resuming_works_before_waiting_and_from_any_thread), T(a_cancelled_operation_does_not_come_back),
        T(passwords_are_verified_on_the_thread_pool), T(an_exchange_that_ends_forgets_its_password_job), cmocka_unit_test(lines_go_to_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
