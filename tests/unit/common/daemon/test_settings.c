#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/daemon/reload.h"
#include "tests/support/criterion.h"

/* Each test runs in a folder of its own, with what the settings print in complaints.txt. */
static char folder[64];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/solo-settings-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    cr_assert_not_null(realpath(".", folder));
    static const char *const ours[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning) environment,
#include "common/daemon/settings.def"
#undef SETTING
        "SOLO_CONFIG",
    };
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        unsetenv(ours[i]);
    cr_assert_not_null(freopen("complaints.txt", "w", stderr));
}

static void teardown(void)
{
    cr_assert_eq(chdir("/"), 0);
    directory_remove(folder);
}

TestSuite(settings, .init = setup, .fini = teardown);

static void config_write(const char *text)
{
    cr_assert_eq(file_write("solo.conf", span_of_text(text), 0600), STATUS_OK);
    setenv("SOLO_CONFIG", "solo.conf", 1);
}

/* Loads with the given flags, ended by NULL. */
static enum status load(struct settings *settings, const char *const *flags)
{
    char *argv[16] = { "program" };
    int argc = 1;
    for (; flags != NULL && flags[argc - 1] != NULL; argc++)
        argv[argc] = (char *)flags[argc - 1];
    return settings_load(settings, "program", NULL, argc, argv);
}

static void complaint_has(const char *part)
{
    fflush(stderr);
    AUTO(buffer_close) struct buffer text = { .limit = 65536 };
    cr_assert_eq(file_read("complaints.txt", &text), STATUS_OK);
    cr_assert_eq(buffer_append(&text, "", 1), STATUS_OK);
    cr_assert_not_null(strstr((char *)text.data, part), "\"%s\" lacks \"%s\"", (char *)text.data,
                       part);
}

Test(settings, defaults_are_those_of_the_table)
{
    struct settings settings;
    char path[128];
    cr_assert_eq(load(&settings, NULL), STATUS_OK);
    snprintf(path, sizeof path, "%s/data", folder);
    cr_assert_str_eq(settings.data_dir, path);
    cr_assert(settings.recovery_enabled);
    cr_assert_eq(settings.recovery_timeout_ms, 30000);
    cr_assert_eq(settings.shutdown_timeout_ms, 5000);
    cr_assert_eq(settings.level, LOG_LEVEL_INFO);
    cr_assert_str_empty(settings.config_file);
}

Test(settings, environment_overrides_file_and_flags_override_both)
{
    struct settings settings;
    config_write("shutdown_timeout_ms = 1\nrecovery_timeout_ms = 1\nrecovery_parallel = 1\n");
    setenv("SOLO_SHUTDOWN_TIMEOUT_MS", "2", 1);
    setenv("SOLO_RECOVERY_TIMEOUT_MS", "2", 1);
    const char *flags[] = { "--set", "recovery_timeout_ms=3", NULL };
    cr_assert_eq(load(&settings, flags), STATUS_OK);
    cr_assert_eq(settings.recovery_parallel, 1);
    cr_assert_eq(settings.shutdown_timeout_ms, 2);
    cr_assert_eq(settings.recovery_timeout_ms, 3);
    cr_assert_str_eq(settings.config_file, "solo.conf");
}

