#include "pdk/fake.h"

/* Entries that see pieces; what each saw stands in `trace`. */
static char trace[512];
struct act {
    const char *name;
    bool reads, sets, upper, waits, fails, skips;
    int64_t limit;
    int status;                /* of the gathering */
    const char *put;
    char got[128];
};

static enum mg_verdict ask(struct mg_x *x, struct act *a, int side)
{
    struct mg_str s;
    int rc;

    if (a->put)
        assert_int_equal(mg_body_set(x, side, a->put, strlen(a->put)), 0);
    if (!a->reads)
        return MG_CONTINUE;
    a->status = -1;
    rc = mg_body_read(x, side, a->limit, a->skips ? MG_OVER_SKIP : MG_OVER_REFUSE);
    if (rc == 0)
        return MG_WAIT;
    assert_int_equal(rc, 1);
    a->status = 1;
    mg_body_get(x, side, &s);
    snprintf(a->got, sizeof a->got, "%.*s", (int)s.n, s.p ? s.p : "");
    return MG_CONTINUE;
}
static enum mg_verdict request(struct mg_x *x, void *self, void *local) { (void)local; return ask(x, self, MG_REQUEST); }
static enum mg_verdict response(struct mg_x *x, void *self, void *local) { (void)local; return ask(x, self, MG_RESPONSE); }

static enum mg_verdict piece(struct mg_x *x, void *self, void *local)
{
    struct act *a = self;
    char text[128];
    struct mg_str s;

    (void)local;
    assert_int_equal(mg_piece_get(x, &s), 0);
    snprintf(text, sizeof text, "%s(%.*s%s)", a->name, (int)s.n, s.p ? s.p : "", mg_piece_last(x) ? "!" : "");
    strcat(trace, text);
    if (a->upper) {
        int n = snprintf(text, sizeof text, "%.*s%s", (int)s.n, s.p ? s.p : "", a->name);

        assert_int_equal(mg_piece_set(x, text, (size_t)n), 0);
    }
    if (a->fails)
        return MG_ERROR;
    if (a->waits) {
        assert_true(mg_sleep(x, 0) > 0);
        return MG_WAIT;
    }
    return MG_CONTINUE;
}
static enum mg_verdict wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct act *a = self;
    struct mg_str s;

    (void)local;
    (void)op;
    if (!a->reads)
        return MG_CONTINUE;
    a->status = status;
    if (mg_body_get(x, mg_x_phase(x) == MG_ON_REQUEST ? MG_REQUEST : MG_RESPONSE, &s) == 0)
        snprintf(a->got, sizeof a->got, "%.*s", (int)s.n, s.p ? s.p : "");
    return MG_CONTINUE;
}
static const struct mg_plugin streams = { .abi = MG_PLUGIN_ABI, .size = sizeof streams, .name = "streams", .on_request = request, .on_response = response,
                                          .on_request_body = piece, .on_response_body = piece, .on_wake = wake };

static int setup(void **state)
{
    struct fake *f;

    trace[0] = 0;
    mg_log_capture(fake_quiet, NULL);
    fake_setup(state);
    f = *state;
    f->x->req->framing = MG_BODY_STREAM;
    return 0;
}

static enum mg_verdict give(struct fake *f, int side, const char *text, bool last)
{
    struct mg_body *b = &f->x->body[side];

    b->piece = mg_str(text, strlen(text));
    b->last = last;
    b->step = 0;
    return mg_chain_run_body(f->x, side);
}

static void pieces_pass_up_for_requests_and_down_for_responses(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .upper = true }, b = { .name = "b", .upper = true };
    struct mg_body *q = &f->x->body[MG_REQUEST], *s = &f->x->body[MG_RESPONSE];

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b);
    f->x->began = 3;
    assert_int_equal(give(f, MG_REQUEST, "1", false), MG_CONTINUE);
    assert_str(q->piece, "1ab");
    assert_false(q->held);
    assert_int_equal(give(f, MG_RESPONSE, "2", true), MG_CONTINUE);
    assert_str(s->piece, "2ba");
    assert_string_equal(trace, "a(1)b(1a)b(2!)a(2b!)");
}

