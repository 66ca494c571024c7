#include "pdk/fake.h"

static char trace[256];
static void note(const char *s)
{
    strncat(trace, s, sizeof trace - strlen(trace) - 1);
}

/* What each fake entry does is its self: a name for the trace, and verdicts. */
struct act {
    const char *name;
    enum mg_verdict on_request, on_response, on_wake;
    int answer;                /* status to record */
    bool sleeps;
};

static enum mg_verdict act(struct mg_x *x, struct act *a, const char *phase, enum mg_verdict v)
{
    note(phase);
    note(a->name);
    note(" ");
    if (a->answer && (v == MG_RESPOND || a->on_wake == MG_RESPOND))
        assert_int_equal(mg_respond(x, a->answer, "no", 2), 0);
    if (a->sleeps && v == MG_WAIT)
        assert_true(mg_sleep(x, 0) > 0);
    return v;
}
static enum mg_verdict rewrite(struct mg_x *x, void *self, void *local) { (void)local; return act(x, self, "w", MG_CONTINUE); }
static enum mg_verdict request(struct mg_x *x, void *self, void *local) { (void)local; return act(x, self, "q", ((struct act *)self)->on_request); }
static enum mg_verdict response(struct mg_x *x, void *self, void *local) { (void)local; return act(x, self, "s", ((struct act *)self)->on_response); }
static enum mg_verdict logged(struct mg_x *x, void *self, void *local) { (void)local; return act(x, self, "l", MG_ERROR); }
static enum mg_verdict wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct act *a = self;

    (void)local;
    (void)op;
    (void)status;
    return act(x, a, "k", a->on_wake);
}

static const struct mg_plugin plugin = { .abi = MG_PLUGIN_ABI, .size = sizeof plugin, .name = "fake", .on_rewrite = rewrite, .on_request = request,
                                         .on_response = response, .on_log = logged, .on_wake = wake };

static int setup(void **state)
{
    trace[0] = 0;
    mg_log_capture(fake_quiet, NULL);
    return fake_setup(state);
}

static void requests_go_up_and_responses_come_back_down(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0" }, b = { .name = "1" };

    fake_entry(f, &plugin, &a);
    fake_entry(f, &plugin, &b);
    assert_int_equal(fake_phase(f, MG_ON_REWRITE), MG_CONTINUE);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_int_equal(fake_phase(f, MG_ON_RESPONSE), MG_CONTINUE);
    assert_int_equal(fake_phase(f, MG_ON_LOG), MG_CONTINUE);
    assert_string_equal(trace, "w0 w1 q0 q1 s1 s0 l1 l0 ");
}

static void only_entries_that_saw_the_request_see_the_response(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0" }, b = { .name = "1", .on_request = MG_RESPOND, .answer = 403 }, c = { .name = "2" };
    struct mg_plugin no_rewrite = plugin;

    no_rewrite.on_rewrite = NULL;
    fake_entry(f, &no_rewrite, &a);
    fake_entry(f, &no_rewrite, &b);
    fake_entry(f, &no_rewrite, &c);
    fake_phase(f, MG_ON_REWRITE);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_RESPOND);
    assert_int_equal(f->x->answer_head->status, 403);
    fake_phase(f, MG_ON_RESPONSE);
    fake_phase(f, MG_ON_LOG);
    assert_string_equal(trace, "q0 q1 s1 s0 l2 l1 l0 ");
}

static void an_answer_that_was_not_recorded_is_an_error(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0", .on_request = MG_RESPOND };

    fake_entry(f, &plugin, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_ERROR);
}

static void an_answer_recorded_but_not_returned_is_dropped(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0", .on_wake = MG_RESPOND, .answer = 200 };

    fake_entry(f, &plugin, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_null(f->x->answer_head);
}

static void waiting_resumes_once_with_the_verdict_of_on_wake(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0", .on_request = MG_WAIT, .sleeps = true, .on_wake = MG_CONTINUE }, b = { .name = "1" };

    fake_entry(f, &plugin, &a);
    fake_entry(f, &plugin, &b);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    assert_true(f->x->is_waiting);
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_CONTINUE);
    assert_false(f->x->is_waiting);
    assert_string_equal(trace, "q0 k0 q1 ");
}

static void an_answer_may_come_after_waiting(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0", .on_request = MG_WAIT, .sleeps = true, .on_wake = MG_RESPOND, .answer = 418 };

    fake_entry(f, &plugin, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    fake_turn(f, 1);
    assert_int_equal(f->woken, MG_RESPOND);
    assert_int_equal(f->x->answer_head->status, 418);
}

static void waiting_for_nothing_is_an_error(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0", .on_request = MG_WAIT };

    fake_entry(f, &plugin, &a);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_ERROR);
}