/* One value per key other than its default: a key that nobody reads would keep the default. */
Test(settings, every_key_is_read_from_file_environment_and_flag)
{
    static const struct {
        const char *kind, *value;
    } other[] = {
        { "text", "debug" }, { "boolean", "no" }, { "duration_ms", "1500ms" }, { "number", "4001" }
    };
    static const struct {
        const char *kind, *key, *environment;
    } keys[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning) { #kind, #key, environment },
#include "common/daemon/settings.def"
#undef SETTING
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const char *value = NULL;
        for (size_t j = 0; j < COUNT_OF(other); j++)
            if (strcmp(other[j].kind, keys[i].kind) == 0)
                value = other[j].value;
        if (strcmp(keys[i].key, "operator") == 0)
            value = "token";
        if (strcmp(keys[i].key, "vault_unseal") == 0)
            value = "passphrase";
        if (strcmp(keys[i].key, "vault_cipher") == 0)
            value = "aes256gcm";
        if (strcmp(keys[i].key, "vault_argon2_memory_bytes") == 0)
            value = "8388608";
        struct settings plain, set;
        cr_assert_eq(load(&plain, NULL), STATUS_OK);
        char text[128];
        snprintf(text, sizeof text, "%s=%s", keys[i].key,
                 strcmp(keys[i].key, "recovery_parallel") == 0 ? "63" : value);
        const char *flags[] = { "--set", text, NULL };
        cr_assert_eq(load(&set, flags), STATUS_OK, "%s", text);
        cr_assert_neq(memcmp(&plain, &set, sizeof set), 0, "--set %s has no effect", text);
        config_write(text);
        cr_assert_eq(load(&set, NULL), STATUS_OK, "%s", text);
        memset(set.config_file, 0, sizeof set.config_file);
        cr_assert_neq(memcmp(&plain, &set, sizeof set), 0, "%s in the file has no effect", text);
        unsetenv("SOLO_CONFIG");
        setenv(keys[i].environment, strchr(text, '=') + 1, 1);
        cr_assert_eq(load(&set, NULL), STATUS_OK, "%s", text);
        cr_assert_neq(memcmp(&plain, &set, sizeof set), 0, "%s has no effect", keys[i].environment);
        unsetenv(keys[i].environment);
    }
}

Test(settings, booleans_and_durations_have_their_spellings)
{
    static const struct {
        const char *text;
        bool value;
    } booleans[] = { { "true", true },   { "yes", true }, { "1", true },
                     { "false", false }, { "no", false }, { "0", false } };
    struct settings settings;
    for (size_t i = 0; i < COUNT_OF(booleans); i++) {
        setenv("SOLO_VERIFY_RECOVERY", booleans[i].text, 1);
        cr_assert_eq(load(&settings, NULL), STATUS_OK);
        cr_assert_eq(settings.verify_recovery, booleans[i].value);
    }
    setenv("SOLO_SHUTDOWN_TIMEOUT_MS", "30s", 1);
    cr_assert_eq(load(&settings, NULL), STATUS_OK);
    cr_assert_eq(settings.shutdown_timeout_ms, 30000);
    setenv("SOLO_SHUTDOWN_TIMEOUT_MS", "1500", 1);
    cr_assert_eq(load(&settings, NULL), STATUS_OK);
    cr_assert_eq(settings.shutdown_timeout_ms, 1500);
}

struct bad_file {
    const char *text, *complaint;
};

Test(settings, a_bad_file_is_refused_with_its_line)
{
    static const struct bad_file cases[] = {
        { "log_level = info\nno_such_key = 1\n", "solo.conf:2: unknown key \"no_such_key\"" },
        { "# comment\nlog_level = info\n\nlog_level = info\n",
          "solo.conf:4: \"log_level\" is given twice" },
        { "[other]\nlog_level = info\n", "solo.conf:2: unknown section [other]" },
        { "recovery_enabled = maybe\n", "solo.conf:1: \"recovery_enabled\" must be true or false" },
        { "shutdown_timeout_ms = -1\n",
          "solo.conf:1: \"shutdown_timeout_ms\" must be a number of" },
        { "shutdown_timeout_ms = 5 parsecs\n", "must be a number of milliseconds" },
        { "recovery_parallel = 99999999999999999999\n", "must be a number" },
        { "data_dir =\n", "solo.conf:1: \"data_dir\" must not be empty" },
        { "log_level\n", "solo.conf:1: neither" },
        { "log_level = loud\n", "\"log_level\" must be debug" },
        { "operator = nobody\n", "\"operator\" must be uid or token" },
        { "recovery_parallel = 0\n", "\"recovery_parallel\" must be from 1" },
        { "tenant_uid_base = 0\n", "\"tenant_uid_base\" must be from 1000" },
        { "log_burst_bytes = 1023\n", "\"log_burst_bytes\" must be 1024" },
    };
    struct settings settings;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        config_write(cases[i].text);
        cr_assert_eq(load(&settings, NULL), STATUS_INVALID_ARGUMENT, "%s", cases[i].text);
        complaint_has(cases[i].complaint);
    }
}

