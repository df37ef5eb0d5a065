/* An older copy of the log, put back while Solo is down and while it runs: reading and killing
 * work, nothing is begun, and an operator decides. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/expect.h"
#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(forked, .timeout = 180);

enum { PATIENCE_MS = 60000 };

static struct testbed bed;
static char store[400], copy[400], anchor[400], vault[400], vault_copy[400];

static void put_copy_back(void)
{
    files_copy(&bed, copy, store);
}

/* acme/kept is in the copy, acme/lost was deployed after it. Then Solo is stopped. */
static void set_up(void)
{
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/events", bed.data);
    snprintf(copy, sizeof copy, "%s/copy", bed.dir);
    snprintf(vault, sizeof vault, "%s/vault", bed.data);
    snprintf(vault_copy, sizeof vault_copy, "%s/vault-copy", bed.dir);
    snprintf(anchor, sizeof anchor, "%s/events.anchor", bed.data);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "kept");
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/cp", "-a", store, copy, NULL);
    files_change(&bed, "/bin/cp", "-a", vault, vault_copy, NULL);
    testbed_start(&bed);
    service_await(&bed, "acme", "kept", "running", PATIENCE_MS);
    service_deploy_sleeper(&bed, "acme", "lost");
    json_decref(testbed_ask(&bed, "tokend", "token.status", NULL));
}

static void tear_down(void)
{
    testbed_close(&bed);
}

static void expect_deploy_refused(void)
{
    struct problem problem = { 0 };
    json_t *spec = service_spec(&bed, "acme", "new", "sleeper", NULL);
    enum status status = service_try_deploy(&bed, spec, NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, NULL);
    expect_contains(problem.message, "FORKED");
    expect_contains(problem.message, "recoveryd resolve --keep log");
}

static void expect_said(void)
{
    AUTO(result_close) struct result dry = { 0 }, real = { 0 }, status = { 0 }, verified = { 0 };
    testbed_recoveryd(&bed, &dry, "--dry-run", "--detailed-exitcode", NULL);
    expect_exit(&dry, 3);
    expect_contains(result_out(&dry), "FORKED");
    testbed_recoveryd(&bed, &real, NULL);
    expect_exit(&real, 6);
    expect_contains(result_out(&real), "FORKED");
    expect_contains(result_err(&real), "resolve --keep log");
    testbed_soloctl(&bed, &status, "status", "--check", NULL);
    expect_exit(&status, 3);
    expect_contains(result_out(&status), "FORKED");
    testbed_recoveryd(&bed, &verified, "verify", NULL);
    expect_contains(result_out(&verified), "log_forked");
}

static void resolve(void)
{
    AUTO(result_close) struct result resolved = { 0 }, again = { 0 };
    testbed_recoveryd(&bed, &resolved, "resolve", "--keep", "log", NULL);
    expect_exit(&resolved, 0);
    testbed_recoveryd(&bed, &again, "resolve", "--keep", "log", NULL);
    expect_exit(&again, 6);
}

static void launch_forked(void)
{
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
}

Test(forked, an_older_copy_put_back_while_solo_is_down, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result dry = { 0 }, gone = { 0 };
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_recoveryd(&bed, &gone, "--dry-run", "--detailed-exitcode", NULL);
    expect_exit(&gone, 3);
    expect_contains(result_out(&gone), "none: it is gone\nFORKED");
    testbed_recoveryd(&bed, &gone, NULL);
    expect_exit(&gone, 6);
    put_copy_back();
    testbed_recoveryd(&bed, &dry, "--dry-run", "-o", "json", NULL);
    expect_exit(&dry, 0);
    expect_contains(result_out(&dry), "events.anchor knows event");
    launch_forked();
    cr_assert_eq(service_pid(&bed, "acme", "kept"), 0, "nothing is recovered by it");
    expect_deploy_refused();
    expect_said();
    service_kill(&bed, "acme", "kept");
    resolve();
    service_deploy_sleeper(&bed, "acme", "new");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "new", "running", PATIENCE_MS);
    cr_assert_eq(service_pid(&bed, "acme", "kept"), 0);
}

static const char *const hashes[] = {
    "hex:aa00000000000000000000000000000000000000000000000000000000000000",
    "hex:bb00000000000000000000000000000000000000000000000000000000000000",
    "hex:cc00000000000000000000000000000000000000000000000000000000000000",
    "hex:dd00000000000000000000000000000000000000000000000000000000000000",
};

static void grant_token(const char *hash)
{
    json_decref(testbed_ask(&bed, "tokend", "token.grant",
                            json_pack("{s:s, s:[s], s:s}", "tenant", "acme", "permissions", "read",
                                      "token_hash", hash)));
}

