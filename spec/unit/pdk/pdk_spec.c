#include "pdk/fake.h"
#include "pdk/client.h"
#include "pdk/problem.h"
#include "exchange/consumer.h"

/* Run a check inside a phase function, as a plugin would. */
typedef void check_fn(struct fake *f);
static check_fn *check;
static enum mg_verdict inside(struct mg_x *x, void *self, void *local)
{
    (void)x;
    (void)local;
    check(self);
    return MG_CONTINUE;
}
static const struct mg_plugin prober = { .abi = MG_PLUGIN_ABI, .size = sizeof prober, .name = "prober", .on_rewrite = inside, .on_request = inside,
                                         .on_response = inside, .on_log = inside };
static void in_phase(struct fake *f, int phase, check_fn *fn)
{
    if (!f->entries_n)
        fake_entry(f, &prober, f);
    check = fn;
    f->x->began = 1;
    assert_int_equal(fake_phase(f, phase), MG_CONTINUE);
}

static int setup(void **state)
{
    mg_log_capture(fake_quiet, NULL);
    return fake_setup(state);
}

/* ---- the request --------------------------------------------------------------------------------- */

static void the_request_line_can_be_read(void **state)
{
    struct fake *f = *state;
    struct mg_str s;

    mg_request_method(f->h, &s); assert_str(s, "GET");
    mg_request_scheme(f->h, &s); assert_str(s, "http");
    mg_request_host(f->h, &s); assert_str(s, "api.example.com");
    mg_request_path(f->h, &s); assert_str(s, "/users/7");
    mg_request_query(f->h, &s); assert_str(s, "a=1&b=x%20y&a=2");
    mg_request_target(f->h, &s); assert_str(s, "/users/7?a=1&b=x%20y&a=2");
    assert_int_equal(mg_request_port(f->h), 80);
    assert_int_equal(mg_request_version(f->h), 11);
}

static void set_line(struct fake *f)
{
    struct mg_str s;

    assert_int_equal(mg_request_set_method(f->h, LIT("PURGE")), 0);
    mg_request_method(f->h, &s); assert_str(s, "PURGE");
    assert_int_equal(mg_request_set_method(f->h, LIT("a b")), MG_EINVAL);
    assert_int_equal(mg_request_set_path(f->h, LIT("/a/../b/%7ec")), 0);
    mg_request_path(f->h, &s); assert_str(s, "/b/~c");
    assert_int_equal(mg_request_set_path(f->h, LIT("/../x")), MG_EINVAL);
    assert_int_equal(mg_request_set_path(f->h, LIT("x")), MG_EINVAL);
    assert_int_equal(mg_request_set_query(f->h, LIT("z=1")), 0);
    mg_request_query(f->h, &s); assert_str(s, "z=1");
    assert_int_equal(mg_request_set_query(f->h, LIT("a b")), MG_EINVAL);
    assert_int_equal(mg_x_set_id(f->h, LIT("abc-1")), 0);
    mg_x_id(f->h, &s); assert_str(s, "abc-1");
    assert_int_equal(mg_x_set_id(f->h, LIT("a\nb")), MG_EINVAL);
}
static void set_line_late(struct fake *f)
{
    assert_int_equal(mg_request_set_method(f->h, LIT("PUT")), MG_EPHASE);
    assert_int_equal(mg_request_set_path(f->h, LIT("/x")), MG_EPHASE);
    assert_int_equal(mg_request_set_query(f->h, LIT("x")), MG_EPHASE);
    assert_int_equal(mg_query_set(f->h, LIT("x"), LIT("y")), MG_EPHASE);
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("x"), LIT("y")), MG_EPHASE);
    assert_int_equal(mg_x_set_id(f->h, LIT("x")), MG_EPHASE);
    assert_int_equal(mg_upstream_set(f->h, LIT("x")), MG_EPHASE);
    assert_int_equal(mg_consumer_set(f->h, LIT("x")), MG_EPHASE);
}
static void the_request_line_can_be_set_before_it_is_sent(void **state)
{
    in_phase(*state, MG_ON_REQUEST, set_line);
    in_phase(*state, MG_ON_RESPONSE, set_line_late);
}

