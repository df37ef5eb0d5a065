/* Searches in a log as eventd writes it. The store is closed before it is mapped: one environment
 * is never open twice in a process. */
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/wire/writer.h"
#include "deployd/event_map.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_cutting.h"
#include "tests/unit/eventd/log_fixture.h"

#define API "service/acme/api"

static struct event_map map;

static void begin(void)
{
    fixture_open();
}

static void end(void)
{
    event_map_close(&map);
    fixture_close();
}

TestSuite(event_map, .init = begin, .fini = end);

static uint64_t append(const char *type, const char *subject, struct span payload)
{
    struct rpc_call call = call_of_daemon("deployd");
    const char *tenant = strcmp(subject, "system") == 0 ? "" : "acme";
    const struct event_append_request request = request_of(type, tenant, subject, payload);
    return must_append(&call, &request);
}

static void map_it(void)
{
    event_store_close(&store);
    cr_assert_eq(event_map_open(&map, fixture_data_dir()), STATUS_OK);
}

static struct generation_outcome outcome_of(uint64_t generation)
{
    struct generation_outcome outcome;
    cr_assert_eq(event_map_outcome(&map, API, generation, &outcome), STATUS_OK);
    return outcome;
}

Test(event_map, is_not_there_before_eventd_made_it)
{
    cr_assert_eq(event_map_open(&map, "/nonexistent"), STATUS_NOT_FOUND);
}

static enum status read_map(void)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    enum status status = event_map_begin(&map, &txn);
    event_map_turn_ended(&map);
    return status;
}

/* The same log in another file. */
static void exchange(void)
{
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    char path[4096], beside[4096];
    cr_assert_eq(path_join(path, map.dir, "data.mdb"), STATUS_OK);
    cr_assert_eq(path_join(beside, map.dir, "beside"), STATUS_OK);
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    cr_assert_eq(file_write(beside, buffer_span(&file), 0640), STATUS_OK);
    cr_assert_eq(rename(beside, path), 0);
}

Test(event_map, what_was_put_in_place_under_eventd_is_read_when_the_next_one_serves_it)
{
    append("service_deployed", API, payload_deploy("a"));
    map_it();
    event_map_connected(&map, true);
    cr_expect_eq(read_map(), STATUS_OK);
    exchange();
    cr_expect_eq(read_map(), STATUS_UNAVAILABLE, "this eventd has another one open");
    event_map_connected(&map, false);
    event_map_connected(&map, true);
    cr_expect_eq(read_map(), STATUS_OK);
    cr_expect(map.was_replaced);
    event_map_connected(&map, false);
    exchange();
    event_map_connected(&map, true);
    cr_expect_eq(read_map(), STATUS_OK, "it was exchanged before this eventd began");
    cr_expect_eq(read_map(), STATUS_OK);
}

/* A disk that was unmounted for a while, a folder that somebody moved. */
Test(event_map, what_comes_back_under_the_same_eventd_is_read_again)
{
    char path[4096], aside[4096];
    append("service_deployed", API, payload_deploy("a"));
    map_it();
    event_map_connected(&map, true);
    cr_expect_eq(read_map(), STATUS_OK);
    cr_assert_eq(path_join(path, map.dir, "data.mdb"), STATUS_OK);
    cr_assert_eq(path_join(aside, map.dir, "aside"), STATUS_OK);
    cr_assert_eq(rename(path, aside), 0);
    cr_expect_eq(read_map(), STATUS_UNAVAILABLE);
    cr_expect_eq(read_map(), STATUS_UNAVAILABLE);
    cr_assert_eq(rename(aside, path), 0);
    cr_expect_eq(read_map(), STATUS_OK);
    cr_expect(map.was_replaced, "everything is read anew");
}

