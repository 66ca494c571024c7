/* The Lua host by itself: VMs, plugins and instances, handlers on an exchange made by hand. */
#include "script/host.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>

static struct mg_worker worker;
static struct mg_config *config;
static struct mg_script *script;
static struct mg_exchange *x;
static char folder[] = "/tmp/moongate-script-XXXXXX";
static char lines[16384];
static struct mg_chain_entry entry;
static struct mg_chain_entry *entries[1] = { &entry };
static struct mg_chain chain = { .entries = entries, .entries_n = 1 };

static void keep_line(int level, struct mg_str text, void *arg)
{
    size_t n = strlen(lines);

    (void)level;
    (void)arg;
    snprintf(lines + n, sizeof(lines) - n, "%.*s\n", (int)text.n, text.p);
}

static const char *write_file(const char *name, const char *text)
{
    static char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void open_script(const char *config_text, size_t memory_max)
{
    struct mg_error err = { 0 };

    if (mg_config_load(write_file("gateway.lua", config_text), &config, &err) != 0)
        fail_msg("%s", err.message);
    script = mg_script_new(config, memory_max);
    assert_non_null(script);
    lines[0] = '\0';
}

static void begin_exchange(int phase)
{
    x = mg_exchange_new(&worker, 1 << 20);
    assert_non_null(x);
    x->req = mg_arena_zalloc(&x->arena, sizeof(*x->req));
    x->req->method_text = MG_STR("GET");
    x->path = MG_STR("/");
    x->chain = &chain;
    x->script_host = script;
    x->phase = (uint8_t)phase;
    x->in_step = true;
    worker.running = x;
}

static void end_exchange(void)
{
    if (!x)
        return;
    worker.running = NULL;
    mg_op_cancel_all(x);
    if (x->script)
        mg_script_exchange_end(x);
    mg_exchange_free(x);
    x = NULL;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mg_worker_init(&worker, 0), 0);
    mg_this_worker = &worker;
    mg_log_capture(keep_line, NULL);
    return 0;
}

static void close_script(void)
{
    mg_script_free(script);
    script = NULL;
    if (config)
        mg_config_free(config);
    config = NULL;
}

static int teardown(void **state)
{
    (void)state;
    end_exchange();
    close_script();
    mg_log_capture(NULL, NULL);
    mg_worker_deinit(&worker);
    return 0;
}

/* A plugin called `name` from text; -> its code. */
static int load(const char *name, const char *text, const struct mg_plugin **p, struct mg_error *err)
{
    char file[64];

    snprintf(file, sizeof(file), "%s.lua", name);
    memset(err, 0, sizeof(*err));
    return mg_script_plugin(script, mg_str_c(name), write_file(file, text), false, p, err);
}

static void *instance(const struct mg_plugin *p, const struct mg_value *conf)
{
    static struct mg_chain_entry whose;
    struct mg_entry info = { .id = MG_STR("id"), .route = MG_STR("route") };
    struct mg_error err = { 0 };
    void *self = NULL;

    whose = (struct mg_chain_entry){ .plugin = p };
    if (mg_script_instance(script, p, conf, &info, &whose, &self, &err) != 0)
        fail_msg("%s", err.message);
    return self;
}

static struct mg_script_entering entering;

static void entered(struct mg_script_entering *e, int status)
{
    (void)e;
    assert_int_equal(status, 0);
}

static void enter_worker(int i)
{
    int index = worker.index;

    worker.index = i;
    mg_script_enter(&entering, script, &worker, 1000, entered);
    while (entering.done)
        uv_run(&worker.loop.uv, UV_RUN_ONCE);
    worker.index = index;
}

static void open_worker(int i)
{
    struct mg_error err = { 0 };

    if (mg_script_open(script, i, &err) != 0)
        fail_msg("%s", err.message);
    enter_worker(i);
}

/* ---- plugins -------------------------------------------------------------------------------- */

static void a_script_becomes_a_descriptor(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("tenant", "return { name = 'tenant', version = '1.2', doc = 'A doc.', needs = { 'consumer' }, provides = 'tenant',\n"
                          "  fields = { header = { type = 'string', preset = 'x-tenant', doc = 'Its name.' } },\n"
                          "  on_request = function() end, on_log = function() end }", &p, &err), 0);
    assert_string_equal(p->name, "tenant");
    assert_string_equal(p->version, "1.2");
    assert_string_equal(p->needs[0], "consumer");
    assert_null(p->needs[1]);
    assert_string_equal(p->provides[0], "tenant");
    assert_string_equal(p->fields[0].name, "header");
    assert_non_null(p->on_request);
    assert_non_null(p->on_log);
    assert_null(p->on_response);
    assert_true(mg_script_is_lua(p));
}

