#include "tests/support/criterion.h"

#include "common/base/auto.h"
#include "recoveryd/options.h"

/* As settings_load does it: NULL-ended arguments; false when one is unknown. */
static bool take_all(struct options *options, const char *const *arguments)
{
    *options = (struct options){ 0 };
    for (size_t i = 0; arguments[i] != NULL;) {
        int taken = options_take(options, arguments[i], arguments[i + 1]);
        if (taken == 0)
            return false;
        i += (size_t)taken;
    }
    return true;
}

#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL, NULL })

static struct options take_well(const char *const *arguments)
{
    struct options options;
    cr_assert(take_all(&options, arguments));
    cr_assert_eq(options_check(&options), STATUS_OK);
    return options;
}

Test(recoveryd_options, a_recovery_takes_its_flags)
{
    struct options options = take_well(ARGUMENTS("--dry-run", "-o", "json", "--all", "--if-event",
                                                 "18442", "--detailed-exitcode", "--at-start",
                                                 "--timeout=5s", "--progress", "none"));
    cr_assert_eq(options.command, COMMAND_RECOVER);
    cr_assert(options.is_dry_run);
    cr_assert(options.shows_all);
    cr_assert_eq(options.output, OUTPUT_JSON);
    cr_assert(options.has_if_event);
    cr_assert_eq(options.if_event, 18442);
    cr_assert(options.has_detailed_exitcode);
    cr_assert(options.has_timeout);
    cr_assert(options.is_at_start);
    cr_assert_eq(options.timeout_ms, 5000);
    cr_assert_eq(options.progress, PROGRESS_NONE);
}

Test(recoveryd_options, the_log_takes_its_flags)
{
    struct options options = take_well(ARGUMENTS("log", "--after", "7", "-n", "3", "--type",
                                                 "app.x", "--tenant", "acme", "-o", "jsonl"));
    cr_assert_eq(options.command, COMMAND_LOG);
    cr_assert_eq(options.after, 7);
    cr_assert_eq(options.count, 3);
    cr_assert_str_eq(options.type, "app.x");
    cr_assert_str_eq(options.tenant, "acme");
    cr_assert_eq(options.output, OUTPUT_JSONL);
}

Test(recoveryd_options, resolve_says_what_is_kept)
{
    struct options options = take_well(ARGUMENTS("resolve", "--keep", "log", "-o", "json"));
    cr_assert_eq(options.command, COMMAND_RESOLVE);
    cr_assert_str_eq(options.keep, "log");
    cr_assert(take_all(&options, ARGUMENTS("resolve")));
    cr_assert_eq(options_check(&options), STATUS_USAGE);
    cr_assert(take_all(&options, ARGUMENTS("resolve", "--keep", "tokens")));
    cr_assert_eq(options_check(&options), STATUS_USAGE);
    cr_assert(take_all(&options, ARGUMENTS("verify", "--keep", "log")));
    cr_assert_eq(options_check(&options), STATUS_USAGE);
}

Test(recoveryd_options, verify_takes_fix)
{
    struct options options = take_well(ARGUMENTS("verify", "--fix"));
    cr_assert(options.has_fix);
    cr_assert_not(options.has_fix_orphans);
    cr_assert_not(options.is_periodic);
    options = take_well(ARGUMENTS("verify", "--full", "--fix-orphans", "--periodic"));
    cr_assert(options.is_periodic);
    cr_assert(options.has_fix);
    cr_assert(options.has_fix_orphans);
}

Test(recoveryd_options, verify_takes_full)
{
    struct options options = take_well(ARGUMENTS("verify", "--full"));
    cr_assert_eq(options.command, COMMAND_VERIFY);
    cr_assert(options.is_full);
}

Test(recoveryd_options, unknown_arguments_are_not_taken)
{
    struct options options;
    cr_assert_not(take_all(&options, ARGUMENTS("frobnicate")));
    cr_assert_not(take_all(&options, ARGUMENTS("verify", "log")));
    cr_assert_not(take_all(&options, ARGUMENTS("--dry")));
    cr_assert_not(take_all(&options, ARGUMENTS("--dry-runs")));
}

Test(recoveryd_options, what_does_not_parse_or_fit_is_wrong_usage)
{
    const char *const *const refused[] = {
        ARGUMENTS("-o", "yaml"),
        ARGUMENTS("-o", "jsonl"),
        ARGUMENTS("-o"),
        ARGUMENTS("--if-event", "x"),
        ARGUMENTS("--if-event", "-1"),
        ARGUMENTS("--if-event", "99999999999999999999"),
        ARGUMENTS("--timeout", "soon"),
        ARGUMENTS("--progress", "much"),
        ARGUMENTS("--dry-run=yes"),
        ARGUMENTS("--full"),
        ARGUMENTS("verify", "--dry-run"),
        ARGUMENTS("--fix"),
        ARGUMENTS("--fix-orphans"),
        ARGUMENTS("log", "-o", "json"),
        ARGUMENTS("log", "--all"),
        ARGUMENTS("log", "--tenant", "No"),
        ARGUMENTS("log", "-n"),
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct options options;
        cr_assert(take_all(&options, refused[i]), "%zu", i);
        cr_assert_eq(options_check(&options), STATUS_USAGE, "%zu", i);
    }
}