Test(event_map, is_opened_once)
{
    must_append(&(struct rpc_call){ .caller.kind = CALLER_OPERATOR },
                &(struct event_append_request){
                    .type = "app.x", .tenant = "", .subject = "", .source = "", .intent = "" });
    map_it();
    MDB_env *opened = map.db.env;
    cr_assert_eq(event_map_open(&map, fixture_data_dir()), STATUS_OK);
    cr_assert_eq(map.db.env, opened, "one environment of a file in a process");
}

Test(event_map, reads_what_is_wanted)
{
    struct live_row row;
    append("service_deployed", API, payload_deploy("a"));
    uint64_t second = append("service_deployed", API, payload_deploy("b"));
    append("service_deployed", "service/acme/other", payload_deploy("c"));
    append("service_killed", "service/acme/other", payload_text("x"));
    map_it();
    cr_assert_eq(event_map_live(&map, "acme", "api", &row), STATUS_OK);
    cr_assert_eq(row.generation, second);
    cr_assert_eq(event_map_live(&map, "acme", "other", &row), STATUS_OK);
    cr_assert_eq(row.generation, 0, "killed");
    uint64_t newest;
    cr_assert_eq(event_map_newest(&map, API, &newest), STATUS_OK);
    cr_assert_eq(newest, second);
    cr_assert_eq(event_map_newest(&map, "service/acme/none", &newest), STATUS_OK);
    cr_assert_eq(newest, 0);
}

static enum status find_request(const char *tenant, const struct uuid *id, const char *body,
                                struct request_record *found, struct problem *problem)
{
    const struct hash hash = hash_of(span_of_text(body));
    return event_map_request(&map, tenant, id, &hash, found, problem);
}

Test(event_map, finds_the_event_of_a_request)
{
    struct uuid id = uuid_draw(), other = uuid_draw();
    struct rpc_call call = call_of_daemon("deployd");
    const struct event_append_request request =
        request_of("service_deployed", "acme", API, payload_deploy("a"));
    call_identify(&call, &id, "body");
    uint64_t event = must_append(&call, &request);
    struct request_record found;
    struct problem problem = { 0 };
    append("service_deployed", API, payload_deploy("b"));
    map_it();
    cr_assert_eq(find_request("acme", &id, "body", &found, &problem), STATUS_OK);
    cr_assert_eq(found.event_id, event);
    cr_assert_eq(found.generation, event);
    cr_assert_eq(find_request("acme", &other, "body", &found, &problem), STATUS_OK);
    cr_assert_eq(found.event_id, 0);
}

static struct span payload_replaced(uint64_t generation)
{
    static struct buffer payload = { .limit = 4096 };
    buffer_clear(&payload);
    write_map(&payload, 2);
    write_str(&payload, "generation");
    write_u64(&payload, generation);
    write_str(&payload, "code");
    write_str(&payload, "replaced");
    return buffer_span(&payload);
}

/* Its request stands for the deploy, the last of the two. */
Test(event_map, a_deploy_that_ended_a_trial_replaced_it_and_is_found)
{
    struct uuid id = uuid_draw();
    struct rpc_call call = call_of_daemon("deployd");
    uint64_t ready = append("service_deployed", API, payload_deploy("a"));
    uint64_t trial = append("service_deployed", API, payload_deploy("b"));
    const struct event_append_request batch[] = {
        request_of("service_deployment_failed", "acme", API, payload_replaced(trial)),
        request_of("service_deployed", "acme", API, payload_deploy("c")),
    };
    struct append_outcome outcome;
    call_identify(&call, &id, "body");
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, batch, 2, &outcome), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    struct request_record found;
    struct problem problem = { 0 };
    struct live_row row;
    map_it();
    cr_assert_eq(find_request("acme", &id, "body", &found, &problem), STATUS_OK);
    cr_assert_eq(found.event_id, outcome.last_id);
    cr_assert_eq(found.generation, outcome.last_id);
    cr_assert_eq(outcome_of(trial).fate, FATE_REPLACED);
    cr_assert_eq(outcome_of(trial).event_id, outcome.last_id);
    cr_assert_eq(event_map_live(&map, "acme", "api", &row), STATUS_OK);
    cr_assert_eq(row.generation, outcome.last_id);
    cr_assert_eq(row.previous, ready);
}