static enum mg_verdict change_and_fail(struct mg_x *x, void *self, void *local)
{
    (void)self;
    (void)local;
    assert_int_equal(mg_header_set(x, MG_REQUEST, LIT("x-a"), LIT("changed")), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(mg_header_add(x, MG_REQUEST, LIT("x-new"), LIT("1")), 0);
    assert_int_equal(mg_request_set_path(x, LIT("/elsewhere")), 0);
    assert_int_equal(mg_respond(x, 200, "", 0), 0);
    return MG_ERROR;
}

static void a_failing_entry_that_may_fail_leaves_no_trace(void **state)
{
    static const struct mg_plugin fails = { .abi = MG_PLUGIN_ABI, .size = sizeof fails, .name = "fails", .on_request = change_and_fail };
    struct fake *f = *state;
    struct act b = { .name = "1" };
    struct mg_str out;

    fake_field(f, f->x->req, "x-a", "kept");
    fake_entry(f, &fails, NULL)->continue_on_error = true;
    fake_entry(f, &plugin, &b);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_CONTINUE);
    assert_string_equal(trace, "q1 ");
    assert_int_equal(mg_header_get(f->h, MG_REQUEST, LIT("x-a"), &out), 0);
    assert_str(out, "kept");
    assert_int_equal(mg_header_get(f->h, MG_REQUEST, LIT("x-new"), &out), MG_ENOENT);
    mg_request_path(f->h, &out);
    assert_str(out, "/users/7");
    assert_null(f->x->answer_head);
    fake_phase(f, MG_ON_RESPONSE);
}

static void a_failing_entry_stops_the_chain_by_default(void **state)
{
    static const struct mg_plugin fails = { .abi = MG_PLUGIN_ABI, .size = sizeof fails, .name = "fails", .on_request = change_and_fail };
    struct fake *f = *state;

    fake_entry(f, &fails, NULL);
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_ERROR);
    assert_null(f->x->answer_head);
}

static int asked, says;
static int when(struct mg_exchange *x, int32_t function)
{
    (void)x;
    assert_int_equal(function, 4);
    asked++;
    return says;
}

static void when_is_asked_once_and_holds_for_the_whole_exchange(void **state)
{
    struct fake *f = *state;
    struct act a = { .name = "0" };
    int (*before)(struct mg_exchange *, int32_t) = mg_chain_when;

    mg_chain_when = when;
    asked = says = 0;
    fake_entry(f, &plugin, &a)->when = 4;
    fake_phase(f, MG_ON_REQUEST);
    fake_phase(f, MG_ON_RESPONSE);
    fake_phase(f, MG_ON_LOG);
    assert_string_equal(trace, "");
    assert_int_equal(asked, 1);
    fake_end_exchange(f);
    fake_new_exchange(f);
    says = 1;
    fake_phase(f, MG_ON_REQUEST);
    fake_phase(f, MG_ON_RESPONSE);
    assert_string_equal(trace, "q0 s0 ");
    assert_int_equal(asked, 2);
    fake_end_exchange(f);
    fake_new_exchange(f);
    says = -1;
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_ERROR);
    mg_chain_when = before;
}

static char mistakes[512];
static void mistake(void *arg, int entry, const char *message)
{
    (void)arg;
    snprintf(mistakes + strlen(mistakes), sizeof mistakes - strlen(mistakes), "%d: %s\n", entry, message);
}

static void facts_must_be_provided_before_they_are_needed(void **state)
{
    static const char *const consumer[] = { "consumer", NULL };
    static const struct mg_plugin auth = { .abi = MG_PLUGIN_ABI, .size = sizeof auth, .name = "auth", .provides = consumer };
    static const struct mg_plugin limit = { .abi = MG_PLUGIN_ABI, .size = sizeof limit, .name = "limit", .needs = consumer };
    struct fake *f = *state;

    mistakes[0] = 0;
    fake_entry(f, &limit, NULL);
    fake_entry(f, &auth, NULL);
    fake_entry(f, &limit, NULL);
    mg_chain_check_facts(f->list, 3, mistake, NULL);
    assert_string_equal(mistakes, "0: limit needs \"consumer\" from an entry before it; auth provides it, but stands after it\n");
    mistakes[0] = 0;
    f->entries[1].continue_on_error = true;
    mg_chain_check_facts(f->list + 1, 2, mistake, NULL);
    assert_non_null(strstr(mistakes, "may fail and be skipped"));
    mistakes[0] = 0;
    mg_chain_check_facts(f->list + 2, 1, mistake, NULL);
    assert_non_null(strstr(mistakes, "no entry of this chain provides it"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
        T(requests_go_up_and_responses_come_back_down), T(only_entries_that_saw_the_request_see_the_response),
        T(an_answer_that_was_not_recorded_is_an_error), T(an_answer_recorded_but_not_returned_is_dropped),
        T(waiting_resumes_once_with_the_verdict_of_on_wake), T(an_answer_may_come_after_waiting), T(waiting_for_nothing_is_an_error),
        T(a_failing_entry_that_may_fail_leaves_no_trace), T(a_failing_entry_stops_the_chain_by_default),
        T(when_is_asked_once_and_holds_for_the_whole_exchange), T(facts_must_be_provided_before_they_are_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
