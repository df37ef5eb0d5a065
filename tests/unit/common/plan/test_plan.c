#include "tests/support/criterion.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/plan/plan.h"

enum { WANTED_GENERATION = 50, OTHER_GENERATION = 40, KILLED_BY = 60, PID = 5210 };

static struct plan_wanted wanted_of(const char *tenant, const char *name)
{
    return (struct plan_wanted){
        .tenant = tenant,
        .name = name,
        .row = { .generation = WANTED_GENERATION, .since = WANTED_GENERATION + 5 },
        .obstacle = PLAN_CODE_none,
    };
}

static struct plan_actual actual_of(const char *tenant, const char *name, enum service_state state)
{
    return (struct plan_actual){
        .tenant = tenant,
        .name = name,
        .state = state,
        .generation = WANTED_GENERATION,
        .since = WANTED_GENERATION + 5,
        .pid = PID,
        .is_held = true,
        .has_record = true,
    };
}

/* The rules of docs/recovery.md, written a second time and in another order than the planner has
 * them: what is expected for one service. PLAN_CODES means that it does not appear. */
static enum plan_code expected_code(const struct plan_wanted *wanted,
                                    const struct plan_actual *actual, bool is_new_run)
{
    bool has_process = actual != NULL && service_state_has_process(actual->state);
    bool is_there = actual != NULL && (actual->is_held || has_process);
    if (wanted == NULL) {
        if (!is_there || actual->state == SERVICE_completed || actual->state == SERVICE_failed ||
            actual->state == SERVICE_wanted)
            return PLAN_CODES;
        return actual->has_record ? PLAN_CODE_was_killed : PLAN_CODE_no_record;
    }
    bool is_same = actual != NULL && actual->generation == wanted->row.generation;
    bool is_idle = is_same && (actual->state == SERVICE_parked || actual->state == SERVICE_failed);
    if (is_there && actual->is_held && is_same && !(is_idle && is_new_run))
        return actual->state == SERVICE_running              ? PLAN_CODE_running
               : actual->state == SERVICE_waiting_for_secret ? PLAN_CODE_secret_sealed
                                                             : PLAN_CODE_held;
    if (wanted->obstacle != PLAN_CODE_none)
        return wanted->obstacle;
    if (is_idle && is_new_run)
        return actual->state == SERVICE_parked ? PLAN_CODE_was_parked : PLAN_CODE_was_failed;
    if (!is_there)
        return PLAN_CODE_not_running;
    return actual->is_held ? PLAN_CODE_other_generation : PLAN_CODE_unsupervised;
}

static const enum plan_action actions[] = {
#define PLAN_CODE(name, action, words) [PLAN_CODE_##name] = PLAN_##action,
#include "common/plan/plan_codes.def"
#undef PLAN_CODE
};

static void check_one(const struct plan_wanted *wanted, const struct plan_actual *actual,
                      bool is_new_run, const char *what)
{
    AUTO(plan_close) struct plan plan = { 0 };
    cr_assert_eq(plan_make(wanted, wanted == NULL ? 0 : 1, actual, actual == NULL ? 0 : 1,
                           is_new_run, &plan),
                 STATUS_OK);
    enum plan_code code = expected_code(wanted, actual, is_new_run);
    if (code == PLAN_CODES) {
        cr_assert_eq(plan.count, 0, "%s", what);
        return;
    }
    cr_assert_eq(plan.count, 1, "%s", what);
    const struct plan_entry *entry = &plan.entries[0];
    cr_assert_eq(entry->code, code, "%s: %s, expected %s", what, plan_code_name(entry->code),
                 plan_code_name(code));
    cr_assert_eq(entry->action, actions[code], "%s", what);
    cr_assert_eq(plan.of[entry->action], 1);
    cr_assert_str_not_empty(entry->reason);
    cr_assert_str_eq(entry->tenant, "acme");
    cr_assert_str_eq(entry->name, "api");
    if (wanted != NULL) {
        cr_assert_eq(entry->generation, WANTED_GENERATION);
        cr_assert_eq(entry->since, WANTED_GENERATION + 5);
        cr_assert_eq(entry->evidence, WANTED_GENERATION + 5, "%s", what);
    } else {
        cr_assert_eq(entry->generation, actual->generation);
        cr_assert_eq(entry->evidence, actual->has_record ? actual->killed_by : 0, "%s", what);
    }
    bool has_process = actual != NULL && service_state_has_process(actual->state);
    cr_assert_eq(entry->pid, has_process ? PID : 0, "%s", what);
    bool is_change =
        entry->action == PLAN_START || entry->action == PLAN_REPLACE || entry->action == PLAN_STOP;
    cr_assert_eq(plan_has_changes(&plan), is_change);
    cr_assert_eq(plan_needs_person(&plan),
                 entry->action == PLAN_CANNOT_RECOVER || entry->action == PLAN_REPORT);
}