static void arguments_are_decoded_and_edited_in_place(void **state)
{
    struct fake *f = *state;
    struct mg_str s, n;

    assert_int_equal(mg_query_get(f->h, LIT("b"), &s), 0); assert_str(s, "x y");
    assert_int_equal(mg_query_get(f->h, LIT("a"), &s), 0); assert_str(s, "1");
    assert_int_equal(mg_query_get(f->h, LIT("c"), &s), MG_ENOENT);
    assert_int_equal(mg_query_at(f->h, 2, &n, &s), 0); assert_str(n, "a"); assert_str(s, "2");
    assert_int_equal(mg_query_at(f->h, 3, &n, &s), MG_ENOENT);
    assert_int_equal(mg_query_set(f->h, LIT("a"), LIT("&=")), 0);
    mg_request_query(f->h, &s); assert_str(s, "a=%26%3D&b=x%20y");
    assert_int_equal(mg_query_add(f->h, LIT("c d"), LIT("")), 0);
    mg_request_query(f->h, &s); assert_str(s, "a=%26%3D&b=x%20y&c%20d=");
    assert_int_equal(mg_query_get(f->h, LIT("c d"), &s), 0);
    assert_int_equal(mg_query_remove(f->h, LIT("b")), 1);
    assert_int_equal(mg_query_remove(f->h, LIT("b")), 0);
    assert_int_equal(mg_query_set(f->h, LIT("e"), LIT("f")), 0);
    mg_request_query(f->h, &s); assert_str(s, "a=%26%3D&c%20d=&e=f");
}

static void params_and_cookies_are_found_by_name(void **state)
{
    struct fake *f = *state;
    struct mg_str s;

    f->x->found.params[0] = (struct mg_param){ MG_STR("id"), MG_STR("a%20b") };
    f->x->found.params[1] = (struct mg_param){ MG_STR("*"), MG_STR("x%2Fy") };
    f->x->found.params_n = 2;
    assert_int_equal(mg_request_param(f->h, LIT("id"), &s), 0); assert_str(s, "a b");
    assert_int_equal(mg_request_param(f->h, LIT("*"), &s), 0); assert_str(s, "x%2Fy");
    assert_int_equal(mg_request_param(f->h, LIT("no"), &s), MG_ENOENT);
    fake_field(f, f->x->req, "Cookie", "a=1; session=x=y;b");
    assert_int_equal(mg_request_cookie(f->h, LIT("session"), &s), 0); assert_str(s, "x=y");
    assert_int_equal(mg_request_cookie(f->h, LIT("b"), &s), MG_ENOENT);
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static void fields_are_found_whatever_their_case(void **state)
{
    struct fake *f = *state;
    struct mg_str s, n;

    fake_field(f, f->x->req, "Accept-Encoding", "gzip");
    fake_field(f, f->x->req, "X-Tag", "a");
    fake_field(f, f->x->req, "x-tag", "b");
    assert_int_equal(mg_header_get(f->h, MG_REQUEST, LIT("X-TAG"), &s), 0); assert_str(s, "a");
    assert_int_equal(mg_header_join(f->h, MG_REQUEST, LIT("x-tag"), &s), 0); assert_str(s, "a, b");
    assert_int_equal(mg_header_join(f->h, MG_REQUEST, LIT("accept-encoding"), &s), 0); assert_str(s, "gzip");
    assert_int_equal(mg_header_get(f->h, MG_REQUEST, LIT("none"), &s), MG_ENOENT);
    assert_int_equal(mg_header_remove(f->h, MG_REQUEST, LIT("x-TAG")), 2);
    assert_int_equal(mg_header_add(f->h, MG_REQUEST, LIT("Z"), LIT(" v ")), 0);
    assert_int_equal(mg_header_at(f->h, MG_REQUEST, 1, &n, &s), 0); assert_str(n, "Z"); assert_str(s, "v");
    assert_int_equal(mg_header_at(f->h, MG_REQUEST, 2, &n, &s), MG_ENOENT);
    assert_int_equal(mg_header_get(f->h, MG_REQUEST_TRAILERS, LIT("z"), &s), MG_ENOENT);
    assert_int_equal(mg_header_get(f->h, MG_RESPONSE, LIT("z"), &s), MG_ENOENT);
}

static void fields_of_the_core_and_bad_bytes_are_refused(void **state)
{
    static const char *const framing[] = { "Connection", "content-length", "Transfer-Encoding", "te", "Trailer", "Upgrade", "Keep-Alive", "proxy-connection", "expect" };
    struct fake *f = *state;

    for (size_t i = 0; i < sizeof framing / sizeof framing[0]; i++) {
        assert_int_equal(mg_header_set(f->h, MG_REQUEST, framing[i], strlen(framing[i]), "x", 1), MG_EINVAL);
        assert_int_equal(mg_header_add(f->h, MG_REQUEST, framing[i], strlen(framing[i]), "x", 1), MG_EINVAL);
        assert_int_equal(mg_header_remove(f->h, MG_REQUEST, framing[i], strlen(framing[i])), MG_EINVAL);
    }
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("a b"), LIT("x")), MG_EINVAL);
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT(""), LIT("x")), MG_EINVAL);
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("a"), LIT("x\r\ny: z")), MG_EINVAL);
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("a"), LIT("x\0y")), MG_EINVAL);
    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("Host"), LIT("a b")), MG_EINVAL);
    assert_int_equal(mg_header_remove(f->h, MG_REQUEST, LIT("Host")), MG_EINVAL);
    assert_int_equal(mg_header_set(f->h, 9, LIT("a"), LIT("b")), MG_EINVAL);
}

