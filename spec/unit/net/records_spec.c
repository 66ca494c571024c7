#include "unit.h"
#include "base/alloc.h"
#include "net/records.h"

static uint8_t bytes[70000];
static size_t n;

static void put16(unsigned v)
{
    bytes[n++] = (uint8_t)(v >> 8);
    bytes[n++] = (uint8_t)v;
}

static void put(const void *p, size_t k)
{
    memcpy(bytes + n, p, k);
    n += k;
}

/* An answer to a question for "s.test", of so many records. */
static void begin(unsigned records_n)
{
    memset(bytes, 0, sizeof bytes);
    n = 0;
    put16(7);
    put16(0x8180);
    put16(1);
    put16(records_n);
    put16(0);
    put16(0);
    put("\1s\4test", 8); /* with its NUL */
    put16(33);
    put16(1);
}

static void record(unsigned type, unsigned ttl, const void *data, size_t k)
{
    put16(0xc00c);
    put16(type);
    put16(1);
    put16(ttl >> 16);
    put16(ttl & 0xffff);
    put16((unsigned)k);
    put(data, k);
}

static void expect(int type, const char *text, int ttl)
{
    struct mg_str out;
    int ttl_s = -1;

    assert_int_equal(mg_records_text(bytes, n, type, &out, &ttl_s), 0);
    assert_int_equal(out.n, strlen(text));
    assert_memory_equal(out.p, text, out.n);
    assert_int_equal(ttl_s, ttl);
    mg_free((char *)out.p);
}

static void refuse(int type, int status)
{
    struct mg_str out;
    int ttl_s;

    assert_int_equal(mg_records_text(bytes, n, type, &out, &ttl_s), status);
    assert_null(out.p);
}

static void servers_come_in_the_order_to_try_them_with_the_shortest_ttl(void **state)
{
    (void)state;
    begin(3);
    record(MG_RECORD_SRV, 300, "\0\12\0\5\x1f\x90\1b\xc0\x0c", 10);   /* 10 5 8080 b.s.test */
    record(MG_RECORD_SRV, 60, "\0\12\0\24\x1f\x91\1c\xc0\x0c", 10);   /* 10 20 8081 c.s.test */
    record(MG_RECORD_SRV, 900, "\0\1\0\0\x1f\x92\1a\0", 9);           /* 1 0 8082 a */
    expect(MG_RECORD_SRV, "900 1 0 8082 a\n60 10 20 8081 c.s.test\n300 10 5 8080 b.s.test", 60);
}

static void records_of_other_types_are_passed_over(void **state)
{
    (void)state;
    begin(2);
    record(MG_RECORD_CNAME, 5, "\1a\0", 3);
    record(MG_RECORD_SRV, 300, "\0\12\0\5\x1f\x90\1b\xc0\x0c", 10);
    expect(MG_RECORD_SRV, "300 10 5 8080 b.s.test", 300);
    expect(MG_RECORD_CNAME, "5 a", 5);
    refuse(MG_RECORD_TXT, MG_ENOENT);
}

static void text_is_one_line_whatever_is_in_it(void **state)
{
    (void)state;
    begin(1);
    record(MG_RECORD_TXT, 1, "\3a b\4\n\\\xff\"", 9);
    expect(MG_RECORD_TXT, "1 a b\\010\\092\\255\"", 1);
}

static void an_empty_text_and_the_root_are_records_too(void **state)
{
    (void)state;
    begin(1);
    record(MG_RECORD_TXT, 9, "\0", 1);
    expect(MG_RECORD_TXT, "9 ", 9);
    begin(1);
    record(MG_RECORD_SRV, 9, "\0\0\0\0\0\0\0", 7);
    expect(MG_RECORD_SRV, "9 0 0 0 .", 9);
}

static void mail_servers_and_names(void **state)
{
    (void)state;
    begin(2);
    record(MG_RECORD_MX, 30, "\0\24\2m2\xc0\x0c", 7);
    record(MG_RECORD_MX, 20, "\0\12\2m1\xc0\x0c", 7);
    expect(MG_RECORD_MX, "20 10 m1.s.test\n30 20 m2.s.test", 20);
    begin(1);
    record(MG_RECORD_PTR, 30, "\1h\xc0\x0c", 4);
    expect(MG_RECORD_PTR, "30 h.s.test", 30);
}

static void what_is_cut_off_anywhere_is_no_answer(void **state)
{
    size_t whole;

    (void)state;
    begin(1);
    record(MG_RECORD_SRV, 300, "\0\12\0\5\x1f\x90\1b\xc0\x0c", 10);
    for (whole = n, n = 0; n < whole; n++)
        refuse(MG_RECORD_SRV, MG_EPROTO);
    begin(0);
    bytes[2] = 0; /* a question */
    refuse(MG_RECORD_SRV, MG_EPROTO);
}

static void a_name_that_points_at_itself_is_no_answer(void **state)
{
    (void)state;
    begin(1);
    record(MG_RECORD_PTR, 30, "\xc0\x24", 2); /* where it stands itself */
    refuse(MG_RECORD_PTR, MG_EPROTO);
}

static void a_flood_of_records_is_cut(void **state)
{
    struct mg_str out;
    int ttl_s, lines = 1;

    (void)state;
    begin(1000);
    for (int i = 0; i < 1000; i++)
        record(MG_RECORD_PTR, 30, "\1h\xc0\x0c", 4);
    assert_int_equal(mg_records_text(bytes, n, MG_RECORD_PTR, &out, &ttl_s), 0);
    for (size_t i = 0; i < out.n; i++)
        lines += out.p[i] == '\n';
    assert_int_equal(lines, MG_RECORDS_MAX);
    mg_free((char *)out.p);
    begin(20); /* and text that grows fourfold stays within its bound, ending with a whole record */
    for (int i = 0; i < 20; i++) {
        static uint8_t data[2048];

        memset(data, 0xff, sizeof data);
        record(MG_RECORD_TXT, 30, data, sizeof data);
    }
    assert_int_equal(mg_records_text(bytes, n, MG_RECORD_TXT, &out, &ttl_s), 0);
    assert_true(out.n <= MG_RECORDS_TEXT_MAX);
    assert_int_equal((out.n + 1) % (3 + 2040 * 4 + 1), 0);
    mg_free((char *)out.p);
}

static void every_allocation_may_fail(void **state)
{
    struct mg_str out = { 0 };
    int ttl_s, rc = MG_ENOMEM;

    (void)state;
    begin(1);
    record(MG_RECORD_PTR, 30, "\1h\xc0\x0c", 4);
    for (int nth = 1; rc == MG_ENOMEM; nth++) {
        mg_alloc_fail(nth);
        rc = mg_records_text(bytes, n, MG_RECORD_PTR, &out, &ttl_s);
        if (rc == MG_ENOMEM)
            assert_true(mg_alloc_failed());
    }
    mg_alloc_fail(0);
    assert_int_equal(rc, 0);
    mg_free((char *)out.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_come_in_the_order_to_try_them_with_the_shortest_ttl),
        cmocka_unit_test(records_of_other_types_are_passed_over),
        cmocka_unit_test(text_is_one_line_whatever_is_in_it),
        cmocka_unit_test(an_empty_text_and_the_root_are_records_too),
        cmocka_unit_test(mail_servers_and_names),
        cmocka_unit_test(what_is_cut_off_anywhere_is_no_answer),
        cmocka_unit_test(a_name_that_points_at_itself_is_no_answer),
        cmocka_unit_test(a_flood_of_records_is_cut),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