static void a_step_may_wait_with_the_piece(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .waits = true, .upper = true }, b = { .name = "b" };
    char lent[] = "xyz";

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b);
    assert_int_equal(give(f, MG_REQUEST, lent, true), MG_WAIT);
    assert_true(f->x->body[MG_REQUEST].waiting);
    memset(lent, '?', 3); /* the sender's bytes were only lent */
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_WAIT);
    assert_int_equal(mg_chain_run_body(f->x, MG_REQUEST), MG_CONTINUE);
    assert_str(f->x->body[MG_REQUEST].piece, "xyza");
    assert_string_equal(trace, "a(xyz!)b(xyza!)");
}

static void a_failing_step_that_may_fail_gives_back_the_piece(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .upper = true }, b = { .name = "b", .upper = true, .fails = true };

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b)->continue_on_error = true;
    assert_int_equal(give(f, MG_REQUEST, "1", true), MG_CONTINUE);
    assert_str(f->x->body[MG_REQUEST].piece, "1a");
}

static void a_body_is_gathered_at_the_entry_that_asks(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .upper = true }, b = { .name = "b", .reads = true }, c = { .name = "c" };
    struct mg_body *q = &f->x->body[MG_REQUEST];

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b);
    fake_entry(f, &streams, &c);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    assert_int_equal(q->gather, MG_GATHER_ASKED);
    assert_int_equal(give(f, MG_REQUEST, "1", false), MG_CONTINUE);
    assert_true(q->held);
    assert_int_equal(give(f, MG_REQUEST, "2", true), MG_CONTINUE);
    assert_true(q->held);
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_CONTINUE);
    assert_int_equal(b.status, 0);
    assert_string_equal(b.got, "1a2a");
    assert_true(mg_chain_has_whole(q));
    assert_int_equal(mg_chain_run_whole(f->x, MG_REQUEST), MG_CONTINUE);
    assert_str(q->piece, "1a2a");
    assert_true(q->last);
    assert_false(mg_chain_has_whole(q));
    assert_string_equal(trace, "a(1)a(2!)b(1a2a!)c(1a2a!)");
}

static void a_second_reader_sees_what_the_steps_between_made_of_it(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true, .upper = true }, b = { .name = "b", .reads = true };
    struct mg_body *q = &f->x->body[MG_REQUEST];

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b);
    fake_phase(f, MG_ON_REQUEST);
    give(f, MG_REQUEST, "12", true);
    fake_turn(f, 1); /* a has it, b asks, a's step runs over it */
    assert_int_equal(f->woken, MG_WAIT);
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_CONTINUE);
    assert_string_equal(a.got, "12");
    assert_string_equal(b.got, "12a");
    assert_int_equal(mg_chain_run_whole(f->x, MG_REQUEST), MG_CONTINUE);
    assert_str(q->piece, "12a");
    assert_string_equal(trace, "a(12!)b(12a!)");
}

static void a_body_over_the_limit_is_refused(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true, .limit = 3 };

    fake_entry(f, &streams, &a);
    fake_phase(f, MG_ON_REQUEST);
    assert_int_equal(give(f, MG_REQUEST, "123", false), MG_CONTINUE);
    assert_int_equal(give(f, MG_REQUEST, "4", false), MG_ERROR);
    assert_int_equal(f->x->body[MG_REQUEST].gather, MG_GATHER_REFUSED);
}

static void an_announced_length_over_the_limit_is_refused_unread(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true, .limit = 3 };

    f->x->req->framing = MG_BODY_LENGTH;
    f->x->req->length = 4;
    fake_entry(f, &streams, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_ERROR);
    assert_int_equal(f->x->body[MG_REQUEST].gather, MG_GATHER_REFUSED);
}

