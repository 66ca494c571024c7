#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "record/parts.h"

/* What a mask is made for, with an arena of `budget` bytes. */
struct desk { struct mg_record_job job; struct mg_arena arena; struct mg_mask m; struct mg_str names[1]; };

static void begin(struct desk *d, size_t budget)
{
    memset(d, 0, sizeof *d);
    d->names[0] = MG_STR("mine");
    d->job.conf = (struct mg_record_conf){ .secret = d->names, .secret_n = 1 };
    memset(d->job.key, 7, sizeof d->job.key);
    mg_arena_init(&d->arena, NULL, budget);
    d->m = (struct mg_mask){ .job = &d->job, .arena = &d->arena };
}

static void end(struct desk *d) { mg_arena_deinit(&d->arena); }

static bool holds(struct mg_str s, const char *text) { return s.n && memmem(s.p, s.n, text, strlen(text)); }

static struct mg_str field(struct desk *d, const char *name, const char *value)
{
    return mg_mask_field(&d->m, mg_str_c(name), mg_str_c(value));
}

static struct mg_str plain(struct desk *d, const char *body) { return mg_mask_plain(&d->m, mg_str_c(body), false); }

static void equal_secrets_become_equal_words(void **state)
{
    struct desk d;
    struct mg_str a, b, c;

    (void)state;
    begin(&d, 1 << 20);
    a = mg_mask_word(&d.m, MG_STR("secret-number-one"));
    b = mg_mask_word(&d.m, MG_STR("secret-number-one"));
    c = mg_mask_word(&d.m, MG_STR("secret-number-two"));
    assert_int_equal(a.n, 24);
    assert_true(mg_str_eq(a, b));
    assert_false(mg_str_eq(a, c));
    assert_true(mg_str_eq(mg_mask_word(&d.m, a), a)); /* a word stays one */
    end(&d);
}

static void fields_keep_what_is_no_secret(void **state)
{
    struct desk d;
    struct mg_str s;

    (void)state;
    begin(&d, 1 << 20);
    assert_true(mg_str_eq(field(&d, "x-other", "hidden-value"), MG_STR("hidden-value")));
    s = field(&d, "authorization", "Bearer hidden-value");
    assert_true(mg_str_starts(s, MG_STR("Bearer masked-")));
    s = field(&d, "authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.hidden-signature");
    assert_true(mg_str_starts(s, MG_STR("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.masked-")));
    s = field(&d, "Cookie", "a=hidden-value;b=;c; d=hidden-too");
    assert_true(mg_str_starts(s, MG_STR("a=masked-")) && holds(s, ";b=;masked-") && holds(s, "; d=masked-") && !holds(s, "hidden"));
    s = field(&d, "set-cookie", "a=hidden-value; Path=/hidden; Secure");
    assert_true(holds(s, "; Path=/hidden; Secure") && !holds(s, "value"));
    s = field(&d, "x-api-key", "two words");
    assert_true(mg_str_starts(s, MG_STR("masked-")));
    s = field(&d, "MINE", "hidden-value");
    assert_false(holds(s, "hidden"));
    assert_int_equal(field(&d, "cookie", "").n, 0);
    end(&d);
}

static void arguments_are_masked_as_a_plugin_sees_them(void **state)
{
    struct desk d;
    struct mg_str s;

    (void)state;
    begin(&d, 1 << 20);
    s = mg_mask_target(&d.m, MG_STR("/a?token=hidden%2Dvalue&b=1&&c&mine=x"));
    assert_true(holds(s, "&b=1&&c&mine=masked-"));
    assert_false(holds(s, "hidden"));
    assert_true(holds(s, mg_mask_word(&d.m, MG_STR("hidden-value")).p));
    assert_true(mg_str_eq(mg_mask_target(&d.m, MG_STR("/a?")), MG_STR("/a?")));
    end(&d);
}