/* Whatever differs, and whose request it is. */
Test(event_map, another_body_with_the_id_of_a_request_is_refused)
{
    struct uuid id = uuid_draw();
    struct rpc_call call = call_of_daemon("deployd");
    append("service_deployed", API, payload_deploy("a"));
    const struct event_append_request request =
        request_of("service_killed", "acme", API, payload_generation(7));
    call_identify(&call, &id, "body");
    uint64_t event = must_append(&call, &request);
    struct request_record found;
    struct problem problem = { 0 };
    map_it();
    cr_assert_eq(find_request("acme", &id, "body", &found, &problem), STATUS_OK);
    cr_assert_eq(found.event_id, event);
    cr_assert_eq(found.generation, 7);
    cr_assert_eq(find_request("acme", &id, "another body", &found, &problem), STATUS_ABORTED);
    cr_assert_eq(found.event_id, 0);
    cr_assert_str_eq(problem.field, "request_id");
    cr_assert_eq(find_request("beta", &id, "body", &found, &problem), STATUS_ABORTED);
}

static struct span payload_failed(uint64_t generation, const char *reason)
{
    static struct buffer payload = { .limit = 4096 };
    buffer_clear(&payload);
    write_map(&payload, 2);
    write_str(&payload, "generation");
    write_u64(&payload, generation);
    write_str(&payload, "reason");
    write_str(&payload, reason);
    return buffer_span(&payload);
}

Test(event_map, tells_what_became_of_a_generation)
{
    uint64_t replaced = append("service_deployed", API, payload_deploy("a"));
    uint64_t failed = append("service_deployed", API, payload_deploy("b"));
    append("service_deployment_failed", API, payload_failed(failed, "no interpreter"));
    uint64_t completed = append("service_deployed", API, payload_deploy("c"));
    append("service_completed", API, payload_generation(completed));
    uint64_t killed = append("service_deployed", API, payload_deploy("d"));
    uint64_t kill = append("service_killed", API, payload_generation(killed));
    uint64_t current = append("service_deployed", API, payload_deploy("e"));
    map_it();
    cr_assert_eq(outcome_of(replaced).fate, FATE_REPLACED);
    cr_assert_eq(outcome_of(replaced).event_id, failed);
    cr_assert_eq(outcome_of(failed).fate, FATE_FAILED);
    cr_assert_str_eq(outcome_of(failed).reason, "no interpreter");
    cr_assert_eq(outcome_of(completed).fate, FATE_COMPLETED);
    cr_assert_eq(outcome_of(killed).fate, FATE_KILLED);
    cr_assert_eq(outcome_of(killed).event_id, kill);
    cr_assert_eq(outcome_of(current).fate, FATE_UNKNOWN);
}

