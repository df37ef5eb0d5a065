/* The fields of a spec, by tables of keys. Each is checked for itself here; what concerns several
 * fields is checked in spec.c. */
#include "common/spec/spec_fields.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"

enum {
    SECOND_MS = 1000,
    HOUR_MS = 60 * 60 * SECOND_MS,
    DAY_MS = 24 * HOUR_MS,
    LOG_FILE_BYTES_MIN = 4 * 1024,
    LOG_FILES_MAX = 100,
    RESTARTS_MAX = 1000000,
    PORT_MAX = 65535,
};
#define LOG_FILE_BYTES_MAX (UINT64_C(64) << 30)

static const char *const policy_names[] = {
    [RESTART_ALWAYS] = "always",
    [RESTART_ON_FAILURE] = "on-failure",
    [RESTART_NEVER] = "never",
};

static const char *const ready_names[] = {
    [READY_STARTED] = "started",
    [READY_NOTIFY] = "notify",
    [READY_TCP] = "tcp",
    [READY_EXEC] = "exec",
};

const char *restart_policy_name(enum restart_policy policy)
{
    return policy_names[policy];
}

const char *ready_by_name(enum ready_by by)
{
    return ready_names[by];
}

static enum status refuse(struct spec_values *values, const char *place, const char *rule)
{
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "%s", rule);
}

static enum status refuse_value(struct spec_values *values, const char *place, const char *rule,
                                const char *value)
{
    char shown[96];
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "%s, not \"%s\"", rule,
                       text_printable(shown, sizeof shown, span_of_text(value)));
}

static enum status read_name(struct spec_values *values, struct reader *reader, const char *place,
                             const char **name)
{
    const char *text;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &text));
    if (!name_is_valid(text))
        return refuse_value(values, place, "must match " NAME_PATTERN, text);
    *name = text;
    return STATUS_OK;
}

static enum status read_tenant(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec *spec = out;
    return read_name(values, reader, place, &spec->tenant);
}

static enum status read_service(struct spec_values *values, struct reader *reader,
                                const char *place, void *out)
{
    struct spec *spec = out;
    return read_name(values, reader, place, &spec->name);
}

static enum status read_argv(struct spec_values *values, struct reader *reader, const char *place,
                             void *out)
{
    struct spec *spec = out;
    return value_text_list(values, reader, place, &spec->argv);
}

static enum status read_code(struct spec_values *values, struct reader *reader, const char *place,
                             void *out)
{
    struct spec *spec = out;
    return value_text_in_place(values, reader, place, SPEC_CODE_BYTES_MAX, &spec->code);
}

static enum status read_interpreter(struct spec_values *values, struct reader *reader,
                                    const char *place, void *out)
{
    struct spec *spec = out;
    if (reader_peek(reader) != WIRE_STR)
        return value_text_list(values, reader, place, &spec->interpreter);
    const char *text;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &text));
    const char **items = arena_alloc(values->arena, 2 * sizeof *items);
    if (items == NULL)
        return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
    items[0] = text;
    spec->interpreter = (struct str_list){ items, text[0] == '\0' ? 0 : 1 };
    return STATUS_OK;
}

static bool is_environment_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char more[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return name[0] != '\0' && strchr(letters, name[0]) != NULL && name[strspn(name, more)] == '\0';
}

static int compare_pairs(const void *a, const void *b)
{
    const struct spec_pair *first = a, *second = b;
    return strcmp(first->key, second->key);
}

static enum status read_pair(struct spec_values *values, struct reader *reader, const char *outer,
                             struct spec_pair *pair)
{
    char place[PLACE_BYTES], shown[PLACE_BYTES - 16];
    TRY(value_text(values, reader, outer, SPEC_TEXT_BYTES_MAX, &pair->key));
    place_join(place, outer, text_printable(shown, sizeof shown, span_of_text(pair->key)));
    if (!is_environment_name(pair->key))
        return refuse(values, place, "the key must match [A-Za-z_][A-Za-z0-9_]*");
    if (strncmp(pair->key, "SOLO_", strlen("SOLO_")) == 0)
        return refuse(values, place, "keys that begin with SOLO_ are set by Solo itself");
    /* The value is never shown: it may be a password. */
    return value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &pair->value);
}