static void set_host(struct fake *f)
{
    struct mg_str s;

    assert_int_equal(mg_header_set(f->h, MG_REQUEST, LIT("host"), LIT("Other.example:8080")), 0);
    mg_request_host(f->h, &s); assert_str(s, "other.example");
    assert_int_equal(mg_request_port(f->h), 8080);
}
static void a_host_set_before_routing_is_what_is_routed(void **state)
{
    in_phase(*state, MG_ON_REWRITE, set_host);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void answer(struct fake *f)
{
    struct mg_str s;

    assert_int_equal(mg_response_status(f->h), 0);
    assert_int_equal(mg_header_set(f->h, MG_RESPONSE, LIT("x"), LIT("y")), MG_EPHASE);
    assert_int_equal(mg_respond(f->h, 99, "", 0), MG_EINVAL);
    assert_int_equal(mg_respond(f->h, 403, LIT("no")), 0);
    assert_int_equal(mg_header_set(f->h, MG_RESPONSE, LIT("x"), LIT("y")), 0);
    assert_int_equal(mg_header_get(f->h, MG_RESPONSE, LIT("X"), &s), 0); assert_str(s, "y");
    assert_int_equal(mg_response_status(f->h), 403);
    assert_int_equal(mg_response_source(f->h), MG_SOURCE_PLUGIN);
    assert_int_equal(mg_response_set_status(f->h, 404), 0);
    assert_int_equal(mg_response_set_status(f->h, 600), MG_EINVAL);
    assert_int_equal(mg_body_length(f->h, MG_RESPONSE), 2);
    assert_int_equal(mg_respond_error(f->h, 429, LIT("slow \"down\"")), 0);
    assert_int_equal(mg_header_get(f->h, MG_RESPONSE, LIT("content-type"), &s), 0); assert_str(s, "application/problem+json");
    assert_non_null(strstr(f->x->answer.p, "\"detail\":\"slow \\\"down\\\"\""));
    assert_non_null(strstr(f->x->answer.p, "\"status\":429"));
    assert_int_equal(mg_header_get(f->h, MG_RESPONSE, LIT("x"), &s), MG_ENOENT); /* a new answer */
}
static void answer_late(struct fake *f)
{
    assert_int_equal(mg_respond(f->h, 200, "", 0), MG_EPHASE);
    assert_int_equal(mg_respond_error(f->h, 500, "", 0), MG_EPHASE);
    assert_int_equal(mg_response_set_status(f->h, 200), MG_EPHASE);
    assert_int_equal(mg_sleep(f->h, 1), MG_EPHASE);
    assert_int_equal(mg_op_new(f->h), MG_EPHASE);
    assert_int_equal(mg_body_read(f->h, MG_REQUEST, 0, MG_OVER_SKIP), MG_EPHASE);
    assert_int_equal(mg_body_set(f->h, MG_REQUEST, "", 0), MG_EPHASE);
    assert_int_equal(mg_body_resize(f->h, MG_RESPONSE), MG_EPHASE);
}
static void an_answer_has_fields_of_its_own(void **state)
{
    in_phase(*state, MG_ON_REQUEST, answer);
    in_phase(*state, MG_ON_LOG, answer_late);
}

static void the_config_may_shape_error_answers(void **state)
{
    struct fake *f = *state;
    struct mg_str type, body;
    char why[100];

    f->snapshot.error_body = mg_template_new(LIT("{\"m\":\"${error.detail}\",\"s\":${error.status},\"id\":\"${error.id}\"}"), why, sizeof why);
    f->snapshot.error_type = MG_STR("application/json");
    f->x->id = MG_STR("i1");
    assert_int_equal(mg_problem(f->x, 404, MG_STR("a\"b"), &type, &body), 0);
    assert_str(type, "application/json");
    assert_str(body, "{\"m\":\"a\\\"b\",\"s\":404,\"id\":\"i1\"}");
    f->snapshot.error_type = MG_STR("text/html");
    mg_problem(f->x, 404, MG_STR("<b>"), &type, &body);
    assert_str(body, "{\"m\":\"&lt;b&gt;\",\"s\":404,\"id\":\"i1\"}");
    mg_template_free(f->snapshot.error_body);
}

/* ---- who and where ---------------------------------------------------------------------------------------- */

static void addresses_are_made_text_when_asked(void **state)
{
    struct fake *f = *state;
    uint8_t v4[16] = { [10] = 0xff, [11] = 0xff, 10, 0, 200, 9 }, v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, out[16];
    struct mg_str s;

    memcpy(f->x->client_addr, v4, 16);
    memcpy(f->x->peer_addr, v6, 16);
    f->x->peer_port = 4711;
    mg_client_ip(f->h, &s); assert_str(s, "10.0.200.9");
    mg_client_peer_ip(f->h, &s); assert_str(s, "2001:db8::1");
    mg_client_addr(f->h, out); assert_memory_equal(out, v4, 16);
    assert_int_equal(mg_client_port(f->h), 4711);
    assert_int_equal(mg_client_tls_version(f->h, &s), 0); assert_int_equal(s.n, 0);
    assert_int_equal(mg_client_tls_cipher(f->h, &s), 0);
    assert_int_equal(mg_client_sni(f->h, &s), 0);
    fake_end_exchange(f);
    fake_new_exchange(f);
    mg_client_ip(f->h, &s); assert_str(s, "unix:");
}

static struct mg_consumers *some_consumers(struct fake *f)
{
    static struct mg_str groups[] = { { LIT("gold") }, { LIT("eu") } };
    static struct mg_pair meta[] = { { { LIT("plan") }, { LIT("pro") } } };
    static struct mg_consumer alice = { { LIT("alice") }, groups, 2, meta, 1 }, bob = { .name = { LIT("bob") } };
    static struct mg_credential key = { .kind = { LIT("keys") }, .key = { LIT("k-1") }, .id = { LIT("laptop") }, .fields = meta, .fields_n = 1, .conf = &groups };
    struct mg_credential twin = key;
    struct mg_consumers *c = mg_consumers_new(&f->arena);
    struct mg_error err;

    assert_int_equal(mg_consumers_add(c, &alice), 0);
    assert_int_equal(mg_consumers_add(c, &alice), MG_EINVAL);
    assert_int_equal(mg_consumers_add(c, &bob), 0);
    assert_int_equal(mg_consumers_add_credential(c, MG_STR("alice"), &key, &err), 0);
    assert_int_equal(mg_consumers_add_credential(c, MG_STR("bob"), &twin, &err), MG_EINVAL);
    assert_non_null(strstr(err.message, "alice"));
    assert_null(strstr(err.message, "k-1"));
    for (int i = 0; i < 100; i++) {
        struct mg_credential *more = mg_arena_zalloc(&f->arena, sizeof *more);

        more->kind = MG_STR("keys");
        more->key = mg_arena_printf(&f->arena, "n-%d", i);
        assert_int_equal(mg_consumers_add_credential(c, MG_STR("bob"), more, &err), 0);
    }
    assert_int_equal(mg_consumers_seal(c), 0);
    return c;
}

static void consumers_are_recognised_by_their_credentials(void **state)
{
    struct fake *f = *state;
    struct mg_str s;
    int c;

    f->snapshot.consumers = some_consumers(f);
    assert_int_equal(mg_consumer_name(f->h, &s), MG_ENOENT);
    assert_int_equal(mg_credential_find(f->h, LIT("keys"), LIT("k-2")), MG_ENOENT);
    assert_int_equal(mg_credential_find(f->h, LIT("basic"), LIT("k-1")), MG_ENOENT);
    c = mg_credential_find(f->h, LIT("keys"), LIT("k-1"));
    assert_int_equal(c, 0);
    assert_int_equal(mg_credential_find(f->h, LIT("keys"), LIT("n-99")), 100);
    assert_non_null(mg_credential_conf(f->h, c));
    assert_int_equal(mg_credential_get(f->h, c, LIT("plan"), &s), 0); assert_str(s, "pro");
    assert_int_equal(mg_consumer_set_credential(f->h, c), 0);
    mg_consumer_name(f->h, &s); assert_str(s, "alice");
    mg_consumer_credential_id(f->h, &s); assert_str(s, "laptop");
    assert_int_equal(mg_consumer_group_at(f->h, 1, &s), 0); assert_str(s, "eu");
    assert_int_equal(mg_consumer_group_at(f->h, 2, &s), MG_ENOENT);
    assert_int_equal(mg_consumer_in_group(f->h, LIT("gold")), 1);
    assert_int_equal(mg_consumer_in_group(f->h, LIT("silver")), 0);
    assert_int_equal(mg_consumer_meta(f->h, LIT("plan"), &s), 0); assert_str(s, "pro");
    assert_int_equal(mg_consumer_set(f->h, LIT("bob")), 0);
    assert_int_equal(mg_consumer_credential_id(f->h, &s), MG_ENOENT);
    assert_int_equal(mg_consumer_set(f->h, LIT("eve")), MG_ENOENT);
    assert_int_equal(mg_consumer_set_credential(f->h, 4711), MG_ENOENT);
    assert_null(mg_credential_conf(f->h, -1));
}

static void route_and_upstream_are_told_and_chosen(void **state)
{
    static struct mg_upstream_spec one = { .name = { LIT("one") } }, two = { .name = { LIT("two") } };
    static struct mg_upstream_spec *all[] = { &one, &two };
    struct fake *f = *state;
    struct mg_str s;

    f->snapshot.upstreams = all;
    f->snapshot.upstreams_n = 2;
    f->x->found.path_pattern = MG_STR("/users/{id}");
    mg_route_id(f->h, &s); assert_str(s, "users");
    mg_route_path(f->h, &s); assert_str(s, "/users/{id}");
    assert_int_equal(mg_upstream_name(f->h, &s), MG_ENOENT);
    assert_int_equal(mg_upstream_set(f->h, LIT("two")), 0);
    assert_int_equal(mg_upstream_set(f->h, LIT("three")), MG_ENOENT);
    mg_upstream_name(f->h, &s); assert_str(s, "two");
    mg_upstream_target(f->h, &s); assert_int_equal(s.n, 0);
}

static void ctx_holds_values_of_four_kinds(void **state)
{
    struct fake *f = *state;
    struct mg_datum d;
    struct mg_str s;
    char name[8];

    assert_int_equal(mg_ctx_get(f->h, LIT("a"), &d), 0);
    assert_int_equal(d.kind, MG_NIL);
    mg_ctx_set_text(f->h, LIT("a"), LIT("x"));
    mg_ctx_set_number(f->h, LIT("b"), 1.5);
    mg_ctx_set_boolean(f->h, LIT("c"), 7);
    mg_ctx_get(f->h, LIT("a"), &d); assert_int_equal(d.kind, MG_TEXT); assert_str(d.text, "x");
    mg_ctx_get(f->h, LIT("b"), &d); assert_true(d.kind == MG_DOUBLE && d.number > 1.4 && d.number < 1.6);
    mg_ctx_get(f->h, LIT("c"), &d); assert_true(d.kind == MG_BOOLEAN && d.number > 0.9 && d.number < 1.1);
    mg_ctx_set_nil(f->h, LIT("b"));
    assert_int_equal(mg_ctx_at(f->h, 1, &s), 0); assert_str(s, "c");
    assert_int_equal(mg_ctx_at(f->h, 2, &s), MG_ENOENT);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mg_ctx_set_number(f->h, name, (size_t)snprintf(name, sizeof name, "n%d", i), i), 0);
    mg_ctx_get(f->h, LIT("n99"), &d); assert_true(d.number > 98.5);
}