Test(settings, a_line_that_is_too_long_is_refused_not_cut)
{
    struct settings settings;
    char text[2048];
    snprintf(text, sizeof text, "log_level = info\nrun_dir = /%0*d\noperator = uid\n", 1500, 0);
    config_write(text);
    cr_assert_eq(load(&settings, NULL), STATUS_INVALID_ARGUMENT);
    complaint_has("solo.conf:2: the line is longer than");
}

Test(settings, a_section_solo_is_the_same_as_none)
{
    struct settings settings;
    config_write("recovery_parallel = 7\n[solo]\nlog_level = error\n");
    cr_assert_eq(load(&settings, NULL), STATUS_OK);
    cr_assert_eq(settings.level, LOG_LEVEL_ERROR);
    cr_assert_eq(settings.recovery_parallel, 7);
}

Test(settings, a_named_file_that_is_missing_is_an_error)
{
    struct settings settings;
    const char *flags[] = { "--config", "nowhere.conf", NULL };
    cr_assert_eq(load(&settings, flags), STATUS_INVALID_ARGUMENT);
    complaint_has("nowhere.conf");
}

Test(settings, a_bad_command_line_is_usage)
{
    static const char *const cases[][3] = {
        { "--nonsense" },
        { "--data" },
        { "--set", "x" },
        { "--set", "no_such_key=1" },
        { "--set", "recovery_enabled=maybe" },
        { "--set", "log_level=loud" },
        { "--log-level", "loud" },
        { "--set", "operator=anybody" },
        { "--set", "recovery_parallel=0" },
        { "--run=same", "--data=./same" },
        { "--data=" },
        { "word" },
    };
    struct settings settings;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_assert_eq(load(&settings, cases[i]), STATUS_USAGE, "%s", cases[i][0]);
}

Test(settings, help_and_version_need_no_good_file)
{
    struct settings settings;
    config_write("rubbish\n");
    cr_assert_not_null(freopen("/dev/null", "w", stdout));
    cr_assert_eq(load(&settings, (const char *[]){ "--help", NULL }), STATUS_CANCELLED);
    cr_assert_eq(load(&settings, (const char *[]){ "--version", NULL }), STATUS_CANCELLED);
}

Test(settings, paths_come_out_absolute_and_without_links)
{
    struct settings settings;
    char expected[256];
    cr_assert_eq(mkdir("real", 0700), 0);
    cr_assert_eq(symlink("real", "link"), 0);
    const char *flags[] = { "--data", "link/./not/yet/../there", "--run=real/../run//", NULL };
    cr_assert_eq(load(&settings, flags), STATUS_OK);
    snprintf(expected, sizeof expected, "%s/real/not/there", folder);
    cr_assert_str_eq(settings.data_dir, expected);
    snprintf(expected, sizeof expected, "%s/run", folder);
    cr_assert_str_eq(settings.run_dir, expected);
}

Test(settings, data_and_run_must_differ)
{
    struct settings settings;
    cr_assert_eq(load(&settings, (const char *[]){ "--data", "x", "--run", "./x", NULL }),
                 STATUS_USAGE);
    complaint_has("run_dir");
    config_write("data_dir = x\nrun_dir = ./x\n");
    cr_assert_eq(load(&settings, NULL), STATUS_INVALID_ARGUMENT);
}

struct taken {
    int count;
    char last[32];
};

