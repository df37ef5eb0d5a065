/* What a tenant's process can reach: a probe program is deployed as a service and reports. */
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(isolation, .timeout = 120);

static json_t *probe(const struct testbed *bed, json_t *spec)
{
    service_deploy(bed, spec);
    char path[4096];
    snprintf(path, sizeof path, "%s/tenants/evil/probe/probe.json", bed->data);
    for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
        sleep_ms(10);
    json_error_t error;
    json_t *found = json_load_file(path, 0, &error);
    if (found == NULL) {
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(bed, &result, "logs", "evil/probe", NULL);
        cr_assert_fail("%s: %s; its output: %s", path, error.text, result_out(&result));
    }
    return found;
}

/* The probe with everything it should not reach as its arguments. */
static json_t *probe_spec(const struct testbed *bed)
{
    static const char *const below_data[] = { "",
                                              "/events",
                                              "/events/data.mdb",
                                              "/events/lock.mdb",
                                              "/tenants/acme",
                                              "/tenants/acme/secret",
                                              "/tenants/acme/secret/note",
                                              "/logs/acme",
                                              NULL };
    static const char *const below_run[] = {
        "/registry", "/registry/data.mdb", "/registry/lock.mdb",
        "/internal", "/internal/tenants",  "/internal/run_id",
        NULL
    };
    json_t *spec = service_spec(bed, "evil", "probe", "prober", NULL);
    json_t *argv = json_object_get(spec, "argv");
    char path[4096];
    for (size_t i = 1; below_data[i] != NULL; i++) {
        snprintf(path, sizeof path, "%s%s", bed->data, below_data[i]);
        json_array_append_new(argv, json_string(path));
    }
    for (size_t i = 0; below_run[i] != NULL; i++) {
        snprintf(path, sizeof path, "%s%s", bed->run, below_run[i]);
        json_array_append_new(argv, json_string(path));
        snprintf(path, sizeof path, "/run/solo%s", below_run[i]);
        json_array_append_new(argv, json_string(path));
    }
    json_array_append_new(argv, json_string("/var/lib/solo/tenants/acme"));
    json_array_append_new(argv, json_string("/etc/shadow"));
    static const char *const sockets[] = { "solod.sock", "eventd.sock", "deployd.sock",
                                           "internal/tenants/evil.sock",
                                           "internal/tenants/acme.sock" };
    for (size_t i = 0; i < COUNT_OF(sockets); i++) {
        snprintf(path, sizeof path, "socket:%s/%s", bed->run, sockets[i]);
        json_array_append_new(argv, json_string(path));
        snprintf(path, sizeof path, "socket:/run/solo/%s", sockets[i]);
        json_array_append_new(argv, json_string(path));
    }
    return spec;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void expect_nothing_inherited(const json_t *found)
{
    json_t *descriptors = json_object_get(found, "descriptors");
    const char *key;
    json_t *value;
    json_object_foreach(descriptors, key, value)
        cr_assert(strcmp(key, "0") == 0 || strcmp(key, "1") == 0 || strcmp(key, "2") == 0,
                  "descriptor %s is open: %s", key, json_string_value(value));
    cr_assert_eq(json_object_size(descriptors), 3);
    expect_text(found, "NoNewPrivs", "1");
    expect_number(found, "groups", 0);
    static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        expect_text(found, sets[i], "0000000000000000");
    cr_assert_str_neq(text_in(found, "chroot"), "ok");
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(found, "environment"), i, entry)
    {
        const char *text = json_string_value(entry);
        cr_assert(starts_with(text, "PATH=") || starts_with(text, "HOME=") ||
                      starts_with(text, "SOLO_TENANT=") || starts_with(text, "SOLO_SERVICE=") ||
                      starts_with(text, "SOLO_INSTANCE="),
                  "it was given %s", text);
    }
}