static void await_tokens_told(void)
{
    for (int waited = 0;; waited += 20) {
        json_t *status = testbed_ask(&bed, "tokend", "token.status", NULL);
        bool is_empty = strcmp(text_in(status, "outbox_state"), "empty") == 0;
        cr_assert(is_empty || waited < PATIENCE_MS, "%s", text_in(status, "outbox_reason"));
        json_decref(status);
        if (is_empty)
            return;
        sleep_ms(20);
    }
}

static size_t tokens_told(void)
{
    size_t count = 0, i;
    json_t *events = events_after(&bed, 0), *event;
    json_array_foreach(events, i, event) count +=
        strcmp(text_in(event, "type"), "capability_granted") == 0;
    json_decref(events);
    return count;
}

/* The right store put back: nothing was changed, so nothing is to be resolved. What tokend did
 * meanwhile is told to the right one. */
Test(forked, the_newer_store_put_back_is_whole, .init = set_up, .fini = tear_down)
{
    char newer[400];
    snprintf(newer, sizeof newer, "%s/newer", bed.dir);
    for (int i = 0; i < 2; i++) {
        grant_token(hashes[i]);
        await_tokens_told();
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/cp", "-a", store, newer, NULL);
    put_copy_back();
    launch_forked();
    expect_deploy_refused();
    grant_token(hashes[2]);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_copy(&bed, newer, store);
    testbed_start(&bed);
    grant_token(hashes[3]);
    await_tokens_told();
    cr_assert_eq(tokens_told(), COUNT_OF(hashes));
    service_await(&bed, "acme", "lost", "running", PATIENCE_MS);
    service_deploy_sleeper(&bed, "acme", "new");
}

static bool is_forked(void)
{
    json_t *status = testbed_ask(&bed, "deployd", "system.status", NULL);
    json_t *log = json_object_get(json_object_get(status, "status"), "log");
    bool is = log != NULL && text_in(log, "forked") != NULL && text_in(log, "forked")[0] != '\0';
    json_decref(status);
    return is;
}

static void exchange_while_it_runs(void)
{
    pid_t eventd = testbed_daemon(&bed, "eventd");
    process_signal(eventd, SIGSTOP);
    put_copy_back();
    process_signal(eventd, SIGKILL);
    for (int waited = 0; !is_forked(); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "it was noticed");
        sleep_ms(50);
    }
}

Test(forked, an_older_copy_put_back_while_solo_runs, .init = set_up, .fini = tear_down)
{
    pid_t kept = service_pid(&bed, "acme", "kept"), lost = service_pid(&bed, "acme", "lost");
    exchange_while_it_runs();
    expect_deploy_refused();
    expect_said();
    sleep_ms(500);
    cr_assert_eq(service_pid(&bed, "acme", "kept"), kept, "what runs goes on");
    cr_assert_eq(service_pid(&bed, "acme", "lost"), lost);
    service_kill(&bed, "acme", "lost");
    cr_assert_eq(service_pid(&bed, "acme", "lost"), 0);
    resolve();
    service_deploy_sleeper(&bed, "acme", "new");
}

static void exchange_under_eventd(const char *program, const char *first, const char *second,
                                  const char *third)
{
    pid_t kept = service_pid(&bed, "acme", "kept"), lost = service_pid(&bed, "acme", "lost");
    pid_t eventd = testbed_daemon(&bed, "eventd");
    log_settled_id(&bed);
    files_change(&bed, program, first, second, third, NULL);
    for (int waited = 0; !is_forked(); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "it was noticed");
        sleep_ms(50);
    }
    cr_assert(process_wait_gone(eventd, PATIENCE_MS), "who served another log has ended");
    testbed_await_new_daemon(&bed, "eventd", eventd);
    sleep_ms(500);
    cr_assert_eq(service_pid(&bed, "acme", "kept"), kept, "what runs goes on");
    cr_assert_eq(service_pid(&bed, "acme", "lost"), lost);
    expect_deploy_refused();
}

Test(forked, an_older_file_moved_in_place_under_eventd, .init = set_up, .fini = tear_down)
{
    char from[450], to[450];
    snprintf(from, sizeof from, "%s/data.mdb", copy);
    snprintf(to, sizeof to, "%s/data.mdb", store);
    exchange_under_eventd("/bin/mv", from, to, NULL);
}

Test(forked, an_older_file_written_over_the_one_under_eventd, .init = set_up, .fini = tear_down)
{
    char from[450], to[450];
    snprintf(from, sizeof from, "if=%s/data.mdb", copy);
    snprintf(to, sizeof to, "of=%s/data.mdb", store);
    exchange_under_eventd("/bin/dd", from, to, "conv=notrunc");
}

