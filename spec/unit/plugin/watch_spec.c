/* Entries that only observe: whatever they do, others find the exchange as if they were not there. */
#include "pdk/fake.h"
#include "plugin/trace.h"
#include "plugin/watch.h"

static char lines[4096];

static void keep_line(int level, struct mg_str text, void *arg)
{
    size_t at = strlen(lines);

    (void)level;
    (void)arg;
    snprintf(lines + at, sizeof lines - at, "%.*s\n", (int)text.n, text.p);
}

static int setup(void **state)
{
    lines[0] = 0;
    mg_log_capture(keep_line, NULL);
    return fake_setup(state);
}

/* What an entry does, by phase, is its self. */
struct act { enum mg_verdict (*on)(struct mg_x *x, int phase, struct act *a, bool woken); int calls[MG_PHASES]; char seen[64]; };

static enum mg_verdict run(struct mg_x *x, struct act *a, int phase)
{
    a->calls[phase]++;
    return a->on ? a->on(x, phase, a, false) : MG_CONTINUE;
}
static enum mg_verdict request(struct mg_x *x, void *self, void *l) { (void)l; return run(x, self, MG_ON_REQUEST); }
static enum mg_verdict request_body(struct mg_x *x, void *self, void *l) { (void)l; return run(x, self, MG_ON_REQUEST_BODY); }
static enum mg_verdict response(struct mg_x *x, void *self, void *l) { (void)l; return run(x, self, MG_ON_RESPONSE); }
static enum mg_verdict response_body(struct mg_x *x, void *self, void *l) { (void)l; return run(x, self, MG_ON_RESPONSE_BODY); }
static enum mg_verdict logged(struct mg_x *x, void *self, void *l) { (void)l; return run(x, self, MG_ON_LOG); }
static enum mg_verdict wake(struct mg_x *x, void *self, void *l, int op, int status)
{
    struct act *a = self;

    (void)l;
    (void)op;
    (void)status;
    return a->on(x, mg_x_phase(x), a, true);
}
static const struct mg_plugin plugin = { .abi = MG_PLUGIN_ABI, .size = sizeof plugin, .name = "fake", .on_request = request,
    .on_request_body = request_body, .on_response = response, .on_response_body = response_body, .on_log = logged, .on_wake = wake };

static struct mg_chain_entry *observe(struct fake *f, struct act *a)
{
    struct mg_chain_entry *e = fake_entry(f, &plugin, a);

    e->observe = true;
    return e;
}

static void has_field(struct fake *f, const char *name, const char *value)
{
    const struct mg_header *h = mg_headers_find(&f->x->req->headers, mg_str_c(name));

    if (!value) {
        assert_null(h);
        return;
    }
    assert_non_null(h);
    assert_int_equal(h->value_n, strlen(value));
    assert_memory_equal(h->value, value, h->value_n);
}

static void untouched(struct fake *f)
{
    has_field(f, "x-old", "1");
    has_field(f, "x-new", NULL);
    assert_str(f->x->path, "/users/7");
    assert_str(f->x->query, "a=1&b=x%20y&a=2");
    assert_str(f->x->req->method_text, "GET");
    assert_int_equal(f->x->req->method, MG_M_GET);
    assert_false(f->x->body[MG_REQUEST].replaced);
    assert_false(f->x->body[MG_REQUEST].resized);
    assert_null(f->x->answer_head);
    assert_int_equal(f->x->ctx_n, 0);
    assert_null(f->x->undo);
}

static void change_all(struct mg_x *x)
{
    assert_int_equal(mg_header_set(x, MG_REQUEST, LIT("x-old"), LIT("2")), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(mg_header_add(x, MG_REQUEST, LIT("x-new"), LIT("1")), 0);
    assert_int_equal(mg_request_set_path(x, LIT("/elsewhere")), 0);
    assert_int_equal(mg_request_set_query(x, LIT("q=1")), 0);
    assert_int_equal(mg_request_set_method(x, LIT("PUT")), 0);
    assert_int_equal(mg_body_set(x, MG_REQUEST, LIT("changed")), 0);
    assert_int_equal(mg_body_resize(x, MG_REQUEST), 0);
    assert_int_equal(mg_ctx_set_text(x, LIT("mine"), LIT("kept")), 0);
}

static enum mg_verdict change(struct mg_x *x, int phase, struct act *a, bool woken)
{
    struct mg_datum d;

    (void)woken;
    if (phase == MG_ON_REQUEST) {
        change_all(x);
    } else {
        mg_ctx_get(x, LIT("mine"), &d);
        snprintf(a->seen, sizeof a->seen, "%.*s", (int)d.text.n, d.text.p);
    }
    return MG_CONTINUE;
}

static void what_it_changes_is_told_and_put_back(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change };

    observe(f, &a);
    fake_field(f, f->x->req, "x-old", "1");
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    untouched(f);
    assert_non_null(strstr(lines, "it would have set method PUT, set the path, set the query, set request header x-old, set request header x-new, "
                                  "set the request body (7 bytes)"));
}