/* Each wanted state against each actual one, in a new run and within one. */
Test(plan, every_pair_of_wanted_and_actual_has_its_action)
{
    static const enum plan_code obstacles[] = {
        PLAN_CODE_none,
        PLAN_CODE_interpreter_missing,
        PLAN_CODE_program_missing,
        PLAN_CODE_secret_sealed,
        PLAN_CODE_build_failed,
        PLAN_CODE_spec_invalid,
        PLAN_CODE_working_dir_missing,
    };
    int checked = 0;
    for (size_t w = 0; w <= COUNT_OF(obstacles); w++) {
        struct plan_wanted row = wanted_of("acme", "api");
        if (w > 0) {
            row.obstacle = obstacles[w - 1];
            row.obstacle_detail = row.obstacle == PLAN_CODE_none ? NULL : "python3.12 not found";
        }
        const struct plan_wanted *wanted = w == 0 ? NULL : &row;
        for (int is_new_run = 0; is_new_run < 2; is_new_run++) {
            if (wanted != NULL)
                check_one(wanted, NULL, is_new_run, "nothing there");
            for (unsigned bits = 0; bits < 16; bits++)
                for (int state = 0; state < SERVICE_STATES; state++) {
                    struct plan_actual actual = actual_of("acme", "api", (enum service_state)state);
                    actual.generation = (bits & 1) != 0 ? OTHER_GENERATION : WANTED_GENERATION;
                    actual.is_held = (bits & 2) != 0;
                    actual.has_record = (bits & 4) != 0;
                    actual.killed_by = (bits & 8) != 0 ? KILLED_BY : 0;
                    char what[128];
                    snprintf(what, sizeof what,
                             "wanted %zu, state %s, generation %d, held %d, record %d, new run %d",
                             w, service_state_name(actual.state), (int)actual.generation,
                             actual.is_held, actual.has_record, is_new_run);
                    check_one(wanted, &actual, is_new_run, what);
                    checked++;
                }
        }
    }
    cr_assert_eq(checked, 8 * 2 * 16 * SERVICE_STATES);
}

/* The same, as a person would say it: what each row of the example in docs/recovery.md comes from.
 */
static struct plan_entry plan_one(const struct plan_wanted *wanted,
                                  const struct plan_actual *actual, bool is_new_run)
{
    AUTO(plan_close) struct plan plan = { 0 };
    cr_assert_eq(plan_make(wanted, wanted == NULL ? 0 : 1, actual, actual == NULL ? 0 : 1,
                           is_new_run, &plan),
                 STATUS_OK);
    cr_assert_eq(plan.count, 1);
    return plan.entries[0];
}