static void an_entry_has_memory_of_its_own(void **state)
{
    struct fake *f = *state;
    int *p = mg_x_local(f->h, sizeof *p);

    assert_int_equal(*p, 0);
    *p = 5;
    assert_ptr_equal(mg_x_local(f->h, sizeof *p), p);
    f->x->entry = 7; /* the chain grew when the route was known */
    assert_ptr_not_equal(mg_x_local(f->h, sizeof *p), p);
    f->x->entry = 0;
    assert_int_equal(*(int *)mg_x_local(f->h, sizeof *p), 5);
    assert_non_null(mg_x_alloc(f->h, 100));
    assert_null(mg_x_alloc(f->h, 4 << 20));
    assert_null(mg_x_alloc(NULL, 1));
}

static void times_and_sizes_are_told(void **state)
{
    struct fake *f = *state;

    f->x->started_us = 1000;
    f->x->upstream_us = 1100;
    f->x->connected_us = 1150;
    f->x->sent_us = 1200;
    f->x->first_byte_us = 1500;
    f->x->upstream_end_us = 1600;
    f->x->ended_us = 1700;
    f->x->body_in = 12;
    f->x->tries = 2;
    assert_int_equal(mg_x_span_us(f->h, MG_SPAN_TOTAL), 700);
    assert_int_equal(mg_x_span_us(f->h, MG_SPAN_UPSTREAM), 500);
    assert_int_equal(mg_x_span_us(f->h, MG_SPAN_CONNECT), 50);
    assert_int_equal(mg_x_span_us(f->h, MG_SPAN_FIRST_BYTE), 300);
    assert_int_equal(mg_x_span_us(f->h, MG_SPAN_GATEWAY), 200);
    assert_int_equal(mg_x_span_us(f->h, 99), MG_EINVAL);
    assert_int_equal(mg_x_count(f->h, MG_BYTES_BODY_IN), 12);
    assert_int_equal(mg_x_count(f->h, MG_UPSTREAM_TRIES), 2);
    assert_true(mg_x_start_us(f->h) > 0);
    assert_int_equal(mg_x_phase(f->h), f->x->phase);
}