static void its_ctx_is_its_own_in_later_phases(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change };

    observe(f, &a);
    fake_field(f, f->x->req, "x-old", "1");
    fake_phase(f, MG_ON_REQUEST);
    assert_int_equal(f->x->ctx_n, 0);
    fake_phase(f, MG_ON_LOG);
    assert_string_equal(a.seen, "kept");
    assert_int_equal(f->x->ctx_n, 0);
}

static enum mg_verdict answer(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    (void)woken;
    if (phase == MG_ON_REQUEST)
        assert_int_equal(mg_respond(x, 403, LIT("no")), 0);
    return phase == MG_ON_REQUEST ? MG_RESPOND : MG_CONTINUE;
}

static void one_that_would_have_answered_is_over_but_for_its_log(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = answer }, b = { 0 };

    observe(f, &a);
    fake_entry(f, &plugin, &b);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_null(f->x->answer_head);
    assert_int_equal(fake_phase(f, MG_ON_RESPONSE), MG_CONTINUE);
    assert_int_equal(fake_phase(f, MG_ON_LOG), MG_CONTINUE);
    assert_int_equal(a.calls[MG_ON_RESPONSE], 0);
    assert_int_equal(a.calls[MG_ON_LOG], 1);
    assert_int_equal(b.calls[MG_ON_REQUEST], 1);
    assert_int_equal(b.calls[MG_ON_RESPONSE], 1);
    assert_non_null(strstr(lines, "it would have answered 403 (2 bytes)"));
}

static enum mg_verdict break_down(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    (void)woken;
    if (phase == MG_ON_REQUEST)
        change_all(x);
    return MG_ERROR;
}

static void its_errors_leave_the_request_alone(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = break_down };

    observe(f, &a);
    fake_field(f, f->x->req, "x-old", "1");
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    untouched(f);
    assert_int_equal(fake_phase(f, MG_ON_RESPONSE), MG_CONTINUE);
    assert_int_equal(a.calls[MG_ON_RESPONSE], 0);
    assert_non_null(strstr(lines, "it would have failed the request with 500"));
}

static enum mg_verdict change_wait_change(struct mg_x *x, int phase, struct act *a, bool woken)
{
    struct mg_str v;

    (void)phase;
    if (!woken) {
        change_all(x);
        assert_true(mg_sleep(x, 0) > 0);
        return MG_WAIT;
    }
    assert_int_equal(mg_header_get(x, MG_REQUEST, LIT("x-old"), &v), 0);
    snprintf(a->seen, sizeof a->seen, "%.*s", (int)v.n, v.p);
    mg_request_path(x, &v);
    assert_str(v, "/elsewhere");
    return MG_CONTINUE;
}

static void while_it_waits_its_changes_are_hidden_and_it_finds_them_again(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change_wait_change };

    observe(f, &a);
    fake_field(f, f->x->req, "x-old", "1");
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    has_field(f, "x-old", "1");
    has_field(f, "x-new", NULL);
    assert_str(f->x->path, "/users/7");
    assert_int_equal(f->x->ctx_n, 0);
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_CONTINUE);
    assert_string_equal(a.seen, "2");
    untouched(f);
    assert_non_null(strstr(lines, "set the path"));
}

static enum mg_verdict change_piece(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    if (phase != MG_ON_REQUEST_BODY)
        return MG_CONTINUE;
    assert_int_equal(mg_piece_set(x, LIT("a longer piece")), 0);
    if (!woken && mg_piece_last(x)) {
        assert_true(mg_sleep(x, 0) > 0);
        return MG_WAIT;
    }
    return MG_CONTINUE;
}

static enum mg_verdict piece(struct fake *f, const char *bytes, bool last)
{
    struct mg_body *b = &f->x->body[MG_REQUEST];

    b->piece = mg_str_c(bytes);
    b->last = last;
    b->step = 0;
    return mg_chain_run_body(f->x, MG_REQUEST);
}