static enum status read_env(struct spec_values *values, struct reader *reader, const char *place,
                            void *out)
{
    struct spec *spec = out;
    uint32_t count;
    if (reader_map(reader, &count) != STATUS_OK)
        return value_refuse_type(values, reader, place, "a map of text");
    if (count > SPEC_LIST_MAX)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must have at most %d keys, has %" PRIu32, SPEC_LIST_MAX, count);
    struct spec_pair *pairs = arena_alloc(values->arena, (count + 1) * sizeof *pairs);
    if (pairs == NULL)
        return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        TRY(read_pair(values, reader, place, &pairs[i]));
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (uint32_t i = 1; i < count; i++) {
        char key[PLACE_BYTES];
        if (strcmp(pairs[i - 1].key, pairs[i].key) == 0)
            return refuse(values, place_join(key, place, pairs[i].key), "the key stands twice");
    }
    spec->env = pairs;
    spec->env_count = count;
    return STATUS_OK;
}

static enum status read_working_dir(struct spec_values *values, struct reader *reader,
                                    const char *place, void *out)
{
    struct spec *spec = out;
    const char *text;
    TRY(value_text(values, reader, place, PATH_TEXT_BYTES_MAX - 1, &text));
    if (text[0] != '\0' && text[0] != '/')
        return refuse_value(values, place, "must be an absolute path", text);
    spec->working_dir = text;
    return STATUS_OK;
}

static enum status read_secrets(struct spec_values *values, struct reader *reader,
                                const char *place, void *out)
{
    struct spec *spec = out;
    return spec_secrets_read(values, reader, place, &spec->secrets, &spec->secret_count);
}

/* "cc -O2 -o {out} {code}": no quotes, no shell. */
static enum status split_at_blanks(struct spec_values *values, const char *place, const char *line,
                                   struct str_list *list)
{
    static const char blanks[] = " \t\n";
    const char **items = arena_alloc(values->arena, (SPEC_LIST_MAX + 1) * sizeof *items);
    if (items == NULL)
        return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
    size_t count = 0;
    for (line += strspn(line, blanks); *line != '\0'; line += strspn(line, blanks)) {
        size_t size = strcspn(line, blanks);
        if (count == SPEC_LIST_MAX)
            return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                               "must have at most %d words", SPEC_LIST_MAX);
        items[count] = arena_text(values->arena, span_of(line, size));
        if (items[count++] == NULL)
            return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
        line += size;
    }
    *list = (struct str_list){ items, count };
    return STATUS_OK;
}

static enum status read_build(struct spec_values *values, struct reader *reader, const char *place,
                              void *out)
{
    struct spec *spec = out;
    if (reader_peek(reader) != WIRE_STR)
        return value_text_list(values, reader, place, &spec->build);
    const char *line;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &line));
    return split_at_blanks(values, place, line, &spec->build);
}

static enum status read_limits(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec *spec = out;
    return spec_limits_read(values, reader, place, &spec->limits);
}

static enum status read_policy(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec *spec = out;
    const char *text;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &text));
    for (size_t i = 0; i < COUNT_OF(policy_names); i++)
        if (strcmp(text, policy_names[i]) == 0) {
            spec->restart.policy = (enum restart_policy)i;
            return STATUS_OK;
        }
    return refuse_value(values, place, "must be always, on-failure or never", text);
}

static enum status read_initial(struct spec_values *values, struct reader *reader,
                                const char *place, void *out)
{
    struct spec *spec = out;
    return value_duration(values, reader, place, 1, DAY_MS, &spec->restart.initial_ms);
}

static enum status read_max(struct spec_values *values, struct reader *reader, const char *place,
                            void *out)
{
    struct spec *spec = out;
    return value_duration(values, reader, place, 1, DAY_MS, &spec->restart.max_ms);
}

static enum status read_max_restarts(struct spec_values *values, struct reader *reader,
                                     const char *place, void *out)
{
    struct spec *spec = out;
    return value_count(values, reader, place, 0, RESTARTS_MAX, &spec->restart.max_restarts);
}

static enum status read_window(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec *spec = out;
    return value_duration(values, reader, place, 1, DAY_MS, &spec->restart.window_ms);
}