static int take_own(void *context, const char *argument, const char *next)
{
    struct taken *taken = context;
    if (strcmp(argument, "--refuse") == 0)
        return 0;
    taken->count++;
    snprintf(taken->last, sizeof taken->last, "%s", argument);
    return strcmp(argument, "--pair") == 0 && next != NULL ? 2 : 1;
}

Test(settings, what_is_not_ours_goes_to_the_program_once)
{
    struct settings settings;
    struct taken taken = { 0 };
    struct settings_own own = { take_own, &taken, "usage" };
    char *argv[] = {
        "program", "--pair", "--data", "--log-level", "error", "word", "--", "--data"
    };
    cr_assert_eq(settings_load(&settings, "program", &own, COUNT_OF(argv), argv), STATUS_OK);
    cr_assert_eq(taken.count, 4, "--pair, word, --, and --data behind it");
    cr_assert_str_eq(taken.last, "--data");
    cr_assert_eq(settings.level, LOG_LEVEL_ERROR);
    char *refused[] = { "program", "--refuse" };
    cr_assert_eq(settings_load(&settings, "program", &own, COUNT_OF(refused), refused),
                 STATUS_USAGE);
}

Test(settings, exported_settings_are_loaded_back_the_same)
{
    struct settings settings, again;
    config_write("recovery_enabled = no\nshutdown_timeout_ms = 7s\n");
    const char *flags[] = { "--data", "elsewhere",      "--log-level", "warning",
                            "--set",  "operator=token", NULL };
    cr_assert_eq(load(&settings, flags), STATUS_OK);
    cr_assert_eq(directory_make("run/internal", 0700), STATUS_OK);
    cr_assert_eq(settings_publish(&settings), STATUS_OK);
    cr_assert_eq(settings_export(&settings), STATUS_OK);
    cr_assert_eq(load(&again, NULL), STATUS_OK);
    cr_assert_str_eq(strrchr(again.config_file, '/'), "/solo.conf");
    memcpy(settings.config_file, again.config_file, sizeof settings.config_file);
    cr_assert_arr_eq((char *)&settings, (char *)&again, sizeof settings);
}

/* systemd/solo.conf is this, so that it names every key with its default and meaning. */
Test(settings, the_installed_file_is_that_of_the_table)
{
    static const char *const rows[][3] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning) { #key, otherwise, meaning },
#include "common/daemon/settings.def"
#undef SETTING
    };
    AUTO(buffer_close) struct buffer wanted = { .limit = 65536 }, file = { .limit = 65536 };
    static const char head[] = "# Settings of Solo. A key that is commented out has the value that "
                               "stands here. An unknown key is an error.\n";
    buffer_append(&wanted, head, strlen(head));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[1024];
        const char *installed = strcmp(rows[i][0], "data_dir") == 0  ? "/var/lib/solo"
                                : strcmp(rows[i][0], "run_dir") == 0 ? "/run/solo"
                                                                     : NULL;
        snprintf(text, sizeof text, "\n# %s\n%s%s = %s\n", rows[i][2], installed == NULL ? "#" : "",
                 rows[i][0], installed == NULL ? rows[i][1] : installed);
        buffer_append(&wanted, text, strlen(text));
    }
    cr_assert_eq(file_read(SOLO_CONF, &file), STATUS_OK);
    buffer_append(&wanted, "", 1);
    buffer_append(&file, "", 1);
    cr_assert_str_eq((const char *)file.data, (const char *)wanted.data);

    /* With every comment sign taken away it is still a good file. */
    AUTO(buffer_close) struct buffer all = { .limit = 65536 };
    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] != '#' || file.data[i + 1] == ' ')
            buffer_append(&all, &file.data[i], 1);
    struct settings settings;
    char *arguments[] = { "eventd", "--config", "all.conf", NULL };
    cr_assert_eq(file_write("all.conf", buffer_span(&all), 0600), STATUS_OK);
    cr_assert_eq(settings_load(&settings, "eventd", NULL, 3, arguments), STATUS_OK);
    cr_assert_str_eq(settings.run_dir, "/run/solo");
}
