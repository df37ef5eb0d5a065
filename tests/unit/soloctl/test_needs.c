/* What a person is told to do: all of it, the most urgent first. */
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "soloctl/needs.h"
#include "tests/support/criterion.h"

static struct picture picture;
static struct needs needs;

static void add_program(const char *name, const char *state, const char *reason)
{
    struct program *program = &picture.programs.items[picture.programs.count++];
    snprintf(program->name, sizeof program->name, "%s", name);
    snprintf(program->state, sizeof program->state, "%s", state);
    snprintf(program->reason, sizeof program->reason, "%s", reason);
}

/* deployd's map: a recovery that was cut, and two services that need somebody. */
static void fill_system(const char *recovery)
{
    struct buffer map = { .limit = sizeof picture.system_bytes };
    write_map(&map, 3);
    write_str(&map, "tenants_stuck");
    write_map(&map, 1);
    write_str(&map, "count");
    write_u64(&map, 1);
    write_str(&map, "services");
    write_map(&map, 2);
    write_str(&map, "parked");
    write_u64(&map, 1);
    write_str(&map, "failed");
    write_u64(&map, 2);
    write_str(&map, "recovery");
    write_map(&map, 2);
    write_str(&map, "state");
    write_str(&map, recovery);
    write_str(&map, "exit_hint");
    write_str(&map, "7");
    memcpy(picture.system_bytes, map.data, map.size);
    picture.system = span_of(picture.system_bytes, map.size);
    buffer_close(&map);
}

static void start(const char *state)
{
    memset(&picture, 0, sizeof picture);
    snprintf(picture.state, sizeof picture.state, "%s", state);
    picture.programs.recovery_exit_code = -1;
}

static void expect(size_t index, const char *part)
{
    cr_assert_lt(index, needs.count, "nothing says %s", part);
    cr_assert_not_null(strstr(needs.texts[index], part), "%s", needs.texts[index]);
}

Test(needs, a_solo_that_is_well_needs_nobody)
{
    start("ready");
    add_program("eventd", "ready", "");
    needs_find(&picture, &needs);
    cr_assert_eq(needs.count, 0);
}

Test(needs, everything_is_said_and_not_the_first_alone)
{
    start("degraded");
    add_program("eventd", "ready", "there is no room for its store");
    add_program("tokend", "damaged", "its store is damaged");
    add_program("vaultd", "failed", "");
    fill_system("cut");
    picture.programs.recovery_exit_code = 7;
    snprintf(picture.silence, sizeof picture.silence, "the supervisor of tenant x");
    picture.has_tokens = picture.tokens.is_suspect = true;
    picture.vault.damaged_tenants = 1;
    needs_find(&picture, &needs);
    expect(0, "eventd: there is no room for its store");
    expect(1, "tokend: its store is damaged");
    expect(2, "`soloctl daemon restart vaultd`");
    expect(3, "run `recoveryd` again");
    expect(4, "the supervisor of tenant x");
    expect(5, "what a supervisor reports");
    expect(6, "services are parked");
    expect(7, "services have failed");
    expect(8, "`soloctl token trust-clock`");
    expect(9, "`soloctl vault verify`");
    cr_assert_eq(needs.count, 10);
}

/* "failed" and "wanted_not_running" of deployd's map. */
static void recovered(uint64_t failed, uint64_t not_running)
{
    struct buffer map = { .limit = sizeof picture.system_bytes };
    write_map(&map, 2);
    write_str(&map, "wanted_not_running");
    write_u64(&map, not_running);
    write_str(&map, "recovery");
    write_map(&map, 2);
    write_str(&map, "state");
    write_str(&map, "done");
    write_str(&map, "failed");
    write_u64(&map, failed);
    memcpy(picture.system_bytes, map.data, map.size);
    picture.system = span_of(picture.system_bytes, map.size);
    buffer_close(&map);
}

Test(needs, what_a_recovery_could_not_bring_back_is_said_until_all_runs)
{
    start("ready");
    recovered(1, 1);
    needs_find(&picture, &needs);
    expect(0, "could not bring everything back");
    memset(&needs, 0, sizeof needs);
    recovered(1, 0);
    needs_find(&picture, &needs);
    cr_assert_eq(needs.count, 0);
}

Test(needs, one_damage_is_said_once)
{
    start("ready");
    add_program("eventd", "damaged", "its store is damaged");
    add_program("deployd", "damaged", "the event store: its store is damaged");
    needs_find(&picture, &needs);
    expect(0, "its store is damaged");
    cr_assert_eq(needs.count, 1);
}

Test(needs, a_daemon_that_ends_again_and_again_is_named)
{
    start("starting");
    add_program("deployd", "backoff", "");
    needs_find(&picture, &needs);
    expect(0, "deployd has ended and is started again");
    cr_assert_eq(needs.count, 1);
}

Test(needs, what_passes_with_the_start_needs_nobody)
{
    start("recovering");
    fill_system("running");
    needs_find(&picture, &needs);
    cr_assert_eq(needs.count, 0);
}

Test(needs, who_is_refused_is_told_why_and_not_that_nobody_answers)
{
    start("");
    picture.deployd = problem_set(&picture.problem, STATUS_RESOURCE_EXHAUSTED, "",
                                  "too many connections of this user");
    picture_judge(&picture);
    cr_assert_str_eq(picture.reason,
                     "deployd refused to answer: too many connections of this user");
    cr_assert_str_eq(picture.state, "unknown");
    picture.deployd = problem_set(&picture.problem, STATUS_UNAVAILABLE, "", "no such socket");
    picture_judge(&picture);
    cr_assert_str_eq(picture.reason, "deployd does not answer: no such socket");
    cr_assert_str_eq(picture.state, "degraded");
}

/* To its parent it has started, and that is all that a parent can tell. */
Test(needs, who_does_not_answer_or_is_damaged_makes_it_degraded)
{
    start("");
    picture.programs.has_solod = true;
    snprintf(picture.programs.state, sizeof picture.programs.state, "ready");
    add_program("solod", "ready", "");
    picture_judge(&picture);
    cr_assert_str_eq(picture.state, "ready");
    add_program("eventd", "silent", "does not answer");
    add_program("vaultd", "damaged", "its store is damaged");
    picture_judge(&picture);
    cr_assert_str_eq(picture.state, "degraded");
    cr_assert_str_eq(picture.reason, "eventd does not answer, vaultd refuses its store");
    needs_find(&picture, &needs);
    cr_assert_eq(needs.count, 2);
    cr_assert_not_null(strstr(needs.texts[0], "soloctl daemon restart eventd"));
}

Test(needs, a_vault_that_cannot_open_needs_a_person)
{
    start("ready");
    snprintf(picture.vault_state, sizeof picture.vault_state, "sealed");
    snprintf(picture.vault_code, sizeof picture.vault_code, "sealed_by_operator");
    needs_find(&picture, &needs);
    cr_assert_eq(needs.count, 0);
    snprintf(picture.vault_code, sizeof picture.vault_code, "key_missing");
    needs_find(&picture, &needs);
    expect(0, "the vault cannot open");
}

Test(needs, below_systemd_the_journal_says_why_a_daemon_ended)
{
    start("starting");
    add_program("vaultd", "failed", "");
    add_program("deployd", "backoff", "");
    needs_find(&picture, &needs);
    expect(0, "its diagnostics say why");
    picture.programs.has_units = true;
    needs_find(&picture, &needs);
    expect(0, "`journalctl -u vaultd` says why");
    expect(1, "`journalctl -u deployd` says why");
}