/* ---- templates --------------------------------------------------------------------------------------------- */

static struct mg_str rendered(struct fake *f, const char *text, int absent)
{
    char why[160] = "";
    struct mg_template *t = mg_template_new(text, strlen(text), why, sizeof why);
    struct mg_str out;

    if (!t)
        fail_msg("%s: %s", text, why);
    assert_int_equal(mg_template_render(f->h, t, &out), absent);
    mg_template_free(t);
    return out;
}

static void templates_fill_in_variables(void **state)
{
    struct fake *f = *state;

    fake_field(f, f->x->req, "User-Agent", "curl");
    mg_ctx_set_text(f->h, LIT("t"), LIT("acme"));
    mg_ctx_set_number(f->h, LIT("n"), 42);
    assert_str(rendered(f, "", 0), "");
    assert_str(rendered(f, "plain", 0), "plain");
    assert_str(rendered(f, "$$5 $ $x", 0), "$5 $ $x");
    assert_str(rendered(f, "${request.method}", 0), "GET");
    assert_str(rendered(f, "<${request.method} ${request.uri}> ${request.version}", 0), "<GET /users/7?a=1&b=x%20y&a=2> HTTP/1.1");
    assert_str(rendered(f, "${request.headers.user-agent}/${request.query.b}/${ctx.t}${ctx.n}", 0), "curl/x y/acme42");
    assert_str(rendered(f, "[${consumer.name}]", 1), "[]");
    assert_str(rendered(f, "[${consumer.name|nobody}]", 0), "[nobody]");
    assert_str(rendered(f, "$${request.method}", 0), "${request.method}");
    assert_str(rendered(f, "${route.id}:${request.port}:${request.scheme}:${request.host}:${request.path}", 0), "users:80:http:api.example.com:/users/7");
}

