/* The completion scripts in the shells themselves, with the names of a Solo that runs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/criterion.h"
#include "tests/support/services.h"

/* The first of the places where a shell lies; NULL when it is not installed. */
static const char *shell_find(const char *name, char path[64])
{
    static const char *const places[] = { "/bin", "/usr/bin", "/usr/local/bin" };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        snprintf(path, 64, "%s/%s", places[i], name);
        if (access(path, X_OK) == 0)
            return path;
    }
    printf("skipped: %s is not installed\n", name);
    return NULL;
}

static void shell_run(const struct testbed *bed, const char *shell, const char *script,
                      struct result *result)
{
    const char *const argv[] = { shell, "-c", script, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(bed) }, result);
}

/* What bash offers after these words, one per line. */
static void bash_expect(const struct testbed *bed, const char *words, const char *expected)
{
    char path[64], script[16384];
    const char *bash = shell_find("bash", path);
    AUTO(result_close) struct result result = { 0 };
    if (bash == NULL)
        return;
    snprintf(script, sizeof script,
             "source <('%s/soloctl' completion bash)\n"
             "COMP_WORDS=('%s/soloctl' --run '%s' %s)\n"
             "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
             "_soloctl && printf '%%s\\n' \"${COMPREPLY[@]}\"",
             bed->bin, bed->bin, bed->run, words);
    shell_run(bed, bash, script, &result);
    cr_assert_eq(result.exit_code, 0, "%s: %s", words, result_err(&result));
    cr_assert_str_eq(result_out(&result), expected, "%s: %s", words, result_out(&result));
    cr_assert_str_eq(result_err(&result), "", "%s: %s", words, result_err(&result));
}

Test(shell_completion, bash_offers_live_names)
{
    struct testbed bed;
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "etl");
    service_deploy_sleeper(&bed, "beta", "bot");
    bash_expect(&bed, "kill ''", "acme/api\nacme/etl\nbeta/bot\n");
    bash_expect(&bed, "describe acme/e", "acme/etl\n");
    bash_expect(&bed, "-t acme restart a", "api\n");
    bash_expect(&bed, "get tenants ''", "acme\nbeta\n");
    bash_expect(&bed, "daemon restart ev", "eventd\n");
    bash_expect(&bed, "daemon restart nothing", "\n");
    bash_expect(&bed, "deploy acme/new --restart = o", "on-failure\n");
    testbed_close(&bed);
}

/* What fish offers after these words, one per line. */
static void fish_expect(const struct testbed *bed, const char *words, const char *expected)
{
    char path[64], script[16384];
    const char *fish = shell_find("fish", path);
    AUTO(result_close) struct result result = { 0 };
    if (fish == NULL)
        return;
    snprintf(script, sizeof script,
             "set -x HOME '%s'; set PATH '%s' $PATH; source (soloctl completion fish | psub); "
             "complete -C 'soloctl --run %s %s'",
             bed->dir, bed->bin, bed->run, words);
    shell_run(bed, fish, script, &result);
    cr_assert_eq(result.exit_code, 0, "%s: %s", words, result_err(&result));
    cr_assert_str_eq(result_out(&result), expected, "%s: %s", words, result_out(&result));
}

/* What an interactive zsh on a terminal of its own makes of these words and the tab key: `expected`
 * appears. It is waited for; the bound is for one that never does. */
static void zsh_expect(const struct testbed *bed, const char *words, const char *expected)
{
    char path[64], script[16384];
    const char *zsh = shell_find("zsh", path);
    AUTO(result_close) struct result result = { 0 };
    if (zsh == NULL)
        return;
    snprintf(script, sizeof script,
             "timeout 60 %s -f -c 'zmodload zsh/zpty; zpty terminal %s -f -i\n"
             "zpty -w terminal \"PS1=; PATH=%s:\\$PATH; autoload -Uz compinit; compinit -u -D; "
             "source <(soloctl completion zsh); print READY\"\n"
             "zpty -r terminal out \"*READY*READY*\"\n"
             "zpty -w -n terminal \"soloctl --run %s %s$(printf \"\\\\t\")\"\n"
             "zpty -r -m terminal out \"*%s*\" && print found; zpty -d terminal'",
             zsh, zsh, bed->bin, bed->run, words, expected);
    shell_run(bed, "/bin/sh", script, &result);
    cr_assert_not_null(strstr(result_out(&result), "found"), "%s: no %s in %s%s", words, expected,
                       result_out(&result), result_err(&result));
}

Test(shell_completion, zsh_and_fish_offer_live_names)
{
    struct testbed bed;
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "etl");
    service_deploy_sleeper(&bed, "beta", "bot");
    fish_expect(&bed, "kill ", "acme/api\nacme/etl\nbeta/bot\n");
    fish_expect(&bed, "describe acme/e", "acme/etl\n");
    fish_expect(&bed, "-t acme restart a", "api\n");
    zsh_expect(&bed, "kill acme/e", "acme/etl");
    zsh_expect(&bed, "-t acme restart a", "restart api");
    zsh_expect(&bed, "describe b", "beta/bot");
    testbed_close(&bed);
}

/* Whoever presses the tab key while Solo is down gets the words that need none, and no complaint.
 */
Test(shell_completion, without_a_solo_it_stays_quiet)
{
    struct testbed bed;
    testbed_open(&bed, 0);
    bash_expect(&bed, "kill ''", "\n");
    bash_expect(&bed, "restor", "restore\n");
    testbed_close(&bed);
}

Test(shell_completion, bash_offers_files_where_a_file_is_meant)
{
    struct testbed bed;
    char words[600], expected[600];
    testbed_open(&bed, 0);
    snprintf(words, sizeof words, "apply -f '%s/slee'", bed.programs);
    snprintf(expected, sizeof expected, "%s/sleeper\n", bed.programs);
    bash_expect(&bed, words, expected);
    testbed_close(&bed);
}

Test(shell_completion, each_script_is_well_formed)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    struct testbed bed;
    testbed_open(&bed, 0);
    for (size_t i = 0; i < COUNT_OF(shells); i++) {
        char path[64], script[8192];
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(&bed, &result, "completion", shells[i], NULL);
        cr_assert_eq(result.exit_code, 0);
        cr_assert_not_null(strstr(result_out(&result), "soloctl"));
        if (shell_find(shells[i], path) == NULL)
            continue;
        snprintf(script, sizeof script,
                 "'%s/soloctl' completion %s > '%s/script' && '%s' -n '%s/script'", bed.bin,
                 shells[i], bed.dir, path, bed.dir);
        shell_run(&bed, "/bin/sh", script, &result);
        cr_assert_eq(result.exit_code, 0, "%s: %s", shells[i], result_err(&result));
    }
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "completion", "csh", NULL);
    cr_assert_eq(result.exit_code, 64);
    testbed_close(&bed);
}