static void refuses(const char *text, const char *part)
{
    const struct mg_plugin *p;
    struct mg_error err;

    open_script("return {}", 64 << 20); /* sources are read once: a new config reads the file anew */
    assert_int_not_equal(load("bad", text, &p, &err), 0);
    if (!strstr(err.message, part))
        fail_msg("expected \"%s\" in \"%s\"", part, err.message);
    close_script();
}

static void what_a_script_gets_wrong_is_told(void **state)
{
    (void)state;
    refuses("return 5", "returns a table");
    refuses("return {", "bad.lua:1");
    refuses("error 'top'", "top");
    refuses("return { name = 'bad', on_requst = function() end }", "did you mean \"on_request\"");
    refuses("return { name = 'good', on_request = function() end }", "the file is called \"bad\"");
    refuses("return { name = 'bad', on_request = 5 }", "must be a function");
    refuses("return { name = 'bad' }", "at least one handler");
    refuses("return { on_request = function() end }", "\"name\"");
    refuses("return { name = 'bad', on_log = function() end, needs = 5 }", "needs");
    refuses("return { name = 'bad', on_log = function() end, fields = { a = { type = 'nonsense' } } }", "fields");
    refuses("return { name = 'bad', on_log = function() end, credentials = { kind = 'k' } }", "credentials");
    refuses("\033LJ", "bad.lua");
    refuses("local t = {} for i = 1, 1e9 do t[i] = {} end", "out of memory");
}

static void create_may_refuse_a_conf(void **state)
{
    const struct mg_plugin *p;
    struct mg_entry info = { .id = MG_STR("id") };
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("picky", "return { name = 'picky', on_log = function() end, create = function() return nil, 'not so' end }", &p, &err), 0);
    assert_int_equal(mg_script_instance(script, p, config->root, &info, NULL, &self, &err), MG_ECONF);
    assert_string_equal(err.message, "not so");
}

/* ---- handlers ------------------------------------------------------------------------------- */

static void a_handler_gets_its_conf_in_every_worker(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    struct mg_datum d;
    void *self;

    (void)state;
    open_script("return { name = 'value', list = { 1, 2 } }", 64 << 20);
    assert_int_equal(load("reads", "local n = 0\n"
                          "return { name = 'reads', on_worker = function(conf) conf.ready = true end,\n"
                          "  on_request = function(x, conf) x.ctx.name, x.ctx.two, x.ctx.ready = conf.name, conf.list[2], conf.ready end }",
                          &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    open_worker(1);
    assert_true(mg_script_memory(script, 0) > 0 && mg_script_memory(script, 1) > 0);
    begin_exchange(MG_ON_REQUEST);
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_CONTINUE);
    assert_int_equal(mg_ctx_get(mg_handle_of(x), "name", 4, &d), 0);
    assert_memory_equal(d.text.p, "value", 5);
    mg_ctx_get(mg_handle_of(x), "two", 3, &d);
    assert_true(d.number == 2);
    mg_ctx_get(mg_handle_of(x), "ready", 5, &d);
    assert_int_equal(d.kind, MG_BOOLEAN);
}

static void an_error_is_logged_with_its_place_and_the_vm_lives(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("fails", "local n = 0\nlocal function inner() error('oh no') end\n"
                          "return { name = 'fails', on_request = function()\n n = n + 1\n if n < 3 then inner() end\nend }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    begin_exchange(MG_ON_REQUEST);
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_ERROR);
    assert_non_null(strstr(lines, "oh no"));
    assert_non_null(strstr(lines, "fails.lua"));
    assert_non_null(strstr(lines, "on_request"));
    assert_non_null(strstr(lines, "inner"));
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_ERROR);
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_CONTINUE);
}

static void an_error_object_of_any_type_is_logged(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("odd", "local n = 0\nreturn { name = 'odd', on_request = function()\n n = n + 1\n"
                          " if n == 1 then error({}) end if n == 2 then error(nil) end\n"
                          " error(setmetatable({}, { __tostring = function() return 'told by itself' end })) end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    begin_exchange(MG_ON_REQUEST);
    for (int i = 0; i < 3; i++)
        assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_ERROR);
    assert_non_null(strstr(lines, "the error is a table"));
    assert_non_null(strstr(lines, "told by itself"));
}