Test(event_map, finds_first_deploys_that_failed_and_stayed_so)
{
    static const char *const subjects[] = { "service/acme/again", "service/acme/killed",
                                            "service/acme/b" };
    uint64_t failures[3], ids[FAILED_DEPLOYS_MAX];
    uint64_t api = append("service_deployed", API, payload_deploy("a"));
    uint64_t first = append("service_deployment_failed", API, payload_failed(api, "exited"));
    append("service_stopped", API, payload_generation(api));
    for (size_t i = 0; i < 3; i++) {
        uint64_t generation = append("service_deployed", subjects[i], payload_deploy("a"));
        failures[i] =
            append("service_deployment_failed", subjects[i], payload_failed(generation, "x"));
    }
    append("service_deployed", subjects[0], payload_deploy("b"));
    append("service_killed", subjects[1], payload_text("x"));
    size_t count;
    struct failed_deploy failed;
    map_it();
    cr_assert_eq(event_map_failed_deploys(&map, ids, &count), STATUS_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(ids[0], first, "oldest first");
    cr_assert_eq(ids[1], failures[2]);
    cr_assert_eq(event_map_failed_deploy(&map, ids[0], &failed), STATUS_OK);
    cr_assert_str_eq(failed.tenant, "acme");
    cr_assert_str_eq(failed.name, "api");
    cr_assert_str_eq(failed.reason, "exited");
    cr_assert_eq(failed.generation, api);
}

Test(event_map, a_later_failure_is_not_an_earlier_generations)
{
    uint64_t first = append("service_deployed", API, payload_deploy("a"));
    uint64_t second = append("service_deployed", API, payload_deploy("b"));
    append("service_deployment_failed", API, payload_failed(second, "b"));
    map_it();
    cr_assert_eq(outcome_of(first).fate, FATE_REPLACED);
}

Test(event_map, knows_whether_a_generation_ever_ran)
{
    uint64_t first = append("service_deployed", API, payload_deploy("a"));
    append("service_started", API, payload_generation(first));
    uint64_t second = append("service_deployed", API, payload_deploy("b"));
    append("service_stopped", API, payload_generation(first));
    bool has_run = false;
    map_it();
    cr_assert_eq(event_map_has_run(&map, API, first, &has_run), STATUS_OK);
    cr_assert(has_run);
    cr_assert_eq(event_map_has_run(&map, API, second, &has_run), STATUS_OK);
    cr_assert_not(has_run);
}

Test(event_map, knows_what_a_start_was_for)
{
    struct rpc_call call = call_of_daemon("deployd");
    uint64_t generation = append("service_deployed", API, payload_deploy("a"));
    uint64_t done = append("service_restart_requested", API, payload_generation(generation));
    struct event_append_request request =
        request_of("service_restarted", "acme", API, payload_generation(generation));
    request.causation_id = done;
    must_append(&call, &request);
    uint64_t open = append("service_restart_requested", API, payload_generation(generation));
    request.causation_id = generation; /* by policy, after a crash */
    must_append(&call, &request);
    bool was_started = false;
    map_it();
    cr_assert_eq(event_map_was_started_for(&map, API, done, &was_started), STATUS_OK);
    cr_assert(was_started);
    cr_assert_eq(event_map_was_started_for(&map, API, open, &was_started), STATUS_OK);
    cr_assert_not(was_started);
}

/* Older than this many events is too old for one question. */
static void append_stops(unsigned count, uint64_t generation)
{
    for (unsigned i = 0; i < count; i++)
        append("service_stopped", API, payload_generation(generation));
}

Test(event_map, a_search_ends_at_its_bound, .timeout = 300)
{
    uint64_t generations[2];
    for (size_t i = 0; i < 2; i++)
        generations[i] = append("service_deployed", API, payload_deploy("a"));
    append_stops(LOG_SEARCH_MAX - 1, generations[1]);
    bool has_run = true, was_started = true;
    map_it();
    cr_assert_eq(event_map_has_run(&map, API, generations[1], &has_run), STATUS_OK);
    cr_assert_not(has_run);
    cr_assert_eq(event_map_was_started_for(&map, API, generations[1], &was_started), STATUS_OK);
    cr_assert_not(was_started);
    /* What lies behind the bound is not said to be missing. */
    cr_assert_eq(event_map_has_run(&map, API, generations[0], &has_run), STATUS_OK);
    cr_assert(has_run);
    cr_assert_eq(event_map_was_started_for(&map, API, generations[0], &was_started), STATUS_OK);
    cr_assert(was_started);
    cr_assert_eq(outcome_of(generations[0]).fate, FATE_REPLACED);
}

/* Everything up to `id` is archived; then it is looked at. */
static void cut_and_map(uint64_t id)
{
    fixture_cut(id);
    fixture_prune();
    map_it();
}

/* Its start is archived, its deploy and what was told about it last are still there. */
Test(event_map, what_is_archived_is_not_said_to_have_never_happened)
{
    bool has_run = false, was_started = false;
    uint64_t generation = append("service_deployed", API, payload_deploy("a"));
    append("service_started", API, payload_generation(generation));
    uint64_t restart = append("service_restart_requested", API, payload_generation(generation));
    append("service_restarted", API, payload_generation(generation));
    append("service_stopped", API, payload_generation(generation));
    append("service_started", "service/acme/other", payload_generation(generation));
    uint64_t cut = append("service_restarted", "service/acme/other", payload_generation(1));
    append("service_stopped", API, payload_generation(generation));
    uint64_t later = append("service_deployed", API, payload_deploy("b"));
    append("service_stopped", API, payload_generation(generation));
    cut_and_map(cut);
    cr_assert_eq(event_map_has_run(&map, API, generation, &has_run), STATUS_OK);
    cr_assert(has_run);
    cr_assert_eq(event_map_was_started_for(&map, API, restart, &was_started), STATUS_OK);
    cr_assert(was_started);
    cr_assert_eq(event_map_has_run(&map, API, later, &has_run), STATUS_OK);
    cr_assert_not(has_run, "all that came after it is there");
}

Test(event_map, a_deploy_that_nothing_followed_never_ran_archived_or_not)
{
    bool has_run = true;
    uint64_t generation = append("service_deployed", API, payload_deploy("a"));
    uint64_t cut = append("service_stopped", "service/acme/other", payload_generation(1));
    append("service_stopped", "service/acme/other", payload_generation(1));
    cut_and_map(cut);
    cr_assert_eq(event_map_has_run(&map, API, generation, &has_run), STATUS_OK);
    cr_assert_not(has_run);
}

/* Whether it was killed between its failure and what is known of it last, nobody can say. */
Test(event_map, a_failure_is_not_told_when_what_followed_is_archived)
{
    uint64_t ids[FAILED_DEPLOYS_MAX];
    size_t count = 1;
    uint64_t generation = append("service_deployed", API, payload_deploy("a"));
    append("service_deployment_failed", API, payload_failed(generation, "exited"));
    append("service_killed", API, payload_generation(generation));
    uint64_t cut = append("service_stopped", API, payload_generation(generation));
    append("service_stopped", "service/acme/other", payload_generation(1));
    cut_and_map(cut);
    cr_assert_eq(event_map_failed_deploys(&map, ids, &count), STATUS_OK);
    cr_assert_eq(count, 0);
}

static struct span payload_run(const char *run_id)
{
    static struct buffer payload = { .limit = 256 };
    buffer_clear(&payload);
    write_map(&payload, 1);
    write_str(&payload, "run_id");
    write_str(&payload, run_id);
    return buffer_span(&payload);
}

Test(event_map, finds_the_newest_run_and_its_recoveries)
{
    struct run_record run;
    append("system_started", "system", payload_run("first"));
    append("recovery_started", "system", payload_text("x"));
    append("recovery_completed", "system", payload_text("x"));
    uint64_t started = append("system_started", "system", payload_run("second"));
    map_it();
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_eq(run.started, started);
    cr_assert_str_eq(run.run_id, "second");
    cr_assert_eq(run.recovery_started, 0, "of the run before");
    event_map_close(&map);

    fixture_reopen();
    append("recovery_started", "system", payload_text("x"));
    append("recovery_completed", "system", payload_text("x"));
    uint64_t newest = append("recovery_started", "system", payload_text("x"));
    map_it();
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_eq(run.recovery_started, newest);
    cr_assert_eq(run.recovery_completed, 0, "that one has not ended");
}

static const char *end_in(const char *boot_id)
{
    static char end[RUN_END_BYTES];
    map_it();
    cr_assert_eq(event_map_run_end(&map, boot_id, end), STATUS_OK);
    event_map_close(&map);
    fixture_reopen();
    return end;
}

static void close_log(bool is_forced)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    write_map(&payload, 1);
    write_str(&payload, "forced");
    write_bool(&payload, is_forced);
    cr_assert_eq(
        event_store_append_alone(&store, EVENT_system_shutdown_complete, buffer_span(&payload)),
        STATUS_OK);
}

