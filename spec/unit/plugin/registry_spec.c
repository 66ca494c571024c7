#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "plugin/registry.h"

static char folder[64];

/* Compile a plugin into the test's folder; `head` comes before the descriptor's members. */
static void make_plugin(const char *name, const char *version, const char *members)
{
    char path[256], command[1200], root[512];
    FILE *f;

    snprintf(root, sizeof root, "%.*s", (int)(strlen(__FILE__) - strlen("/spec/unit/plugin/registry_spec.c")), __FILE__);
    snprintf(path, sizeof path, "%s/%s.c", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#include <moongate/plugin.h>\nstatic enum mg_verdict q(struct mg_x *x, void *s, void *l) { (void)x; (void)s; (void)l; return MG_CONTINUE; }\n"
               "MG_PLUGIN_EXPORT = { .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = \"%s\", .version = \"%s\", .on_request = q, %s };\n",
            name, version, members);
    fclose(f);
    snprintf(command, sizeof command, "cc -w -shared -fPIC -I'%s/include' -o '%s/%s.so' '%s'", root, folder, name, path);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct mg_str s;

    strcpy(folder, "/tmp/moongate-spec-XXXXXX");
    assert_non_null(mkdtemp(folder));
    s = mg_str_c(folder);
    *state = mg_registry_new(&s, 1);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    mg_registry_free(*state);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static void a_plugin_is_found_by_its_name(void **state)
{
    struct mg_found_plugin p, again;
    struct mg_error err = { 0 };

    make_plugin("spec-one", "1", "");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-one"), &p, &err), 0);
    assert_int_equal(p.kind, MG_PLUGIN_C);
    assert_string_equal(p.plugin->name, "spec-one");
    assert_false(p.is_bundled);
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-one"), &again, &err), 0);
    assert_ptr_equal(p.plugin, again.plugin);
}

static void a_replaced_file_gives_the_new_code(void **state)
{
    struct mg_found_plugin p, again;
    struct mg_error err = { 0 };

    make_plugin("spec-two", "1", "");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-two"), &p, &err), 0);
    make_plugin("spec-two", "2", "");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-two"), &again, &err), 0);
    assert_string_equal(p.plugin->version, "1");
    assert_string_equal(again.plugin->version, "2");
}

static void a_plugin_for_another_abi_is_refused_with_both_numbers(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };

    make_plugin("spec-old", "1", ".abi = (7u << 16) | 3u");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-old"), &p, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "ABI 7.3"));
    assert_non_null(strstr(err.message, "1.0"));
}

static void a_plugin_of_an_older_minor_version_has_the_new_members_empty(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };

    make_plugin("spec-short", "1", ".size = offsetof(struct mg_plugin, needs_of), .needs_of = (void *)8");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-short"), &p, &err), 0);
    assert_null(p.plugin->needs_of);
}

static void what_is_no_plugin_says_so(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };
    char command[256];

    snprintf(command, sizeof command, "echo no > '%s/spec-text.so'", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-text"), &p, &err), MG_ECONF);
    make_plugin("spec-name", "1", ".name = \"other\"");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-name"), &p, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "other"));
    make_plugin("spec-idle", "1", ".on_request = 0");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-idle"), &p, &err), MG_ECONF);
}

static void an_unknown_name_suggests_the_nearest(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };

    make_plugin("spec-three", "1", "");
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-thre"), &p, &err), MG_ENOENT);
    assert_non_null(strstr(err.message, "did you mean \"spec-three\"?"));
    assert_int_equal(mg_registry_find(*state, MG_STR("../etc/passwd"), &p, &err), MG_ENOENT);
    assert_int_equal(mg_registry_find(*state, MG_STR(""), &p, &err), MG_ENOENT);
}

static void a_lua_plugin_is_found_but_not_loaded(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };
    char command[256];

    snprintf(command, sizeof command, "echo 'return {}' > '%s/spec-lua.lua'", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(mg_registry_find(*state, MG_STR("spec-lua"), &p, &err), 0);
    assert_int_equal(p.kind, MG_PLUGIN_LUA);
    assert_null(p.plugin);
    assert_non_null(strstr(p.path.p, "/spec-lua.lua"));
}

static int seen;
static char before[65];
static void each(void *arg, const struct mg_found_plugin *p)
{
    (void)arg;
    assert_true(strcmp(before, p->name.p) < 0); /* sorted */
    snprintf(before, sizeof before, "%s", p->name.p);
    seen += !strncmp(p->name.p, "spec-", 5);
}
static void all_can_be_listed_in_order(void **state)
{
    make_plugin("spec-b", "1", "");
    make_plugin("spec-a", "1", "");
    seen = 0;
    before[0] = 0;
    mg_registry_each(*state, each, NULL);
    assert_int_equal(seen, 2);
}

static void names_of_bundled_plugins_are_reserved(void **state)
{
    struct mg_found_plugin p;
    struct mg_error err = { 0 };

    if (mg_registry_find(*state, MG_STR("key-auth"), &p, &err))
        skip(); /* the plugins were not built */
    assert_true(p.is_bundled);
    make_plugin("key-auth", "mine", "");
    assert_int_equal(mg_registry_find(*state, MG_STR("key-auth"), &p, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "bundled"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_plugin_is_found_by_its_name), T(a_replaced_file_gives_the_new_code), T(a_plugin_for_another_abi_is_refused_with_both_numbers),
        T(a_plugin_of_an_older_minor_version_has_the_new_members_empty), T(what_is_no_plugin_says_so), T(an_unknown_name_suggests_the_nearest),
        T(a_lua_plugin_is_found_but_not_loaded), T(all_can_be_listed_in_order), T(names_of_bundled_plugins_are_reserved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