static void a_script_that_takes_all_memory_fails_and_the_vm_lives(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 16 << 20);
    assert_int_equal(load("hog", "return { name = 'hog',\n on_request = function() local t = {} for i = 1, 1e9 do t[i] = { i } end end,\n"
                          " on_response = function() local s = ('x'):rep(1e6) while true do s = s .. s end end,\n"
                          " on_log = function(x) return nil end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    for (int i = 0; i < 5; i++) {
        begin_exchange(MG_ON_REQUEST);
        assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_ERROR);
        x->phase = MG_ON_RESPONSE;
        assert_int_equal(p->on_response(mg_handle_of(x), self, NULL), MG_ERROR);
        x->phase = MG_ON_LOG;
        if (p->on_log(mg_handle_of(x), self, NULL) != MG_CONTINUE)
            fail_msg("round %d: %s", i, lines);
        end_exchange();
        assert_true(mg_script_memory(script, 0) < 8 << 20);
    }
    assert_non_null(strstr(lines, "out of Lua memory"));
}

static void live_data_near_the_bound_does_not_stop_handlers_that_make_garbage(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 16 << 20);
    assert_int_equal(load("full", "local kept = {}\nfor i = 1, 100000 do kept[i] = { i } end\n"
                          "return { name = 'full', on_request = function(x) x.ctx.n = #kept; local s = ('y'):rep(200000) .. x.id end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    for (int i = 0; i < 300; i++) {
        begin_exchange(MG_ON_REQUEST);
        if (p->on_request(mg_handle_of(x), self, NULL) != MG_CONTINUE)
            fail_msg("round %d: %s", i, lines);
        end_exchange();
    }
}

static void a_waiting_handler_goes_on_when_it_is_woken(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    struct mg_datum d;
    struct mg_op *op;
    void *self;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("waits", "local mg = require 'moongate'\n"
                          "return { name = 'waits', on_request = function(x) x.ctx.step = 1; mg.sleep(5); x.ctx.step = 2 end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    begin_exchange(MG_ON_REQUEST);
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_WAIT);
    mg_ctx_get(mg_handle_of(x), "step", 4, &d);
    assert_true(d.number == 1);
    op = mg_container(mg_list_first(&x->ops), struct mg_op, node);
    assert_int_equal(p->on_wake(mg_handle_of(x), self, NULL, op->id, 0), MG_CONTINUE);
    mg_ctx_get(mg_handle_of(x), "step", 4, &d);
    assert_true(d.number == 2);
    assert_int_equal(script->vms[0]->running_n, 0);
    assert_int_equal(p->on_wake(mg_handle_of(x), self, NULL, op->id, 0), MG_ERROR); /* nobody waits any more */
}

static void an_exchange_that_ends_gives_up_what_waits_in_it(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    void *self;

    (void)state;
    open_script("return {}", 64 << 20);
    assert_int_equal(load("waits", "local mg = require 'moongate'\n"
                          "return { name = 'waits', on_request = function(x) x.ctx.mine = {}; mg.sleep(5) end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    for (int i = 0; i < 100; i++) {
        begin_exchange(MG_ON_REQUEST);
        assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_WAIT);
        assert_int_equal(script->vms[0]->running_n, 1);
        end_exchange();
        assert_int_equal(script->vms[0]->running_n, 0);
    }
}

static void an_idle_worker_collects_garbage_and_then_rests(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err;
    size_t full, after;
    void *self;

    (void)state;
    open_script("return {}", 256 << 20);
    assert_int_equal(load("dirty", "return { name = 'dirty', on_request = function() local t = {} for i = 1, 200000 do t[i] = { i } end end }", &p, &err), 0);
    self = instance(p, config->root);
    open_worker(0);
    begin_exchange(MG_ON_REQUEST);
    p->on_request(mg_handle_of(x), self, NULL);
    full = mg_script_memory(script, 0);
    for (int i = 0; i < 100000; i++)
        mg_script_idle(script, 0);
    after = mg_script_memory(script, 0);
    assert_true(after < full / 2);
    mg_script_idle(script, 0);
    assert_int_equal(mg_script_memory(script, 0), after);
}

/* ---- functions of the config ------------------------------------------------------------------ */

static const char functions_config[] =
    "local n = 0\n"
    "return {\n"
    "  a = function() return nil end, b = function(x) return x.request.method == 'GET' end, c = function() n = n + 1 return n end,\n"
    "  d = function(x) return 'path ' .. x.request.path end, e = function() return {} end, f = function() error('inside') end,\n"
    "  g = function() require('moongate').sleep(1) end,\n"
    "}\n";

static int32_t number_of(const char *key)
{
    return mg_value_get(config->root, key)->function;
}