static enum status read_restart(struct spec_values *values, struct reader *reader,
                                const char *place, void *out)
{
    static const struct spec_key keys[] = {
        { "policy", read_policy }, { "initial", read_initial },
        { "max", read_max },       { "max_restarts", read_max_restarts },
        { "window", read_window },
    };
    return value_map(values, reader, place, keys, COUNT_OF(keys), out);
}

static enum status read_signal(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec *spec = out;
    const char *text;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &text));
    int number = signal_parse(text);
    if (number == 0)
        return refuse_value(values, place, "must be a signal's name like TERM or SIGINT", text);
    spec->stop.signal = number;
    return STATUS_OK;
}

static enum status read_stop_timeout(struct spec_values *values, struct reader *reader,
                                     const char *place, void *out)
{
    struct spec *spec = out;
    return value_duration(values, reader, place, 0, HOUR_MS, &spec->stop.timeout_ms);
}

static enum status read_stop(struct spec_values *values, struct reader *reader, const char *place,
                             void *out)
{
    static const struct spec_key keys[] = {
        { "signal", read_signal },
        { "timeout", read_stop_timeout },
    };
    return value_map(values, reader, place, keys, COUNT_OF(keys), out);
}

static enum status read_by(struct spec_values *values, struct reader *reader, const char *place,
                           void *out)
{
    struct spec *spec = out;
    const char *text;
    TRY(value_text(values, reader, place, SPEC_TEXT_BYTES_MAX, &text));
    for (size_t i = 0; i < COUNT_OF(ready_names); i++)
        if (strcmp(text, ready_names[i]) == 0) {
            spec->ready.by = (enum ready_by)i;
            return STATUS_OK;
        }
    return refuse_value(values, place, "must be started, notify, tcp or exec", text);
}

static enum status read_ready_timeout(struct spec_values *values, struct reader *reader,
                                      const char *place, void *out)
{
    struct spec *spec = out;
    return value_duration(values, reader, place, 1, HOUR_MS, &spec->ready.timeout_ms);
}

static enum status read_ready_port(struct spec_values *values, struct reader *reader,
                                   const char *place, void *out)
{
    struct spec *spec = out;
    return value_count(values, reader, place, 1, PORT_MAX, &spec->ready.port);
}

static enum status read_ready_argv(struct spec_values *values, struct reader *reader,
                                   const char *place, void *out)
{
    struct spec *spec = out;
    return value_text_list(values, reader, place, &spec->ready.argv);
}

static enum status read_ready(struct spec_values *values, struct reader *reader, const char *place,
                              void *out)
{
    static const struct spec_key keys[] = {
        { "by", read_by },
        { "timeout", read_ready_timeout },
        { "port", read_ready_port },
        { "argv", read_ready_argv },
    };
    return value_map(values, reader, place, keys, COUNT_OF(keys), out);
}

static enum status read_max_size(struct spec_values *values, struct reader *reader,
                                 const char *place, void *out)
{
    struct spec *spec = out;
    return value_size(values, reader, place, LOG_FILE_BYTES_MIN, LOG_FILE_BYTES_MAX,
                      &spec->logs.max_bytes);
}

static enum status read_files(struct spec_values *values, struct reader *reader, const char *place,
                              void *out)
{
    struct spec *spec = out;
    return value_count(values, reader, place, 1, LOG_FILES_MAX, &spec->logs.files);
}

static enum status read_logs(struct spec_values *values, struct reader *reader, const char *place,
                             void *out)
{
    static const struct spec_key keys[] = {
        { "max_size", read_max_size },
        { "files", read_files },
    };
    return value_map(values, reader, place, keys, COUNT_OF(keys), out);
}

static const struct spec_key spec_keys[] = {
    { "tenant", read_tenant },
    { "name", read_service },
    { "argv", read_argv },
    { "code", read_code },
    { "interpreter", read_interpreter },
    { "build", read_build },
    { "env", read_env },
    { "working_dir", read_working_dir },
    { "secrets", read_secrets },
    { "restart", read_restart },
    { "stop", read_stop },
    { "ready", read_ready },
    { "limits", read_limits },
    { "logs", read_logs },
};

enum status spec_fields_read(struct spec_values *values, struct reader *reader, struct spec *spec)
{
    return value_map(values, reader, "", spec_keys, COUNT_OF(spec_keys), spec);
}
