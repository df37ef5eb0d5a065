/* Settings in four layers, each written over the one below: defaults, file, environment, command
 * line. All of them go through setting_assign, so that a value means the same wherever it stands. A
 * bad command line, its values included, is `usage`; a bad file or environment is invalid_argument;
 * both are told on stderr with their place, because there is no log yet and the reader is a person.
 */
#include "common/daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"

#define CONFIG_FILE_USUAL "/etc/solo/solo.conf"

enum setting_kind { KIND_text, KIND_boolean, KIND_duration_ms, KIND_number };

struct setting {
    enum setting_kind kind;
    const char *key;
    const char *environment;
    const char *otherwise;
    const char *meaning;
    size_t offset;
};

static const struct setting table[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning)                                \
    { KIND_##kind, #key, environment, otherwise, meaning, offsetof(struct settings, key) },
#include "common/daemon/settings.def"
#undef SETTING
};
enum {
    SETTINGS = COUNT_OF(table),
    TEXT_BYTES = sizeof(((struct settings *)0)->data_dir),
    MISTAKE_BYTES = 2 * TEXT_BYTES,
};

struct load {
    struct settings *settings;
    const char *program;
    /* Of the file: */
    FILE *file;
    int line;
    bool is_too_long;
    bool is_bad;
    bool is_given[SETTINGS];
    /* Of the command line, which is read first (--help needs no good file) and applied last: */
    const char *overrides[SETTINGS];
    const char *config_file;
};

/* Whoever started us reads it; a reload is read by whoever reads the log. */
static bool were_loaded;

static void complain(const struct load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void complain(const struct load *load, const char *format, ...)
{
    char text[MISTAKE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (were_loaded)
        log_error("the settings have a mistake", "reason", text);
    else
        fprintf(stderr, "%s: %s\n", load->program, text);
}

static const struct setting *setting_find(const char *key)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strcmp(table[i].key, key) == 0)
            return &table[i];
    return NULL;
}

static bool number_parse(const char *text, uint64_t *value)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *value = parsed;
    return true;
}

static bool boolean_parse(const char *text, bool *value)
{
    static const char *const words[] = { "false", "true", "no", "yes", "0", "1" };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    return false;
}

static bool duration_ms_parse(const char *text, uint64_t *value)
{
    return number_parse(text, value) || duration_parse(text, value) == STATUS_OK;
}

/* NULL when `text` was stored, otherwise the rule that it breaks. */
static const char *setting_assign(struct settings *settings, const struct setting *setting,
                                  const char *text)
{
    void *place = (char *)settings + setting->offset;
    switch (setting->kind) {
    case KIND_text:
        if (text[0] == '\0')
            return "must not be empty";
        if (strlen(text) >= TEXT_BYTES)
            return "is too long";
        memcpy(place, text, strlen(text) + 1);
        return NULL;
    case KIND_boolean:
        return boolean_parse(text, place) ? NULL : "must be true or false (or yes, no, 1, 0)";
    case KIND_duration_ms:
        return duration_ms_parse(text, place)
                   ? NULL
                   : "must be a number of milliseconds or a duration like 30s";
    case KIND_number:
        return number_parse(text, place) ? NULL : "must be a number";
    }
    return "is of no known kind";
}

/* inih reads through this so that we know which line it is at, and that none was cut in two. */
static char *file_line(char *text, int size, void *stream)
{
    struct load *load = stream;
    if (fgets(text, size, load->file) == NULL)
        return NULL;
    size_t length = strlen(text);
    if (load->is_too_long || (length + 1 == (size_t)size && text[length - 1] != '\n')) {
        if (!load->is_too_long) {
            load->line++;
            complain(load, "%s:%d: the line is longer than %d bytes", load->settings->config_file,
                     load->line, size - 2);
        }
        load->is_bad = true;
        load->is_too_long = length + 1 == (size_t)size && text[length - 1] != '\n';
        /* The rest of a line that was refused as a whole is no key of its own. */
        snprintf(text, (size_t)size, "\n");
        return text;
    }
    load->line++;
    return text;
}