static void every_variable_can_be_asked(void **state)
{
    static const char *const names[] = { "request.id", "request.time", "request.time_unix", "request.length", "request.params.x", "request.cookies.x", "response.status",
        "response.headers.x", "response.length", "response.source", "response.failure", "client.ip", "client.peer_ip", "client.port", "client.tls.version",
        "client.tls.cipher", "client.tls.sni", "route.path", "upstream.name", "upstream.target", "upstream.tries", "consumer.credential", "consumer.groups",
        "consumer.metadata.x", "span.total", "span.upstream", "span.connect", "span.first_byte", "span.gateway", "bytes.in", "bytes.out", "bytes.body_in",
        "bytes.body_out", "now", "now_unix", "uuid", "error.status" };
    struct fake *f = *state;
    struct mg_str s;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int rc = mg_var(f->h, names[i], strlen(names[i]), &s);

        if (rc && rc != MG_ENOENT)
            fail_msg("%s: %d", names[i], rc);
    }
    assert_int_equal(mg_var(f->h, LIT("request.nothing"), &s), MG_EINVAL);
    assert_int_equal(mg_var(f->h, LIT("request.headers."), &s), MG_EINVAL);
}

static void malformed_templates_say_why(void **state)
{
    char why[160];

    (void)state;
    assert_null(mg_template_new(LIT("a${request.method"), why, sizeof why));
    assert_string_equal(why, "byte 2: \"${\" has no \"}\"");
    assert_null(mg_template_new(LIT("${request.metod}"), why, sizeof why));
    assert_non_null(strstr(why, "did you mean \"request.method\"?"));
    assert_null(mg_template_new(LIT("${}"), why, sizeof why));
}