static void functions_of_the_config_answer_c(void **state)
{
    struct mg_datum d;
    struct mg_x *h;

    (void)state;
    open_script(functions_config, 64 << 20);
    open_worker(0);
    open_worker(1);
    begin_exchange(MG_ON_REQUEST);
    h = mg_handle_of(x);
    assert_int_equal(mg_fn_call(h, number_of("a"), &d), 0);
    assert_int_equal(d.kind, MG_NIL);
    assert_int_equal(mg_fn_call(h, number_of("b"), &d), 0);
    assert_true(d.kind == MG_BOOLEAN && d.number == 1);
    mg_fn_call(h, number_of("c"), &d);
    assert_int_equal(mg_fn_call(h, number_of("c"), &d), 0);
    assert_true(d.kind == MG_DOUBLE && d.number == 2);
    assert_int_equal(mg_fn_call(h, number_of("d"), &d), 0);
    assert_int_equal(d.kind, MG_TEXT);
    assert_memory_equal(d.text.p, "path /", 6);
    assert_true(mg_fn_call(h, number_of("e"), &d) < 0);
    assert_true(mg_fn_call(h, number_of("f"), &d) < 0);
    assert_non_null(strstr(lines, "inside"));
    assert_true(mg_fn_call(h, number_of("g"), &d) < 0);
    assert_non_null(strstr(lines, "waits"));
    assert_true(mg_fn_call(h, -1, &d) < 0);
    assert_true(mg_fn_call(h, 1000, &d) < 0);
    assert_int_equal(mg_chain_when(x, number_of("b")), 1);
    assert_int_equal(mg_chain_when(x, number_of("a")), 0);
    assert_true(mg_chain_when(x, number_of("f")) < 0);
}

static void functions_in_a_table_are_a_plugin(void **state)
{
    const struct mg_plugin *p;
    struct mg_error err = { 0 };
    void *self;

    (void)state;
    open_script("return { good = { on_request = function(x) return x:respond(204) end, id = 'mine' }, bad = { on_requset = function() end },\n"
                "         worse = { on_request = 5 }, none = { id = 'x' } }", 64 << 20);
    assert_int_equal(mg_script_inline(script, mg_value_get(config->root, "bad"), &p, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "did you mean \"on_request\""));
    assert_int_equal(mg_script_inline(script, mg_value_get(config->root, "worse"), &p, &err), MG_ECONF);
    assert_int_equal(mg_script_inline(script, mg_value_get(config->root, "none"), &p, &err), MG_ECONF);
    assert_int_equal(mg_script_inline(script, mg_value_get(config->root, "good"), &p, &err), 0);
    self = instance(p, NULL);
    open_worker(0);
    begin_exchange(MG_ON_REQUEST);
    assert_int_equal(p->on_request(mg_handle_of(x), self, NULL), MG_RESPOND);
    assert_int_equal(x->answer_head->status, 204);
}

static void a_config_that_differs_from_run_to_run_is_refused(void **state)
{
    struct mg_error err = { 0 };

    (void)state;
    open_script("return { a = { 1 }, b = { 2, { c = tostring({}) } }, d = function() end }", 64 << 20);
    assert_int_equal(mg_script_open(script, 0, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "b[2].c: differs")); /* the place, for whoever has to find the cause */
}

static void no_lua_needs_no_vm(void **state)
{
    struct mg_error err = { 0 };

    (void)state;
    open_script("return { a = 1 }", 64 << 20);
    assert_int_equal(mg_script_open(script, 0, &err), 0);
    assert_int_equal(mg_script_memory(script, 0), 0);
    enter_worker(0);
    mg_script_idle(script, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_script_becomes_a_descriptor), T(what_a_script_gets_wrong_is_told), T(create_may_refuse_a_conf),
        T(a_handler_gets_its_conf_in_every_worker), T(an_error_is_logged_with_its_place_and_the_vm_lives),
        T(an_error_object_of_any_type_is_logged), T(a_script_that_takes_all_memory_fails_and_the_vm_lives),
        T(live_data_near_the_bound_does_not_stop_handlers_that_make_garbage), T(a_waiting_handler_goes_on_when_it_is_woken),
        T(an_exchange_that_ends_gives_up_what_waits_in_it), T(an_idle_worker_collects_garbage_and_then_rests),
        T(functions_of_the_config_answer_c), T(functions_in_a_table_are_a_plugin), T(a_config_that_differs_from_run_to_run_is_refused),
        T(no_lua_needs_no_vm),
    };
    char command[64];
    int failed;

    if (!mkdtemp(folder))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command) != 0 || failed;
}