static void pieces_pass_as_they_came_also_when_it_waits(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change_piece };
    char lent[] = "last";

    observe(f, &a);
    fake_phase(f, MG_ON_REQUEST);
    assert_int_equal(piece(f, "one", false), MG_CONTINUE);
    assert_str(f->x->body[MG_REQUEST].piece, "one");
    assert_int_equal(piece(f, lent, true), MG_WAIT);
    memset(lent, 'x', sizeof lent - 1); /* the sender's bytes were only lent */
    while (mg_list_empty(&f->x->ops) == false && f->x->body[MG_REQUEST].waiting) {
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
        mg_chain_run_body(f->x, MG_REQUEST);
    }
    assert_str(f->x->body[MG_REQUEST].piece, "last");
    assert_non_null(strstr(lines, "it would have changed the request body"));
    assert_null(strstr(strstr(lines, "changed the request body") + 10, "changed the request body"));
}

static enum mg_verdict wait_for_ever(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    (void)woken;
    (void)phase;
    assert_int_equal(mg_header_set(x, MG_REQUEST, LIT("x-old"), LIT("2")), 0);
    assert_true(mg_op_new(x) > 0);
    return MG_WAIT;
}

static void late_by(struct fake *f, struct mg_chain_entry *e)
{
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    f->x->is_late = true;
    assert_int_equal(mg_chain_wake(f->x), MG_CONTINUE);
    f->x->is_late = false;
    assert_true(mg_list_empty(&f->x->ops));
    has_field(f, "x-old", "1");
    (void)e;
}

static void one_that_waits_too_long_is_passed_over(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = wait_for_ever };

    late_by(f, (fake_field(f, f->x->req, "x-old", "1"), observe(f, &a)));
    assert_non_null(strstr(lines, "it would have failed the request with 504"));
}

static void on_error_continue_passes_over_one_that_waits_too_long(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = wait_for_ever };
    struct mg_chain_entry *e = fake_entry(f, &plugin, &a);

    e->continue_on_error = true;
    fake_field(f, f->x->req, "x-old", "1");
    late_by(f, e);
}

static enum mg_verdict change_response(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    (void)woken;
    if (phase == MG_ON_RESPONSE) {
        assert_int_equal(mg_response_set_status(x, 503), 0);
        assert_int_equal(mg_header_set(x, MG_RESPONSE, LIT("set-cookie"), LIT("s=1")), 0);
        assert_int_equal(mg_respond(x, 418, LIT("not meant")), 0);
    }
    return MG_CONTINUE;
}

static struct mg_head *respond(struct fake *f, int status)
{
    f->x->res = mg_arena_zalloc(&f->x->arena, sizeof *f->x->res);
    f->x->res->status = status;
    f->x->source = MG_SOURCE_PLUGIN;
    f->x->answer = MG_STR("the answer");
    return f->x->res;
}

static void the_response_stays_as_it_was(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change_response };
    struct mg_head *res;

    observe(f, &a);
    fake_phase(f, MG_ON_REQUEST);
    res = respond(f, 200);
    assert_int_equal(fake_phase(f, MG_ON_RESPONSE), MG_CONTINUE);
    assert_ptr_equal(f->x->res, res);
    assert_int_equal(res->status, 200);
    assert_int_equal(res->headers.n, 0);
    assert_str(f->x->answer, "the answer");
}

static void one_whose_changes_cannot_be_kept_does_not_run(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change }, b = { 0 };

    observe(f, &a);
    fake_entry(f, &plugin, &b);
    fake_field(f, f->x->req, "x-old", "1");
    while (mg_arena_alloc(&f->x->arena, 16)) /* to the last byte of its budget */
        ;
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_int_equal(a.calls[MG_ON_REQUEST], 0);
    assert_int_equal(b.calls[MG_ON_REQUEST], 1);
    untouched(f);
    assert_non_null(strstr(lines, "it was skipped"));
}

/* ---- traces ---- */

static char *traced(struct fake *f, int form)
{
    struct mg_trace *t = mg_trace_end(f->x);
    struct mg_str text;

    assert_non_null(t);
    assert_null(f->x->trace);
    assert_int_equal(mg_trace_write(t, form, 8192, &text), 0);
    mg_trace_unref(t);
    return (char *)(uintptr_t)text.p;
}

