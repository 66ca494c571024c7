/* The table of hosts that URLs name: shared, bounded, and those in use stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "service/http_hosts.h"

static struct mg_arena arena;
static int told;

static void note(void) { told++; }

static int setup(void **state)
{
    (void)state;
    mg_arena_init(&arena, NULL, 1 << 24);
    told = 0;
    mg_http_hosts_changed = note;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    mg_http_hosts_changed = NULL;
    assert_int_equal(mg_http_hosts_sweep(INT64_MAX, 0), 0);
    mg_arena_deinit(&arena);
    return 0;
}

static struct mg_http_host *find(const char *text, int64_t now)
{
    static const struct mg_http_trust plain;
    struct mg_url url;
    int rc;
    struct mg_http_host *h;

    assert_int_equal(mg_url_parse(mg_str_c(text), &arena, &url), 0);
    h = mg_http_host_find(&url, &plain, now);
    return h ? h : mg_http_host_make(&url, &plain, NULL, now, &rc);
}

static void the_same_place_is_the_same_upstream(void **state)
{
    struct mg_http_host *a = find("http://h/x", 1), *b = find("http://H:80/y", 2), *c = find("http://h:81/", 3);

    (void)state;
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_non_null(mg_http_host_spec(a)->live);
    assert_int_equal(told, 2); /* the resolver has two names to ask for */
    mg_http_host_unref(a, 4);
    mg_http_host_unref(b, 4);
    mg_http_host_unref(c, 4);
}

static void one_that_is_in_use_never_leaves(void **state)
{
    struct mg_http_host *a = find("http://h/", 0);

    (void)state;
    assert_int_equal(mg_http_hosts_sweep(1000000, 10), 1);
    mg_http_host_unref(a, 1000000);
    assert_int_equal(mg_http_hosts_sweep(1000009, 10), 1);
    assert_int_equal(mg_http_hosts_sweep(1000010, 10), 0);
}

static void a_full_table_lets_the_one_go_that_was_not_used_for_longest(void **state)
{
    struct mg_http_host *all[MG_HTTP_HOSTS_MAX];
    char text[32];

    (void)state;
    for (int i = 0; i < MG_HTTP_HOSTS_MAX; i++) {
        snprintf(text, sizeof(text), "http://10.0.%d.%d/", i / 250, i % 250);
        all[i] = find(text, i);
        assert_non_null(all[i]);
    }
    assert_null(find("http://one.more/", 2000)); /* all are in use */
    mg_http_host_unref(all[7], 2001);
    all[7] = find("http://one.more/", 2002);
    assert_non_null(all[7]);
    assert_int_equal(mg_http_hosts_sweep(0, 1), MG_HTTP_HOSTS_MAX);
    for (int i = 0; i < MG_HTTP_HOSTS_MAX; i++)
        mg_http_host_unref(all[i], 3000);
}

static void every_allocation_may_fail(void **state)
{
    static const struct mg_http_trust plain;
    struct mg_http_host *h = NULL;
    struct mg_url url;
    int rc, nth = 0;

    (void)state;
    assert_int_equal(mg_url_parse(MG_STR("http://h/"), &arena, &url), 0);
    while (!h) {
        mg_alloc_fail(++nth);
        h = mg_http_host_make(&url, &plain, NULL, 0, &rc);
        mg_alloc_fail(0);
        if (!h)
            assert_int_equal(rc, MG_ENOMEM);
        assert_true(h || mg_http_hosts_sweep(0, 1) == 0);
    }
    assert_true(nth > 3);
    mg_http_host_unref(h, 0);
}

static void the_state_of_its_files_is_part_of_trust(void **state)
{
    struct mg_http_trust a = { 0 }, b = { .no_verify = true }, c = { .ca = MG_STR("/etc/hostname") }, d = { .ca = MG_STR("/no/such") };

    (void)state;
    assert_int_equal(mg_http_trust_digest(&a, &arena) | mg_http_trust_digest(&b, &arena) | mg_http_trust_digest(&c, &arena) |
                         mg_http_trust_digest(&d, &arena), 0);
    assert_memory_equal(a.digest.p, "verify=1", 9);
    assert_false(mg_str_eq(a.digest, b.digest) || mg_str_eq(a.digest, c.digest) || mg_str_eq(c.digest, d.digest));
    assert_non_null(memchr(c.digest.p, '@', c.digest.n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_place_is_the_same_upstream, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_in_use_never_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_table_lets_the_one_go_that_was_not_used_for_longest, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(the_state_of_its_files_is_part_of_trust, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
