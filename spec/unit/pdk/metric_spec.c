#include "pdk/fake.h"
#include "pdk/metric.h"

static char *text(void)
{
    struct mg_str s;

    assert_int_equal(mg_metrics_text(&s), 0);
    return (char *)s.p;
}

static void assert_line(const char *line)
{
    char *all = text(), wanted[512];

    snprintf(wanted, sizeof wanted, "%s\n", line);
    if (!strstr(all, wanted))
        fail_msg("no line %s in:\n%s", line, all);
    free(all);
}

static void the_same_declaration_gives_the_same_number(void **state)
{
    int m = mg_metric(MG_METRIC_COUNTER, LIT("t_requests_total"), LIT("All\\of\nthem"), LIT("route,status"), NULL, 0);

    (void)state;
    assert_true(m > 0);
    assert_int_equal(mg_metric(MG_METRIC_COUNTER, LIT("t_requests_total"), LIT("x"), LIT("route, status"), NULL, 0), m);
    assert_int_equal(mg_metric(MG_METRIC_GAUGE, LIT("t_requests_total"), LIT("x"), LIT("route,status"), NULL, 0), MG_EINVAL);
    assert_int_equal(mg_metric(MG_METRIC_COUNTER, LIT("t_requests_total"), LIT("x"), LIT("route"), NULL, 0), MG_EINVAL);
    assert_int_equal(mg_metric(MG_METRIC_COUNTER, LIT("1bad"), LIT("x"), NULL, 0, NULL, 0), MG_EINVAL);
    assert_int_equal(mg_metric(MG_METRIC_HISTOGRAM, LIT("t_h"), LIT("x"), LIT("le"), NULL, 0), MG_EINVAL);
    assert_int_equal(mg_metric(MG_METRIC_HISTOGRAM, LIT("t_h"), LIT("x"), NULL, 0, LIT("2,1")), MG_EINVAL);
    assert_line("# HELP t_requests_total All\\\\of\\nthem");
    assert_line("# TYPE t_requests_total counter");
}

static void *count(void *arg)
{
    struct mg_str values[] = { { LIT("a\"\\\nb") }, { LIT("200") } };

    for (int i = 0; i < 10000; i++)
        mg_metric_add(*(int *)arg, values, 2, 1);
    return NULL;
}

static void counts_of_all_threads_add_up_and_outlive_them(void **state)
{
    int m = mg_metric(MG_METRIC_COUNTER, LIT("t_threads_total"), LIT("x"), LIT("route,status"), NULL, 0);
    pthread_t t[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, count, &m);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    count(&m);
    assert_line("t_threads_total{route=\"a\\\"\\\\\\nb\",status=\"200\"} 40000");
}

static void a_histogram_has_cumulative_buckets(void **state)
{
    int m = mg_metric(MG_METRIC_HISTOGRAM, LIT("t_seconds"), LIT("x"), NULL, 0, LIT("0.1, 0.5"));

    (void)state;
    mg_metric_add(m, NULL, 0, 0.1);
    mg_metric_add(m, NULL, 0, 0.25);
    mg_metric_add(m, NULL, 0, 7);
    assert_line("t_seconds_bucket{le=\"0.1\"} 1");
    assert_line("t_seconds_bucket{le=\"0.5\"} 2");
    assert_line("t_seconds_bucket{le=\"+Inf\"} 3");
    assert_line("t_seconds_sum 7.35");
    assert_line("t_seconds_count 3");
}

static void a_gauge_goes_up_and_down_and_a_counter_only_up(void **state)
{
    int g = mg_metric(MG_METRIC_GAUGE, LIT("t_open"), LIT("x"), NULL, 0, NULL, 0);
    int c = mg_metric(MG_METRIC_COUNTER, LIT("t_up_total"), LIT("x"), NULL, 0, NULL, 0);

    (void)state;
    mg_metric_add(g, NULL, 0, 3);
    mg_metric_add(g, NULL, 0, -1);
    assert_int_equal(mg_metric_add(c, NULL, 0, -1), MG_EINVAL);
    assert_int_equal(mg_metric_add(c, NULL, 1, 1), MG_EINVAL);
    assert_int_equal(mg_metric_add(9999, NULL, 0, 1), MG_EINVAL);
    assert_line("t_open 2");
}

static void too_many_label_sets_end_in_other(void **state)
{
    int m = mg_metric(MG_METRIC_COUNTER, LIT("t_many_total"), LIT("x"), LIT("who"), NULL, 0);
    char who[16];

    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1500; i++) {
            struct mg_str v = mg_str(who, (size_t)snprintf(who, sizeof who, "w%d", i));

            assert_int_equal(mg_metric_add(m, &v, 1, 1), 0);
        }
    assert_line("t_many_total{who=\"w999\"} 2");
    assert_line("t_many_total{who=\"other\"} 1000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_declaration_gives_the_same_number), cmocka_unit_test(counts_of_all_threads_add_up_and_outlive_them),
        cmocka_unit_test(a_histogram_has_cumulative_buckets), cmocka_unit_test(a_gauge_goes_up_and_down_and_a_counter_only_up),
        cmocka_unit_test(too_many_label_sets_end_in_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
