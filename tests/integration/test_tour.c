/* The main job end to end, the way a person does it: deploy, lose everything, start again. */
#include <signal.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(tour, .timeout = 120);

static json_t *only_item(const struct result *result)
{
    json_t *document = result_json(result);
    json_t *items = json_object_get(document, "items");
    cr_assert_eq(json_array_size(items), 1, "not one item: %s", result_out(result));
    json_t *item = json_incref(json_array_get(items, 0));
    json_decref(document);
    return item;
}

/* The one action of a dry run that changes something. */
static void expect_dry_run(const struct testbed *bed, const char *action, uint64_t generation)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_text(plan, "kind", "recovery_plan");
    expect_number(json_object_get(plan, "summary"), action, 1);
    json_t *entry = json_array_get(json_object_get(plan, "actions"), 0);
    expect_text(entry, "action", action);
    expect_text(entry, "tenant", "demo");
    expect_text(entry, "service", "web");
    expect_number(entry, "generation", generation);
    json_decref(plan);
}

static void deploy_lose_all_and_come_back(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);

    char code[4096];
    static const char script[] = "echo \"serving on $1\"\nwhile :; do sleep 1000; done\n";
    cr_assert_eq(path_join(code, bed.dir, "server.sh"), STATUS_OK);
    cr_assert_eq(file_write(code, span_of_text(script), 0644), STATUS_OK);
    testbed_soloctl(&bed, &result, "-o", "json", "deploy", "demo/web", "--code", code,
                    "--interpreter", "sh", "--", "8080", NULL);
    expect_exit(&result, 0);
    json_t *deployed = result_json(&result);
    uint64_t generation = number_in(deployed, "event_id");
    cr_assert_neq(generation, 0, "%s", result_out(&result));
    json_decref(deployed);

    testbed_soloctl(&bed, &result, "-o", "json", "get", "services", NULL);
    expect_exit(&result, 0);
    json_t *before = only_item(&result);
    expect_text(before, "tenant", "demo");
    expect_text(before, "name", "web");
    expect_text(before, "state", "running");
    expect_number(before, "generation", generation);
    pid_t pid = (pid_t)number_in(before, "pid");
    cr_assert(process_is_alive(pid));
    json_t *row = service_row_of(&bed, "demo", "web");
    char *spec_hash = strdup(text_in(row, "spec_hash"));
    json_decref(row);
    expect_dry_run(&bed, "keep", generation);

    testbed_kill_everything(&bed);
    cr_assert_not(process_is_alive(pid), "the service survived the loss of its supervisor");
    expect_dry_run(&bed, "start", generation);

    testbed_start(&bed);
    testbed_soloctl(&bed, &result, "-o", "json", "get", "services", NULL);
    expect_exit(&result, 0);
    json_t *after = only_item(&result);
    expect_text(after, "state", "running");
    expect_number(after, "generation", generation);
    cr_assert(process_is_alive((pid_t)number_in(after, "pid")));
    row = service_row_of(&bed, "demo", "web");
    expect_text(row, "spec_hash", spec_hash);
    json_decref(row);
    expect_dry_run(&bed, "keep", generation);

    for (int left_ms = 60000; left_ms > 0; left_ms -= 50, sleep_ms(50)) { /* it has just begun */
        testbed_soloctl(&bed, &result, "logs", "demo/web", NULL);
        expect_exit(&result, 0);
        if (strstr(result_out(&result), "serving on 8080") != NULL)
            break;
    }
    expect_contains(result_out(&result), "serving on 8080");
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "system_started", NULL, NULL), 2);
    cr_assert_eq(events_count(events, "service_deployed", "demo", "web"), 1);
    cr_assert_eq(events_count(events, "service_recovered", "demo", "web"), 1);
    cr_assert_eq(events_count(events, "recovery_started", NULL, NULL), 2);
    cr_assert_eq(events_count(events, "recovery_completed", NULL, NULL), 2);
    json_decref(events);

    testbed_soloctl(&bed, &result, "-o", "json", "kill", "demo/web", NULL);
    expect_exit(&result, 0);
    cr_assert_not(process_is_alive((pid_t)number_in(after, "pid")));
    json_decref(before);
    json_decref(after);
    free(spec_hash);
}

Test(tour, a_deployed_script_survives_the_loss_of_every_process)
{
    deploy_lose_all_and_come_back(0);
}

Test(tour, the_same_as_an_ordinary_user)
{
    deploy_lose_all_and_come_back(TESTBED_AS_USER);
}

Test(tour, a_deploy_after_a_clean_stop_comes_back_too)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "demo", "web");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    json_t *row = service_row_of(&bed, "demo", "web");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    json_decref(row);
}