static void a_body_over_the_limit_passes_by_where_the_plugin_skips(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true, .limit = 3, .skips = true };
    struct mg_body *q = &f->x->body[MG_REQUEST];

    fake_entry(f, &streams, &a);
    fake_phase(f, MG_ON_REQUEST);
    give(f, MG_REQUEST, "12", false);
    assert_int_equal(give(f, MG_REQUEST, "34", false), MG_CONTINUE);
    assert_int_equal(give(f, MG_REQUEST, "5", false), MG_CONTINUE); /* was already on its way */
    fake_turn(f, 1);
    assert_int_equal(a.status, MG_ETOOBIG);
    assert_int_equal(mg_chain_run_whole(f->x, MG_REQUEST), MG_CONTINUE);
    assert_str(q->piece, "12345");
    assert_false(q->last);
    assert_int_equal(give(f, MG_REQUEST, "6", true), MG_CONTINUE);
    assert_false(q->held);
    assert_str(q->piece, "6");
    assert_string_equal(trace, "a(12345)a(6!)");
}

static void a_replaced_body_goes_out_and_the_old_one_is_dropped(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a" }, b = { .name = "b", .put = "new" }, c = { .name = "c", .reads = true };
    struct mg_body *q = &f->x->body[MG_REQUEST];

    fake_entry(f, &streams, &a);
    fake_entry(f, &streams, &b);
    fake_entry(f, &streams, &c);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT); /* b's own step stands between */
    fake_turn(f, 1);
    assert_string_equal(c.got, "new");
    assert_int_equal(mg_body_length(f->h, MG_REQUEST), 3);
    assert_int_equal(mg_chain_run_whole(f->x, MG_REQUEST), MG_CONTINUE);
    assert_str(q->piece, "new");
    assert_true(q->last);
    assert_int_equal(give(f, MG_REQUEST, "old", true), MG_CONTINUE);
    assert_true(q->held);
    assert_string_equal(trace, "b(new!)c(new!)a(old!)");
}

static void an_empty_body_is_there_at_once(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true };

    f->x->req->framing = MG_BODY_NONE;
    fake_entry(f, &streams, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_int_equal(a.status, 1);
    assert_string_equal(a.got, "");
    assert_int_equal(mg_body_length(f->h, MG_REQUEST), 0);
}

static void a_plugins_answer_can_be_read_as_a_body(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .reads = true };
    struct mg_head head = { .status = 200, .framing = MG_BODY_LENGTH, .length = 5 };

    fake_entry(f, &streams, &a);
    f->x->res = &head;
    f->x->source = MG_SOURCE_PLUGIN;
    f->x->answer = MG_STR("hello");
    f->x->began = 1;
    assert_int_equal(fake_phase(f, MG_ON_RESPONSE), MG_CONTINUE);
    assert_string_equal(a.got, "hello");
    f->x->res = NULL;
}

static void large_pieces_do_not_count_against_the_exchange(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "a", .upper = false };
    static char big[200000];
    size_t used;

    fake_entry(f, &streams, &a);
    f->x->phase = MG_ON_REQUEST_BODY;
    f->x->in_step = true;
    used = f->x->arena.used;
    for (int i = 0; i < 50; i++)
        assert_int_equal(mg_piece_set(f->h, big, sizeof big), 0);
    f->x->in_step = false;
    assert_true(f->x->arena.used <= used + 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
        T(pieces_pass_up_for_requests_and_down_for_responses), T(a_step_may_wait_with_the_piece), T(a_failing_step_that_may_fail_gives_back_the_piece),
        T(a_body_is_gathered_at_the_entry_that_asks), T(a_second_reader_sees_what_the_steps_between_made_of_it), T(a_body_over_the_limit_is_refused),
        T(an_announced_length_over_the_limit_is_refused_unread), T(a_body_over_the_limit_passes_by_where_the_plugin_skips),
        T(a_replaced_body_goes_out_and_the_old_one_is_dropped), T(an_empty_body_is_there_at_once), T(a_plugins_answer_can_be_read_as_a_body),
        T(large_pieces_do_not_count_against_the_exchange),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