Test(plan, reasons_name_generations_pids_and_programs)
{
    struct plan_wanted wanted = wanted_of("acme", "api");
    struct plan_actual actual = actual_of("acme", "api", SERVICE_running);
    cr_assert_str_eq(plan_one(&wanted, NULL, true).reason, "wanted, not running");
    cr_assert_str_eq(plan_one(&wanted, &actual, true).reason, "runs as wanted");

    actual.generation = OTHER_GENERATION;
    cr_assert_str_eq(plan_one(&wanted, &actual, true).reason, "runs generation 40, log wants 50");
    actual.state = SERVICE_backoff;
    cr_assert_str_eq(plan_one(&wanted, &actual, true).reason,
                     "holds (backoff) generation 40, log wants 50");
    actual.generation = WANTED_GENERATION;
    cr_assert_str_eq(plan_one(&wanted, &actual, true).reason, "its supervisor holds it: backoff");

    actual.state = SERVICE_running;
    actual.killed_by = KILLED_BY;
    cr_assert_str_eq(plan_one(NULL, &actual, true).reason, "pid 5210 still runs, was killed");
    actual.killed_by = 0;
    cr_assert_str_eq(plan_one(NULL, &actual, true).reason, "pid 5210 still runs, is not wanted");
    actual.has_record = false;
    cr_assert_str_eq(plan_one(NULL, &actual, true).reason, "pid 5210 runs without any record");

    wanted.obstacle = PLAN_CODE_interpreter_missing;
    wanted.obstacle_detail = "python3.12 not found";
    cr_assert_str_eq(plan_one(&wanted, NULL, true).reason, "interpreter python3.12 not found");
    actual.has_record = true;
    actual.generation = OTHER_GENERATION;
    cr_assert_str_eq(plan_one(&wanted, &actual, true).reason,
                     "interpreter python3.12 not found; generation 40 still runs");
}

Test(plan, the_code_of_a_missing_program_follows_the_field)
{
    cr_assert_eq(plan_code_of_program("interpreter"), PLAN_CODE_interpreter_missing);
    cr_assert_eq(plan_code_of_program("argv[0]"), PLAN_CODE_program_missing);
    cr_assert_eq(plan_code_of_program("working_dir"), PLAN_CODE_working_dir_missing);
}

/* Its row says so, and it is of this run and of this generation. */
Test(plan, what_failed_in_this_run_is_known_to_be_hopeless)
{
    struct plan_wanted wanted = wanted_of("acme", "api");
    wanted.obstacle = PLAN_CODE_program_missing;
    struct plan_actual actual = actual_of("acme", "api", SERVICE_failed);
    actual.is_held = false;
    actual.pid = 0;
    cr_assert(plan_one(&wanted, &actual, false).is_known);
    cr_assert_eq(plan_one(&wanted, &actual, false).action, PLAN_CANNOT_RECOVER);
    cr_assert_not(plan_one(&wanted, &actual, true).is_known);
    cr_assert_not(plan_one(&wanted, NULL, false).is_known);
    actual.generation = OTHER_GENERATION;
    cr_assert_not(plan_one(&wanted, &actual, false).is_known);
}

Test(plan, a_doubt_makes_the_outcome_open_but_not_the_action)
{
    struct plan_wanted wanted = wanted_of("acme", "api");
    wanted.obstacle_detail = "tool cannot be executed by us";
    struct plan_entry entry = plan_one(&wanted, NULL, true);
    cr_assert_eq(entry.action, PLAN_START);
    cr_assert(entry.is_open);
    cr_assert_str_eq(entry.reason, "wanted, not running; tool cannot be executed by us");
    struct plan_actual actual = actual_of("acme", "api", SERVICE_running);
    cr_assert_not(plan_one(&wanted, &actual, true).is_open);
}

Test(plan, a_higher_since_of_the_same_generation_is_kept)
{
    struct plan_wanted wanted = wanted_of("acme", "api");
    struct plan_actual actual = actual_of("acme", "api", SERVICE_running);
    actual.since = WANTED_GENERATION; /* a fallback made it current again */
    cr_assert_eq(plan_one(&wanted, &actual, true).action, PLAN_KEEP);
}