static void every_call_on_a_stale_handle_says_so(void **state)
{
    struct fake *f = *state;
    struct mg_x *h = f->h;
    struct mg_str s, t;
    struct mg_datum d;
    uint8_t a[16];

    fake_end_exchange(f);
    assert_int_equal(mg_request_method(h, &s), MG_EENDED);
    assert_int_equal(mg_request_set_path(h, LIT("/")), MG_EENDED);
    assert_int_equal(mg_query_get(h, LIT("a"), &s), MG_EENDED);
    assert_int_equal(mg_query_at(h, 0, &s, &t), MG_EENDED);
    assert_int_equal(mg_header_get(h, 0, LIT("a"), &s), MG_EENDED);
    assert_int_equal(mg_header_at(h, 0, 0, &s, &t), MG_EENDED);
    assert_int_equal(mg_header_set(h, 0, LIT("a"), LIT("b")), MG_EENDED);
    assert_int_equal(mg_header_remove(h, 0, LIT("a")), MG_EENDED);
    assert_int_equal(mg_respond(h, 200, "", 0), MG_EENDED);
    assert_int_equal(mg_body_read(h, 0, 0, 0), MG_EENDED);
    assert_int_equal(mg_body_get(h, 0, &s), MG_EENDED);
    assert_int_equal(mg_body_length(h, 0), MG_EENDED);
    assert_int_equal(mg_piece_get(h, &s), MG_EENDED);
    assert_int_equal(mg_piece_last(h), MG_EENDED);
    assert_int_equal(mg_client_ip(h, &s), MG_EENDED);
    assert_int_equal(mg_client_addr(h, a), MG_EENDED);
    assert_int_equal(mg_ctx_get(h, LIT("a"), &d), MG_EENDED);
    assert_int_equal(mg_ctx_set_text(h, LIT("a"), LIT("b")), MG_EENDED);
    assert_int_equal(mg_var(h, LIT("now"), &s), MG_EENDED);
    assert_int_equal(mg_sleep(h, 1), MG_EENDED);
    assert_int_equal(mg_resume(h, 1, 0), MG_EENDED);
    assert_int_equal(mg_op_cancel(h, 1), MG_EENDED);
    assert_int_equal(mg_x_phase(h), MG_EENDED);
    assert_int_equal(mg_x_span_us(h, 0), MG_EENDED);
    assert_int_equal(mg_consumer_in_group(h, LIT("a")), MG_EENDED);
    assert_int_equal(mg_credential_find(h, LIT("a"), LIT("b")), MG_EENDED);
    assert_null(mg_x_local(h, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
        T(the_request_line_can_be_read), T(the_request_line_can_be_set_before_it_is_sent), T(arguments_are_decoded_and_edited_in_place),
        T(params_and_cookies_are_found_by_name), T(fields_are_found_whatever_their_case), T(fields_of_the_core_and_bad_bytes_are_refused),
        T(a_host_set_before_routing_is_what_is_routed), T(an_answer_has_fields_of_its_own), T(the_config_may_shape_error_answers),
        T(addresses_are_made_text_when_asked), T(consumers_are_recognised_by_their_credentials), T(route_and_upstream_are_told_and_chosen),
        T(ctx_holds_values_of_four_kinds), T(an_entry_has_memory_of_its_own), T(times_and_sizes_are_told), T(templates_fill_in_variables),
        T(every_variable_can_be_asked), T(malformed_templates_say_why), T(every_call_on_a_stale_handle_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