Test(event_map, tells_how_a_run_ended)
{
    static struct buffer payload = { .limit = 256 };
    write_map(&payload, 2);
    write_str(&payload, "run_id");
    write_str(&payload, "first");
    write_str(&payload, "boot_id");
    write_str(&payload, "this boot");
    cr_assert_str_eq(end_in("this boot"), "first");
    append("system_started", "system", buffer_span(&payload));
    cr_assert_str_eq(end_in("this boot"), "crash");
    cr_assert_str_eq(end_in("the next boot"), "power");
    append("system_shutdown_started", "system", payload_text("x"));
    cr_assert_str_eq(end_in("this boot"), "cut");
    close_log(true);
    cr_assert_str_eq(end_in("this boot"), "forced");
    append("system_started", "system", buffer_span(&payload));
    cr_assert_str_eq(end_in("this boot"), "crash", "the end before it was another run's");
    close_log(false);
    cr_assert_str_eq(end_in("this boot"), "clean");
    append("app.x", "x", payload_text("x"));
    cr_assert_str_eq(end_in("this boot"), "clean", "others may be faster than the next deployd");
    append("service_started", "service/acme/api", payload_text("x"));
    cr_assert_str_eq(end_in("this boot"), "crash", "the run went on: its end was called off");
    cr_assert_str_eq(end_in("the next boot"), "power");
}