Test(isolation, as_root_a_tenant_reaches_nothing_of_ours_or_of_others)
{
    if (geteuid() != 0)
        cr_skip_test("skipped: only root can give each tenant a uid of its own");
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SECRET_OF_THE_PARENT", "yes");
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "secret");
    service_deploy(&bed, json_pack("{s:s, s:s, s:[s, s, s]}", "tenant", "acme", "name", "secret",
                                   "argv", "/bin/sh", "-c", "echo mine > note; exec sleep 1000"));
    uint64_t last = log_settled_id(&bed);
    json_t *found = probe(&bed, probe_spec(&bed));
    expect_nothing_inherited(found);

    /* a uid of its own, that is nobody else's and no operator's */
    uint64_t uid = (uint64_t)json_integer_value(json_array_get(json_object_get(found, "uids"), 0));
    cr_assert_geq(uid, 200000, "it runs as uid %lu", (unsigned long)uid);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(
            (uint64_t)json_integer_value(json_array_get(json_object_get(found, "uids"), i)), uid);
        cr_assert_eq(
            (uint64_t)json_integer_value(json_array_get(json_object_get(found, "gids"), i)), uid);
    }
    cr_assert_str_neq(text_in(found, "setuid"), "ok");
    pid_t neighbour = service_pid(&bed, "acme", "secret");
    cr_assert_neq((uint64_t)process_number(neighbour, "status", "Uid"), uid,
                  "two tenants share a uid");

    const char *path;
    json_t *access;
    json_object_foreach(json_object_get(found, "paths"), path, access)
    {
        cr_assert_str_neq(text_in(access, "read"), "open", "it can read %s", path);
        cr_assert_str_neq(text_in(access, "write"), "open", "it can write %s", path);
    }
    size_t i, answering = 0;
    json_t *door;
    json_array_foreach(json_object_get(found, "sockets"), i, door)
    {
        const char *name = text_in(door, "path");
        static const char *const asked[] = { "append", "append_app", "list", "drain",
                                             "supervisor" };
        bool is_internal = strstr(name, "/internal/") != NULL;
        if (is_internal)
            cr_assert_str_neq(text_in(door, "describe"), "ok", "it reaches %s", name);
        answering += strcmp(text_in(door, "describe"), "ok") == 0;
        for (size_t k = 0; k < COUNT_OF(asked); k++)
            cr_assert_str_neq(text_in(door, asked[k]), "ok", "%s answers %s", name, asked[k]);
    }
    cr_assert_geq(answering, 3, "the probe reached no daemon at all: it proves nothing");

    /* it sees its own processes only, when there are namespaces */
    json_t *reply = testbed_ask(&bed, "deployd", "system.status", NULL);
    const char *isolation = text_in(json_object_get(reply, "status"), "isolation");
    printf("isolation: %s\n", isolation);
    expect_contains(isolation, "uid");
    if (strstr(isolation, "pid") != NULL) {
        size_t seen = json_array_size(json_object_get(found, "processes"));
        cr_assert_leq(seen, 4, "it sees %zu processes", seen);
    }
    json_decref(reply);

    /* and left no trace in the log but its own story */
    json_t *events = events_after(&bed, last);
    cr_assert_eq(events_count(events, "app.probe", NULL, NULL), 0);
    cr_assert_eq(events_count(events, "service_killed", NULL, NULL), 0);
    json_decref(events);
    json_decref(found);
    (void)generation;
}

static uint64_t uid_of(struct testbed *bed, const char *tenant)
{
    service_deploy_sleeper(bed, tenant, "api");
    return (uint64_t)process_number(service_pid(bed, tenant, "api"), "status", "Uid");
}

static void forget_everything_but_files(struct testbed *bed)
{
    static const char *const names[] = { "events", "events.anchor", "tokens", "vault" };
    cr_assert_eq(testbed_stop(bed), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", bed->data, names[i]);
        cr_assert(unlink(path) == 0 || directory_remove(path) == STATUS_OK, "%s", path);
    }
    testbed_start(bed);
}

/* An older log that was put back, in its last form: one that knows nobody. */
Test(isolation, a_tenant_that_the_log_forgot_keeps_its_files_to_itself)
{
    if (geteuid() != 0)
        cr_skip_test("skipped: only root can give each tenant a uid of its own");
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t acme = uid_of(&bed, "acme"), beta = uid_of(&bed, "beta");
    forget_everything_but_files(&bed);
    uint64_t gamma = uid_of(&bed, "gamma");
    cr_assert_neq(gamma, acme);
    cr_assert_neq(gamma, beta);
    cr_assert_eq(uid_of(&bed, "beta"), beta, "its files are its own again");
    cr_assert_eq(uid_of(&bed, "acme"), acme);
    cr_assert_neq(uid_of(&bed, "delta"), gamma);
}

Test(isolation, the_stores_and_internal_folders_have_the_documented_modes)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    static const struct {
        const char *path;
        mode_t forbidden;
    } places[] = {
        { "run/internal", 0077 },
        { "data/events", 0007 },
        { "data/events/data.mdb", 0027 },
        { "data/events/lock.mdb", 0007 },
        { "run/registry", 0007 },
        { "data/tenants/acme/api", 0077 },
        { "data/logs", 0007 },
    };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        char path[4096];
        struct stat info;
        cr_assert_eq(path_join(path, bed.dir, places[i].path), STATUS_OK);
        cr_assert_eq(stat(path, &info), 0, "%s", path);
        cr_expect_eq(info.st_mode & places[i].forbidden, 0, "%s has mode %o", path,
                     info.st_mode & 07777);
    }
}

Test(isolation, as_an_ordinary_user_everything_works_and_the_status_says_what_is_missing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, TESTBED_AS_USER);
    testbed_start(&bed);
    json_t *found = probe(&bed, service_spec(&bed, "evil", "probe", "prober", NULL));
    expect_nothing_inherited(found);
    json_decref(found);
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "none (one uid)");
    json_t *reply = testbed_ask(&bed, "deployd", "system.status", NULL);
    expect_contains(text_in(json_object_get(reply, "status"), "isolation"), "none (one uid)");
    json_decref(reply);
    service_kill(&bed, "evil", "probe");
}

/* In its own namespace each of them is 1. */
Test(isolation, the_lines_of_a_supervisor_carry_the_pid_that_an_operator_sees)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char line[160];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    snprintf(line, sizeof line, "program=tenantd pid=%d msg=supervising tenant=acme ",
             (int)testbed_supervisor(&bed, "acme"));
    cr_assert_eq(testbed_log_count(&bed, line), 1, "no line \"%s\"", line);
    cr_assert_eq(testbed_log_count(&bed, "program=tenantd pid=1 "), 0);
}