static int on_file_key(void *context, const char *section, const char *key, const char *value)
{
    struct load *load = context;
    const struct setting *setting = setting_find(key);
    const char *path = load->settings->config_file;
    const char *rule = NULL;

    if (section[0] != '\0' && strcmp(section, "solo") != 0)
        complain(load, "%s:%d: unknown section [%s]; keys stand in [solo] or before any section",
                 path, load->line, section);
    else if (setting == NULL)
        complain(load, "%s:%d: unknown key \"%s\"", path, load->line, key);
    else if (load->is_given[setting - table])
        complain(load, "%s:%d: \"%s\" is given twice", path, load->line, key);
    else if ((rule = setting_assign(load->settings, setting, value)) != NULL)
        complain(load, "%s:%d: \"%s\" %s", path, load->line, key, rule);
    else {
        load->is_given[setting - table] = true;
        return 1;
    }
    load->is_bad = true;
    return 0;
}

static enum status file_load(struct load *load)
{
    const char *path = load->config_file != NULL ? load->config_file : getenv("SOLO_CONFIG");
    bool is_required = path != NULL && path[0] != '\0';
    if (!is_required)
        path = CONFIG_FILE_USUAL;
    load->file = fopen(path, "re");
    if (load->file == NULL && errno == ENOENT && !is_required)
        return STATUS_OK;
    if (load->file == NULL) {
        complain(load, "cannot read the configuration %s: %s", path, strerror(errno));
        return STATUS_INVALID_ARGUMENT;
    }
    snprintf(load->settings->config_file, sizeof load->settings->config_file, "%s", path);
    int first_bad_line = ini_parse_stream(file_line, load, on_file_key, load);
    bool is_unreadable = ferror(load->file) != 0;
    fclose(load->file);
    load->file = NULL;
    if (is_unreadable)
        complain(load, "cannot read the configuration %s", path);
    else if (first_bad_line > 0 && !load->is_bad)
        complain(load, "%s:%d: neither \"key = value\" nor a [section]", path, first_bad_line);
    else if (first_bad_line < 0)
        complain(load, "%s: out of memory", path);
    return first_bad_line != 0 || load->is_bad || is_unreadable ? STATUS_INVALID_ARGUMENT
                                                                : STATUS_OK;
}

static enum status environment_load(struct load *load)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = table[i].environment[0] == '\0' ? NULL : getenv(table[i].environment);
        if (value == NULL || value[0] == '\0')
            continue;
        const char *rule = setting_assign(load->settings, &table[i], value);
        if (rule != NULL) {
            complain(load, "environment %s %s", table[i].environment, rule);
            status = STATUS_INVALID_ARGUMENT;
        }
    }
    return status;
}

static void help_print(const char *program, const struct settings_own *own)
{
    printf("Usage: %s [OPTION...]%s\n", program, own != NULL ? " ..." : "");
    if (own != NULL && own->usage != NULL)
        printf("%s%s", own->usage, own->usage[strlen(own->usage) - 1] == '\n' ? "" : "\n");
    printf("\n  --data DIR         where everything durable lies\n"
           "  --run DIR          sockets and what lives for this boot only\n"
           "  --config FILE      read this instead of SOLO_CONFIG or " CONFIG_FILE_USUAL "\n"
           "  --log-level LEVEL  debug, info, warning or error\n"
           "  --set KEY=VALUE    any key of the configuration, over file and environment\n"
           "  --help, --version\n\nKeys (and the environment that sets them):\n");
    for (size_t i = 0; i < SETTINGS; i++)
        printf("  %-20s %s [%s] %s\n", table[i].key, table[i].meaning, table[i].otherwise,
               table[i].environment);
}

/* One of our flags: its value stands behind "=" or is the next argument. */
struct flag {
    const char *value;
    int taken; /* arguments; 0 when it is another flag */
};