static void json_is_masked_also_where_it_was_cut(void **state)
{
    struct desk d;
    struct mg_str s;

    (void)state;
    begin(&d, 1 << 20);
    s = plain(&d, "{\"password\" : \"hidden \\\" value\", \"b\": [1, {\"token\": {\"x\": [\"hidden-value\"]}}], \"c\": 3}");
    assert_false(holds(s, "hidden"));
    assert_true(holds(s, "\"b\": [1, {\"token\": \"masked-") && holds(s, "\"}], \"c\": 3}"));
    assert_false(holds(plain(&d, "{\"a\":1,\"password\":\"hidden-va"), "hidden"));
    assert_false(holds(plain(&d, "{\"token\":[\"hidden-value\", {\"x\":"), "hidden"));
    assert_false(holds(plain(&d, "{\"pass\\u0077ord\":\"hidden-value\"}"), "hidden"));
    assert_true(mg_str_eq(plain(&d, "{\"password\""), MG_STR("{\"password\"")));
    assert_true(mg_str_eq(plain(&d, "{\"password\":"), MG_STR("{\"password\":")));
    assert_true(mg_str_eq(plain(&d, "\"\\"), MG_STR("\"\\")));
    end(&d);
}

static void what_is_known_is_masked_everywhere(void **state)
{
    struct desk d;
    struct mg_str s, out;
    bool changed;

    (void)state;
    begin(&d, 1 << 20);
    field(&d, "x-api-key", "hidden-value");
    field(&d, "x-api-key", "short");
    s = mg_mask_scrub(&d.m, MG_STR("a hidden-value b hidden-valuehidden-value short"));
    assert_false(holds(s, "hidden"));
    assert_true(holds(s, "short"));
    assert_true(mg_mask_body(&d.m, MG_STR("text/plain"), MG_STR(""), MG_STR("echo hidden-value"), &out, &changed));
    assert_true(changed && !holds(out, "hidden"));
    assert_false(mg_mask_body(&d.m, MG_STR("text/plain"), MG_STR("gzip"), MG_STR("no gzip"), &out, &changed) && holds(out, "hidden"));
    assert_false(mg_mask_body(&d.m, MG_STR("text/plain"), MG_STR("unheard-of"), MG_STR("x"), &out, &changed));
    end(&d);
}

static void messages_of_plugins_are_masked(void **state)
{
    static const struct mg_str text = { "POST http://a/?token=hidden-1234 HTTP/1.1\r\nAuthorization: Basic aGlkZGVuOmhpZGRlbg==\r\nContent-Type: "
                                        "application/x-www-form-urlencoded\r\nX: 1\r\n\r\npassword=hidden-5678&b=2", 0 };
    struct desk d;
    struct mg_str s;

    (void)state;
    begin(&d, 1 << 20);
    s = mg_mask_text(&d.m, "http", mg_str_c(text.p), false);
    assert_true(holds(s, "HTTP/1.1\r\nAuthorization: Basic masked-") && holds(s, "\r\nX: 1\r\n\r\npassword=masked-") && holds(s, "&b=2"));
    assert_false(holds(s, "hidden") || holds(s, "aGlk"));
    assert_true(holds(mg_mask_text(&d.m, "credential", MG_STR("keys hidden-key"), true), "keys masked-"));
    assert_true(mg_str_eq(mg_mask_text(&d.m, "credential", MG_STR("basic alice"), false), MG_STR("basic alice")));
    assert_true(mg_str_starts(mg_mask_text(&d.m, "password", MG_STR("hidden-word"), true), MG_STR("masked-")));
    end(&d);
}

static void nothing_leaks_when_memory_is_short(void **state)
{
    (void)state;
    for (size_t budget = 0; budget < 4096; budget += 16) {
        struct desk d;
        struct mg_str s;

        begin(&d, budget);
        s = field(&d, "cookie", "a=hidden-value; b=hidden-too");
        assert_false(holds(s, "hidden"));
        s = plain(&d, "{\"password\": \"hidden-value\", \"b\": 2, \"token\": \"hidden-too\"}");
        assert_false(holds(s, "hidden"));
        s = mg_mask_target(&d.m, MG_STR("/?token=hidden-value&password=hidden-%74oo"));
        assert_false(holds(s, "hidden"));
        end(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_secrets_become_equal_words), cmocka_unit_test(fields_keep_what_is_no_secret),
        cmocka_unit_test(arguments_are_masked_as_a_plugin_sees_them), cmocka_unit_test(json_is_masked_also_where_it_was_cut),
        cmocka_unit_test(what_is_known_is_masked_everywhere), cmocka_unit_test(messages_of_plugins_are_masked),
        cmocka_unit_test(nothing_leaks_when_memory_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