/* The file is gone with the newer store: tokend and vaultd know it, too. */
Test(forked, the_other_stores_know, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result granted = { 0 };
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&granted, 0);
    log_settled_id(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    put_copy_back();
    cr_assert_eq(unlink(anchor), 0);
    launch_forked();
    for (int waited = 0; !is_forked(); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "it was noticed");
        sleep_ms(50);
    }
    expect_deploy_refused();
    cr_assert_eq(service_pid(&bed, "acme", "kept"), 0, "nothing is recovered by it");
}

/* It was away, and is put back: what the other stores did meanwhile is told to it. */
Test(forked, a_log_that_was_away_is_what_it_was_when_it_comes_back, .init = set_up,
     .fini = tear_down)
{
    char away[400], anchor_away[400];
    snprintf(away, sizeof away, "%s/away", bed.dir);
    snprintf(anchor_away, sizeof anchor_away, "%s/anchor-away", bed.dir);
    cr_assert_eq(secret_put(&bed, "acme", "db", "before"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "db", "before"), STATUS_OK);
    vault_await_told(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/mv", store, away, NULL);
    files_change(&bed, "/bin/mv", anchor, anchor_away, NULL);
    launch_forked();
    for (int waited = 0; !is_forked(); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "it was noticed");
        sleep_ms(50);
    }
    cr_assert_eq(secret_put(&bed, "acme", "db", "meanwhile"), STATUS_OK);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-rf", store, anchor, NULL);
    files_change(&bed, "/bin/mv", away, store, NULL);
    files_change(&bed, "/bin/mv", anchor_away, anchor, NULL);
    testbed_start(&bed);
    expect_secret(&bed, "acme", "db", "meanwhile");
    cr_assert_eq(secret_put(&bed, "acme", "db", "after"), STATUS_OK);
    vault_await_told(&bed);
    service_await(&bed, "acme", "lost", "running", PATIENCE_MS);
}

/* With the folder all that was numbered is gone. The vault goes on, once the log is kept; of the
 * tokens nobody knows what was revoked. */
Test(forked, what_others_have_to_tell_reaches_a_log_that_began_anew, .init = set_up,
     .fini = tear_down)
{
    AUTO(result_close) struct result granted = { 0 };
    char tokens[400];
    snprintf(tokens, sizeof tokens, "%s/tokens", bed.data);
    cr_assert_eq(secret_put(&bed, "acme", "db", "before"), STATUS_OK);
    grant_token(hashes[0]);
    vault_await_told(&bed);
    await_tokens_told();
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, anchor, NULL);
    launch_forked();
    for (int waited = 0; !is_forked(); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "it was noticed");
        sleep_ms(50);
    }
    cr_assert_eq(secret_put(&bed, "acme", "db", "meanwhile"), STATUS_OK);
    resolve();
    cr_assert_eq(secret_put(&bed, "acme", "db", "after"), STATUS_OK);
    vault_await_told(&bed);
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&granted, status_exit_code(STATUS_FAILED_PRECONDITION));
    expect_contains(result_err(&granted), "move these tokens away");
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", tokens, NULL);
    testbed_start(&bed);
    grant_token(hashes[1]);
    await_tokens_told();
    service_deploy_sleeper(&bed, "acme", "new");
}

static bool says(const char *program, const char *text)
{
    AUTO(result_close) struct result result = { 0 };
    if (strcmp(program, "status") == 0)
        testbed_soloctl(&bed, &result, "status", NULL);
    else
        testbed_recoveryd(&bed, &result, "verify", NULL);
    return strstr(result_out(&result), text) != NULL;
}

/* An older log of which nobody knows that it is: what a supervisor counted on is not in it, and
 * what it reports never passes. */
Test(forked, a_supervisor_whose_reports_never_pass_is_told, .init = set_up, .fini = tear_down)
{
    pid_t supervisor = testbed_supervisor(&bed, "acme");
    log_settled_id(&bed);
    testbed_kill_solod(&bed);
    put_copy_back();
    files_copy(&bed, vault_copy, vault);
    cr_assert_eq(unlink(anchor), 0);
    launch_forked();
    process_signal(service_pid(&bed, "acme", "kept"), SIGKILL); /* there is something to report */
    for (int waited = 0; !says("status", "what a supervisor reports"); waited += 200) {
        cr_assert_lt(waited, PATIENCE_MS, "nobody is told");
        sleep_ms(200);
    }
    cr_assert(says("verify", "reports_stuck"));
    event_await(&bed, 0, "inconsistency_found", "acme", NULL, PATIENCE_MS);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "inconsistency_found", "acme", NULL), 1);
    json_decref(events);
    process_signal(supervisor, SIGKILL); /* as verify says */
    testbed_await_new_supervisor(&bed, "acme", supervisor);
    service_await(&bed, "acme", "kept", "running", PATIENCE_MS);
    cr_assert_not(says("status", "what a supervisor reports"));
    cr_assert_not(says("verify", "reports_stuck"));
}