static struct flag flag_match(const char *name, const char *argument, const char *next)
{
    size_t size = strlen(name);
    if (strncmp(argument, name, size) != 0)
        return (struct flag){ NULL, 0 };
    if (argument[size] == '=')
        return (struct flag){ argument + size + 1, 1 };
    if (argument[size] == '\0')
        return (struct flag){ next, next == NULL ? 1 : 2 };
    return (struct flag){ NULL, 0 };
}

/* Refused here where the flag is known, applied over file and environment later. */
static enum status override(struct load *load, const char *flag, const struct setting *setting,
                            const char *value)
{
    const char *rule = setting_assign(load->settings, setting, value);
    if (rule != NULL) {
        complain(load, "%s: \"%s\" %s", flag, setting->key, rule);
        return STATUS_USAGE;
    }
    load->overrides[setting - table] = value;
    return STATUS_OK;
}

static enum status set_parse(struct load *load, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[64];
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof key) {
        complain(load, "--set takes KEY=VALUE, not \"%s\"", text);
        return STATUS_USAGE;
    }
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    const struct setting *setting = setting_find(key);
    if (setting == NULL) {
        complain(load, "--set: unknown key \"%s\"; --help lists them", key);
        return STATUS_USAGE;
    }
    return override(load, "--set", setting, equals + 1);
}

static const struct {
    const char *name, *key; /* key NULL: not one setting */
} flags[] = {
    { "--data", "data_dir" }, { "--run", "run_dir" }, { "--log-level", "log_level" },
    { "--set", NULL },        { "--config", NULL },
};

/* Stores one of our flags; *taken 0 when the argument is none of them. */
static enum status flag_take(struct load *load, const char *argument, const char *next, int *taken)
{
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        struct flag flag = flag_match(flags[i].name, argument, next);
        if (flag.taken == 0)
            continue;
        *taken = flag.taken;
        if (flag.value == NULL) {
            complain(load, "%s needs a value", flags[i].name);
            return STATUS_USAGE;
        }
        if (flags[i].key != NULL)
            return override(load, flags[i].name, setting_find(flags[i].key), flag.value);
        if (strcmp(flags[i].name, "--set") == 0)
            return set_parse(load, flag.value);
        load->config_file = flag.value;
        return STATUS_OK;
    }
    *taken = 0;
    return STATUS_OK;
}

static enum status command_line_load(struct load *load, const struct settings_own *own, int argc,
                                     char **argv)
{
    bool is_ours = true; /* everything after "--" is the program's own */
    for (int i = 1; i < argc;) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int taken = 0;
        if (is_ours && strcmp(argv[i], "--help") == 0) {
            help_print(load->program, own);
            return STATUS_CANCELLED;
        }
        if (is_ours && strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", load->program, SOLO_VERSION);
            return STATUS_CANCELLED;
        }
        if (strcmp(argv[i], "--") == 0)
            is_ours = false;
        if (is_ours)
            TRY(flag_take(load, argv[i], next, &taken));
        if (taken == 0 && own != NULL && own->take != NULL)
            taken = own->take(own->context, argv[i], next);
        if (taken <= 0) {
            complain(load, "unknown argument \"%s\"; try --help", argv[i]);
            return STATUS_USAGE;
        }
        i += taken;
    }
    return STATUS_OK;
}

/* What realpath(3) gives, for a path whose end need not exist yet. */
static enum status path_resolve(char *path)
{
    char whole[2 * PATH_MAX], resolved[PATH_MAX] = "", real[PATH_MAX];
    if (path[0] == '/')
        snprintf(whole, sizeof whole, "%s", path);
    else if (getcwd(real, sizeof real) == NULL)
        return status_from_errno(errno);
    else
        snprintf(whole, sizeof whole, "%s/%s", real, path);
    size_t length = 0; /* of resolved, which holds no link */
    char *rest = NULL;
    for (char *part = strtok_r(whole, "/", &rest); part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0) {
            while (length > 0 && resolved[--length] != '/')
                ;
            resolved[length] = '\0';
            continue;
        }
        if (length + 1 + strlen(part) >= sizeof resolved)
            return STATUS_RESOURCE_EXHAUSTED;
        length += (size_t)snprintf(resolved + length, sizeof resolved - length, "/%s", part);
        if (realpath(resolved, real) != NULL) {
            length = strcmp(real, "/") == 0 ? 0 : strlen(real);
            memcpy(resolved, real, length);
            resolved[length] = '\0';
        }
    }
    snprintf(path, PATH_MAX, "%s", length == 0 ? "/" : resolved);
    return STATUS_OK;
}

