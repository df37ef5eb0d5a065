#include "tests/support/criterion.h"

#include <string.h>

#include "common/base/auto.h"
#include "recoveryd/report_json.h"
#include "recoveryd/report_text.h"

/* The example of docs/recovery.md. */
static struct plan_entry entries[] = {
    { .action = PLAN_CANNOT_RECOVER,
      .code = PLAN_CODE_interpreter_missing,
      .tenant = "gamma",
      .name = "etl",
      .generation = 17110,
      .evidence = 17110,
      .reason = "interpreter python3.12 not found" },
    { .action = PLAN_STOP,
      .code = PLAN_CODE_was_killed,
      .tenant = "beta",
      .name = "old-bot",
      .generation = 9,
      .running_generation = 9,
      .pid = 5210,
      .evidence = 18377,
      .reason = "pid 5210 still runs, was killed" },
    { .action = PLAN_REPLACE,
      .code = PLAN_CODE_other_generation,
      .tenant = "beta",
      .name = "bot",
      .generation = 18390,
      .running_generation = 18002,
      .evidence = 18390,
      .reason = "runs generation 18002, log wants 18390" },
    { .action = PLAN_START,
      .code = PLAN_CODE_not_running,
      .tenant = "acme",
      .name = "api",
      .generation = 18301,
      .evidence = 18301,
      .reason = "wanted, not running",
      .is_open = true },
    { .action = PLAN_KEEP,
      .code = PLAN_CODE_running,
      .tenant = "acme",
      .name = "db",
      .generation = 12,
      .evidence = 12,
      .reason = "runs as wanted" },
    { .action = PLAN_KEEP,
      .code = PLAN_CODE_running,
      .tenant = "acme",
      .name = "web",
      .generation = 13,
      .evidence = 13,
      .reason = "runs as wanted" },
};

static struct picture picture = {
    .log = { .exists = true,
             .last_event = 18442,
             .chain_from = 17443,
             .map_used_bytes = 12,
             .map_bytes = 100 },
    .tokens = { .exists = true, .has_digest = true, .valid = 212, .expired = 9 },
    .plan = { .entries = entries,
              .count = COUNT_OF(entries),
              .of = { [PLAN_CANNOT_RECOVER] = 1,
                      [PLAN_STOP] = 1,
                      [PLAN_REPLACE] = 1,
                      [PLAN_START] = 1,
                      [PLAN_KEEP] = 2 } },
};

static void assert_contains(const struct buffer *text, const char *part)
{
    cr_assert_not_null(memmem(text->data, text->size, part, strlen(part)), "%s\nin %.*s", part,
                       (int)text->size, (const char *)text->data);
}

static const struct vault_view sealed = { .state = "sealed" };

static void assert_text(const struct report *report, bool shows_all, const char *expected)
{
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    report_write_text(report, shows_all, &text);
    buffer_append(&text, "", 1);
    cr_assert_str_eq((char *)text.data, expected);
}

Test(report, a_plan_reads_as_documented)
{
    assert_text(
        &(struct report){ .picture = &picture, .vault = &sealed }, false,
        "Log      18442 events, chain intact from 17443, live projection matches; map 12% full\n"
        "Tokens   212 valid, 9 expired\n"
        "Vault    sealed\n"
        "\n"
        "  ! gamma/etl     cannot recover   interpreter python3.12 not found        (event 17110)\n"
        "  - beta/old-bot  stop             pid 5210 still runs, was killed         (event 18377)\n"
        "  ~ beta/bot      replace          runs generation 18002, log wants 18390  (event 18390)\n"
        "  + acme/api      start            wanted, not running (open)              (event 18301)\n"
        "  = 2 services    keep             (--all lists them)\n"
        "\n"
        "Plan: 1 to start, 1 to replace, 1 to stop, 2 to keep, 0 to wait, 0 to report, 1 cannot be "
        "recovered.\n");
}

Test(report, the_vault_reads_as_it_was_found)
{
    static const struct {
        struct vault_view view;
        const char *text, *json;
    } cases[] = {
        { { .state = "damaged" }, "Vault    damaged\n", "\"vault\": {\"state\": \"damaged\"}" },
        { { .state = "open", .secrets = 12, .versions = 15 },
          "Vault    open, 12 secrets, 15 versions\n",
          "\"vault\": {\"state\": \"open\", \"secrets\": 12, \"versions\": 15}" },
        { { .state = "open",
            .secrets = 12,
            .versions = 15,
            .is_verified = true,
            .verified_ns = 1,
            .readable = 15 },
          "Vault    open, 12 secrets, 15 versions: all readable\n",
          "\"readable\": 15, \"damaged\": 0" },
        { { .state = "open",
            .secrets = 12,
            .versions = 15,
            .is_verified = true,
            .verified_ns = 1,
            .readable = 11,
            .damaged = 4 },
          "Vault    open, 12 secrets, 15 versions: 11 readable, 4 damaged\n",
          "\"readable\": 11, \"damaged\": 4" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buffer_close) struct buffer text = { .limit = 65536 };
        const struct report report = { .picture = &picture, .vault = &cases[i].view };
        report_write_text(&report, false, &text);
        assert_contains(&text, cases[i].text);
        report_write_json(&report, &text);
        assert_contains(&text, cases[i].json);
    }
}

Test(report, all_lists_what_is_kept)
{
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    report_write_text(&(struct report){ .picture = &picture }, true, &text);
    buffer_append(&text, "", 1);
    cr_assert_not_null(strstr((char *)text.data, "= acme/db "));
    cr_assert_not_null(strstr((char *)text.data, "= acme/web "));
    cr_assert_null(strstr((char *)text.data, "--all"));
}