Test(plan, entries_are_sorted_by_urgency_then_name)
{
    /* '-' sorts before '/': the order is that of TENANT/NAME, not of tenants. */
    struct plan_wanted wanted[] = {
        wanted_of("a-b", "one"), wanted_of("a", "kept"), wanted_of("a", "lost"),
        wanted_of("a", "new"),   wanted_of("b", "old"),
    };
    wanted[0].obstacle = PLAN_CODE_program_missing;
    struct plan_actual actual[] = {
        actual_of("a", "dead", SERVICE_running),
        actual_of("a", "kept", SERVICE_running),
        actual_of("b", "old", SERVICE_running),
        actual_of("c", "stray", SERVICE_running),
    };
    actual[2].generation = OTHER_GENERATION;
    actual[3].has_record = false;
    AUTO(plan_close) struct plan plan = { 0 };
    cr_assert_eq(plan_make(wanted, COUNT_OF(wanted), actual, COUNT_OF(actual), true, &plan),
                 STATUS_OK);
    static const char *const expected[] = {
        "cannot_recover a-b/one", "report c/stray", "stop a/dead", "replace b/old",
        "start a/lost",           "start a/new",    "keep a/kept",
    };
    cr_assert_eq(plan.count, COUNT_OF(expected));
    for (size_t i = 0; i < plan.count; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s %s/%s", plan_action_name(plan.entries[i].action),
                 plan.entries[i].tenant, plan.entries[i].name);
        cr_assert_str_eq(line, expected[i]);
    }
    cr_assert_eq(plan.of[PLAN_START], 2);
    cr_assert(plan_has_changes(&plan));
    cr_assert(plan_needs_person(&plan));
}

Test(plan, nothing_wanted_and_nothing_there_is_an_empty_plan)
{
    AUTO(plan_close) struct plan plan = { 0 };
    cr_assert_eq(plan_make(NULL, 0, NULL, 0, true, &plan), STATUS_OK);
    cr_assert_eq(plan.count, 0);
    cr_assert_not(plan_has_changes(&plan));
    cr_assert_not(plan_needs_person(&plan));
}

Test(plan, a_long_detail_is_cut)
{
    char detail[1000];
    memset(detail, 'x', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    struct plan_wanted wanted = wanted_of("acme", "api");
    wanted.obstacle = PLAN_CODE_spec_invalid;
    wanted.obstacle_detail = detail;
    struct plan_actual actual = actual_of("acme", "api", SERVICE_running);
    actual.generation = OTHER_GENERATION;
    cr_assert_eq(strlen(plan_one(&wanted, &actual, false).reason), REASON_BYTES_MAX - 1);
}

Test(plan, names_are_those_of_the_files)
{
    cr_assert_str_eq(plan_action_name(PLAN_CANNOT_RECOVER), "cannot_recover");
    cr_assert_str_eq(plan_action_name(PLAN_KEEP), "keep");
    cr_assert_str_eq(plan_code_name(PLAN_CODE_not_running), "not_running");
}

static int sign_of(int order)
{
    return (order > 0) - (order < 0);
}

Test(plan, services_are_compared_as_their_keys_are)
{
    static const char *const names[] = { "a", "a-b", "a.b", "a0", "ab", "b", "b-", "a-" };
    for (size_t i = 0; i < 64 * 64; i++) {
        const char *a_tenant = names[i % 8], *a_name = names[i / 8 % 8];
        const char *b_tenant = names[i / 64 % 8], *b_name = names[i / 512];
        char a[SERVICE_KEY_BYTES], b[SERVICE_KEY_BYTES];
        int expected = strcmp(service_key(a, a_tenant, a_name), service_key(b, b_tenant, b_name));
        cr_assert_eq(sign_of(plan_service_compare(a_tenant, a_name, b_tenant, b_name)),
                     sign_of(expected), "%s %s", a, b);
    }
}