/* Rules over the finished whole, wherever each value came from. */
static enum status settings_check(struct load *load)
{
    struct settings *settings = load->settings;
    const char *key = NULL, *rule = NULL;
    if (log_level_parse(settings->log_level, &settings->level) != STATUS_OK)
        key = "log_level", rule = "must be debug, info, warning or error";
    else if (strcmp(settings->operator, "uid") != 0 && strcmp(settings->operator, "token") != 0)
        key = "operator", rule = "must be uid or token";
    else if (settings->recovery_parallel < 1 || settings->recovery_parallel > 4096)
        key = "recovery_parallel", rule = "must be from 1 to 4096";
    else if (settings->tenant_uid_base < 1000 || settings->tenant_uid_base > 4000000000u)
        key = "tenant_uid_base", rule = "must be from 1000 to 4000000000";
    else if (strcmp(settings->vault_unseal, "key") != 0 &&
             strcmp(settings->vault_unseal, "passphrase") != 0)
        key = "vault_unseal", rule = "must be key or passphrase";
    else if (strcmp(settings->vault_cipher, "xchacha20poly1305") != 0 &&
             strcmp(settings->vault_cipher, "aes256gcm") != 0)
        key = "vault_cipher", rule = "must be xchacha20poly1305 or aes256gcm";
    else if (settings->vault_argon2_memory_bytes < 8u * 1024 * 1024 ||
             settings->vault_argon2_memory_bytes > 4ull * 1024 * 1024 * 1024)
        key = "vault_argon2_memory_bytes", rule = "must be from 8388608 to 4294967296";
    else if (settings->log_burst_bytes < 1024)
        key = "log_burst_bytes", rule = "must be 1024 or more";
    else if (path_resolve(settings->data_dir) != STATUS_OK)
        key = "data_dir", rule = "cannot be made an absolute path";
    else if (path_resolve(settings->run_dir) != STATUS_OK)
        key = "run_dir", rule = "cannot be made an absolute path";
    else if (strcmp(settings->data_dir, settings->run_dir) == 0)
        key = "run_dir", rule = "must be another directory than data_dir";
    if (key == NULL)
        return STATUS_OK;
    complain(load, "\"%s\" %s", key, rule);
    /* Wrong where it was typed is wrong usage, as for any other flag. */
    return load->overrides[setting_find(key) - table] != NULL ? STATUS_USAGE
                                                              : STATUS_INVALID_ARGUMENT;
}

enum status settings_load(struct settings *settings, const char *program,
                          const struct settings_own *own, int argc, char **argv)
{
    struct load load = { .settings = settings, .program = program };
    memset(settings, 0, sizeof *settings);
    log_setup(program, LOG_LEVEL_INFO);
    TRY(command_line_load(&load, own, argc, argv));
    for (size_t i = 0; i < SETTINGS; i++) /* what a flag set was only tried out */
        ensure(setting_assign(settings, &table[i], table[i].otherwise) == NULL);
    TRY(file_load(&load));
    TRY(environment_load(&load));
    for (size_t i = 0; i < SETTINGS; i++)
        if (load.overrides[i] != NULL)
            setting_assign(settings, &table[i], load.overrides[i]);
    TRY(settings_check(&load));
    log_setup(program, settings->level);
    were_loaded = true;
    return STATUS_OK;
}