Test(report, nothing_ever_deployed_is_an_empty_plan)
{
    struct picture empty = { 0 };
    assert_text(&(struct report){ .picture = &empty }, false,
                "Log      none: nothing was ever deployed\nTokens   none\n\n"
                "Plan: 0 to start, 0 to replace, 0 to stop, 0 to keep, 0 to wait, 0 to report, 0 "
                "cannot be recovered.\n");
}

Test(report, a_plan_as_json_has_every_entry)
{
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    report_write_json(&(struct report){ .picture = &picture }, &text);
    assert_contains(&text,
                    "{\"kind\": \"recovery_plan\", \"schema\": 1, \"dry_run\": true, \"log\": "
                    "{\"last_event\": 18442, \"chain\": \"intact\"");
    assert_contains(&text,
                    "{\"action\": \"start\", \"tenant\": \"acme\", \"service\": \"api\", "
                    "\"generation\": 18301, \"code\": \"not_running\", \"reason\": \"wanted, not "
                    "running\", \"event\": 18301, \"running_generation\": 0, \"pid\": 0, "
                    "\"outcome\": \"open\"}");
    assert_contains(&text, "\"service\": \"web\"");
    assert_contains(&text,
                    "\"summary\": {\"start\": 1, \"keep\": 2, \"replace\": 1, \"stop\": 1, "
                    "\"wait\": 0, \"report\": 0, \"cannot_recover\": 1}, \"has_changes\": true, "
                    "\"needs_person\": true}\n");
}

Test(report, what_came_of_it_has_the_same_shape)
{
    struct outcome outcomes[COUNT_OF(entries)] = {
        { .result = RESULT_FAILED,
          .code = "interpreter_missing",
          .reason = "interpreter python3.12 not found" },
        { .result = RESULT_STOPPED, .took_ms = 40 },
        { .result = RESULT_RECOVERED, .pid = 77, .took_ms = 12 },
        { .result = RESULT_SKIPPED, .code = "time_ran_out", .reason = "the time was over" },
    };
    AUTO(findings_close) struct findings findings = { 0 };
    struct finding finding = { .code = FINDING_dead_pid, .tenant = "acme", .name = "db", .pid = 6 };
    cr_assert_eq(findings_add(&findings, &finding), STATUS_OK);
    struct report report = {
        .picture = &picture,
        .outcomes = outcomes,
        .of = { [RESULT_NONE] = 2,
                [RESULT_RECOVERED] = 1,
                [RESULT_STOPPED] = 1,
                [RESULT_SKIPPED] = 1,
                [RESULT_FAILED] = 1 },
        .is_cut = true,
        .took_ms = 52,
        .is_verified = true,
        .checked = 6,
        .findings = &findings,
    };
    AUTO(buffer_close) struct buffer json = { .limit = 65536 };
    report_write_json(&report, &json);
    assert_contains(&json, "{\"kind\": \"recovery_report\", \"schema\": 1, \"dry_run\": false");
    assert_contains(&json,
                    "\"result\": \"recovered\", \"result_code\": \"\", \"result_reason\": \"\", "
                    "\"result_pid\": 77, \"took_ms\": 12}");
    assert_contains(&json, "\"recovered\": 1, \"stopped\": 1, \"failed\": 1, \"skipped\": 1, "
                           "\"time_ran_out\": true");
    assert_contains(&json, "\"inconsistencies\": [{\"code\": \"dead_pid\", \"tenant\": \"acme\"");
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    report_write_text(&report, false, &text);
    assert_contains(&text, "recovered, pid 77, 12 ms");
    assert_contains(&text,
                    "Recovery: 1 recovered, 1 stopped, 1 failed, 1 skipped, 2 kept in 52 ms.");
    assert_contains(&text, "Time ran out");
    assert_contains(&text, "1 inconsistency");
}

Test(report, control_characters_are_escaped)
{
    struct plan_entry entry = { .action = PLAN_CANNOT_RECOVER,
                                .code = PLAN_CODE_program_missing,
                                .tenant = "a",
                                .name = "b",
                                .reason = "program \x1b[2J\n not found" };
    struct picture odd = { .plan = { .entries = &entry, .count = 1 } };
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    AUTO(buffer_close) struct buffer json = { .limit = 65536 };
    report_write_text(&(struct report){ .picture = &odd }, false, &text);
    report_write_json(&(struct report){ .picture = &odd }, &json);
    cr_assert_null(memchr(text.data, 0x1b, text.size));
    cr_assert_null(memchr(json.data, 0x1b, json.size));
    assert_contains(&text, "program \\x1b[2J\\x0a not found");
    assert_contains(&json, "program \\u001b[2J\\n not found");
}

Test(report, findings_of_a_verification_are_told)
{
    AUTO(findings_close) struct findings findings = { 0 };
    struct verification verification = { .picture = &picture,
                                         .findings = &findings,
                                         .vault = &sealed,
                                         .checked = 6,
                                         .is_full = true,
                                         .folded = 18442 };
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    verification_write_text(&verification, &text);
    assert_contains(&text, "18442 events checked and folded anew");
    assert_contains(&text, "Verified 6 services: what runs is what is wanted.");
    struct finding finding = {
        .code = FINDING_live_extra, .tenant = "acme", .name = "db", .event = 7
    };
    cr_assert_eq(findings_add(&findings, &finding), STATUS_OK);
    buffer_clear(&text);
    verification_write_text(&verification, &text);
    assert_contains(&text, "live_extra");
    assert_contains(&text, "(event 7)");
    buffer_clear(&text);
    verification_write_json(&verification, &text);
    assert_contains(&text, "\"kind\": \"verification_report\"");
    assert_contains(&text, "\"code\": \"live_extra\"");
}