static struct span payload_report(const char *state)
{
    static struct buffer payload = { .limit = 256 };
    buffer_clear(&payload);
    write_map(&payload, 1);
    write_str(&payload, "report");
    write_map(&payload, 3);
    write_str(&payload, "state");
    write_str(&payload, state);
    write_str(&payload, "done");
    write_u64(&payload, 3);
    write_str(&payload, "total");
    write_u64(&payload, 8);
    return buffer_span(&payload);
}

Test(event_map, tells_a_recovery_that_was_cut_from_one_that_is_done)
{
    struct run_record run;
    append("system_started", "system", payload_run("first"));
    append("recovery_started", "system", payload_text("x"));
    append("recovery_completed", "system", payload_report("cut"));
    map_it();
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_gt(run.recovery_completed, run.recovery_started);
    cr_assert(run.outcome.is_cut);
    cr_assert_eq(run.outcome.done, 3);
    cr_assert_eq(run.outcome.total, 8);
    event_map_close(&map);

    fixture_reopen();
    append("recovery_started", "system", payload_text("x"));
    append("recovery_completed", "system", payload_report("done"));
    map_it();
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_not(run.outcome.is_cut, "the newer one is done");
}

/* What archives the log says so about "system", too. */
Test(event_map, a_run_stays_known_when_its_beginning_is_archived)
{
    struct run_record run;
    uint64_t started = append("system_started", "system", payload_run("first"));
    uint64_t recovery = append("recovery_started", "system", payload_text("x"));
    uint64_t completed = append("recovery_completed", "system", payload_report("cut"));
    uint64_t cut = append("service_stopped", API, payload_generation(1));
    struct rpc_call call = call_of_daemon("eventd");
    struct event_append_request archived =
        request_of("log_archived", "", "system", payload_index(cut));
    must_append(&call, &archived);
    cut_and_map(cut);
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_eq(run.started, started);
    cr_assert_str_eq(run.run_id, "first");
    cr_assert_eq(run.recovery_started, recovery);
    cr_assert_eq(run.recovery_completed, completed);
    cr_assert_eq(run.outcome.done, 3);
}

Test(event_map, an_empty_log_knows_no_run)
{
    struct run_record run;
    map_it();
    cr_assert_eq(event_map_run(&map, &run), STATUS_OK);
    cr_assert_eq(run.started, 0);
}