static enum mg_verdict secrets(struct mg_x *x, int phase, struct act *a, bool woken)
{
    (void)a;
    (void)woken;
    if (phase != MG_ON_REQUEST)
        return MG_CONTINUE;
    mg_header_set(x, MG_REQUEST, LIT("Authorization"), LIT("Bearer s3cret"));
    mg_header_set(x, MG_REQUEST, LIT("x-internal"), LIT("s3cret"));
    mg_request_set_query(x, LIT("a=1&token=s3cret&b="));
    mg_header_set(x, MG_REQUEST, LIT("x-plain"), LIT("caf\xc3\xa9 \"q\""));
    return MG_CONTINUE;
}

static void a_trace_shows_changes_and_masks_secrets(void **state)
{
    static const struct mg_str masked[] = { { "x-internal", 10 } };
    struct fake *f = *state;
    struct act a = { .on = secrets };
    char *text;

    fake_entry(f, &plugin, &a);
    assert_non_null(mg_trace_begin(f->x, masked, 1));
    fake_phase(f, MG_ON_REQUEST);
    text = traced(f, MG_TRACE_JSON);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "{\"what\":\"request.query\",\"was\":\"a=1&b=x%20y&a=2\",\"is\":\"a=1&token=***&b=\"}"));
    assert_non_null(strstr(text, "\"name\":\"x-plain\",\"was\":null,\"is\":\"caf\\u00e9 \\\"q\\\"\""));
    assert_non_null(strstr(text, "\"phase\":\"on_request\",\"verdict\":\"continue\""));
    free(text);
}

static void a_trace_tells_skipped_waiting_and_failed_steps(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change_wait_change }, b = { .on = break_down };
    struct mg_chain_entry *e;
    char *text;

    fake_entry(f, &plugin, &a);
    e = fake_entry(f, &plugin, &b);
    e->continue_on_error = true;
    fake_field(f, f->x->req, "x-old", "1");
    mg_trace_begin(f->x, NULL, 0);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    fake_turn(f, 1);
    text = traced(f, MG_TRACE_TEXT);
    assert_non_null(strstr(text, "continue"));
    assert_non_null(strstr(text, "waited"));
    assert_non_null(strstr(text, "path: /users/7 -> /elsewhere"));
    assert_non_null(strstr(text, "error: the plugin failed"));
    free(text);
}

static void a_short_trace_keeps_to_its_limit(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = change };
    struct mg_trace *t;
    struct mg_str text;

    for (int i = 0; i < 8; i++)
        fake_entry(f, &plugin, &a);
    fake_field(f, f->x->req, "x-old", "1");
    mg_trace_begin(f->x, NULL, 0);
    fake_phase(f, MG_ON_REQUEST);
    t = mg_trace_end(f->x);
    for (size_t limit = 256; limit < 4096; limit += 128) {
        assert_int_equal(mg_trace_write(t, MG_TRACE_SHORT, limit, &text), 0);
        assert_true(text.n <= limit);
        assert_int_equal(text.p[text.n - 1], '}');
        free((char *)(uintptr_t)text.p);
    }
    mg_trace_unref(t);
}

static enum mg_verdict grow(struct mg_x *x, int phase, struct act *a, bool woken)
{
    static char big[900];
    char name[32];

    (void)phase;
    (void)a;
    (void)woken;
    memset(big, 'v', sizeof big);
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "x-%d", i);
        mg_header_set(x, MG_REQUEST, name, strlen(name), big, sizeof big);
    }
    return MG_CONTINUE;
}

static void a_trace_is_bounded_and_says_that_it_was_cut(void **state)
{
    struct fake *f = *state;
    struct act a = { .on = grow };
    char *text;

    fake_entry(f, &plugin, &a);
    mg_trace_begin(f->x, NULL, 0);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_true(f->x->trace->arena.used <= MG_TRACE_BYTES);
    text = traced(f, MG_TRACE_JSON);
    assert_non_null(strstr(text, "\"cut\":true"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_changes_is_told_and_put_back, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(its_ctx_is_its_own_in_later_phases, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(one_that_would_have_answered_is_over_but_for_its_log, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(its_errors_leave_the_request_alone, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(while_it_waits_its_changes_are_hidden_and_it_finds_them_again, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(pieces_pass_as_they_came_also_when_it_waits, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(one_that_waits_too_long_is_passed_over, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(on_error_continue_passes_over_one_that_waits_too_long, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(the_response_stays_as_it_was, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(one_whose_changes_cannot_be_kept_does_not_run, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_trace_shows_changes_and_masks_secrets, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_trace_tells_skipped_waiting_and_failed_steps, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_short_trace_keeps_to_its_limit, setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_trace_is_bounded_and_says_that_it_was_cut, setup, fake_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
