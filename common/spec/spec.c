/* What a spec may say, and its canonical form. Decoding walks the packed map once by tables of
 * keys, then checks what concerns several fields. Encoding writes every field in a fixed order, so
 * that the same spec always has the same bytes and the same hash. */
#include "common/spec/spec.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/spec/spec_fields.h"
#include "common/wire/writer.h"

enum {
    SECOND_MS = 1000,
    SPEC_FIXED_BYTES =
        4 * 1024, /* keys, numbers and lengths of the canonical form, with room to spare */
    TEXT_OVERHEAD_BYTES = 5, /* the longest length in front of a text */
};

static enum status refuse(struct spec_values *values, const char *place, const char *rule)
{
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "%s", rule);
}

static enum status check_ready(struct spec_values *values, const struct spec *spec)
{
    enum ready_by by = spec->ready.by;
    if (by == READY_TCP && spec->ready.port == 0)
        return refuse(values, "ready.port", "is required with ready.by tcp");
    if (by != READY_TCP && spec->ready.port != 0)
        return refuse(values, "ready.port", "makes sense with ready.by tcp only");
    if (by != READY_EXEC && spec->ready.argv.count > 0)
        return refuse(values, "ready.argv", "makes sense with ready.by exec only");
    if (by == READY_EXEC && spec->ready.argv.count == 0)
        return refuse(values, "ready.argv",
                      "is required with ready.by exec: a program that exits with 0 when the "
                      "service is ready");
    if (by == READY_EXEC && spec->ready.argv.items[0][0] == '\0')
        return refuse(values, "ready.argv[0]", "must name a program");
    return STATUS_OK;
}

#define NO_CODE "makes sense with code only, and there is none, or it is empty"

static enum status check_build(struct spec_values *values, const struct spec *spec)
{
    const char *compiler = spec->build.items[0];
    if (spec->code.size == 0)
        return refuse(values, "build", NO_CODE);
    if (spec->interpreter.count > 0)
        return refuse(values, "interpreter",
                      "and build exclude each other: code is run by an interpreter, or built");
    if (compiler[0] == '\0' || (strchr(compiler, '/') != NULL && compiler[0] != '/'))
        return refuse(values, "build[0]", "must be a program's name or its absolute path");
    if (spec->argv.count == 0)
        return refuse(values, "argv", "is required with build: usually {out} and its arguments");
    return STATUS_OK;
}

/* One of three ways: argv, code with an interpreter, code with a build. */
static enum status check_program(struct spec_values *values, const struct spec *spec)
{
    bool has_code = spec->code.size > 0, needs_argv = !has_code || spec_is_built(spec);
    if (spec_is_built(spec))
        TRY(check_build(values, spec));
    else if (has_code && spec->interpreter.count == 0)
        return refuse(values, "interpreter", "is required with code, unless it has a build");
    else if (!has_code && spec->interpreter.count > 0)
        return refuse(values, "interpreter", NO_CODE);
    if (spec->interpreter.count > 0 && spec->interpreter.items[0][0] == '\0')
        return refuse(values, "interpreter[0]", "must name a program");
    if (needs_argv && spec->argv.count == 0)
        return refuse(values, "argv",
                      "is required: a program and its arguments, or code with an "
                      "interpreter");
    if (needs_argv && spec->argv.items[0][0] == '\0')
        return refuse(values, "argv[0]", "must name a program");
    return STATUS_OK;
}

/* What a secret sets must be set by nothing else. */
static enum status check_variable(struct spec_values *values, const struct spec *spec,
                                  const char *variable, const struct spec_secret *own)
{
    char other[NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < spec->env_count; i++)
        if (strcmp(spec->env[i].key, variable) == 0)
            return problem_set(values->problem, STATUS_INVALID_ARGUMENT, "env",
                               "must not set %s, which comes from secrets", variable);
    for (const struct spec_secret *secret = spec->secrets; secret < own; secret++)
        if (secret->is_env && strcmp(spec_secret_variable(other, secret->name), variable) == 0)
            return problem_set(values->problem, STATUS_INVALID_ARGUMENT, "secrets",
                               "%s and %s would both be %s", secret->name, own->name, variable);
    return STATUS_OK;
}

static enum status check_secrets(struct spec_values *values, const struct spec *spec)
{
    static const char *const own[] = { "PATH", "HOME", "NOTIFY_SOCKET", SPEC_SECRETS_VARIABLE };
    char variable[NAME_BYTES_MAX + 1];
    if (spec->secret_count == 0)
        return STATUS_OK;
    TRY(check_variable(values, spec, SPEC_SECRETS_VARIABLE, spec->secrets));
    for (const struct spec_secret *secret = spec->secrets;
         secret < spec->secrets + spec->secret_count; secret++) {
        if (!secret->is_env)
            continue;
        spec_secret_variable(variable, secret->name);
        for (size_t i = 0; i < COUNT_OF(own); i++)
            if (strcmp(variable, own[i]) == 0)
                return problem_set(values->problem, STATUS_INVALID_ARGUMENT, "secrets",
                                   "%s as env would be %s, which Solo sets itself", secret->name,
                                   variable);
        TRY(check_variable(values, spec, variable, secret));
    }
    return STATUS_OK;
}

/* Rules that concern several fields. */
static enum status check_whole(struct spec_values *values, struct spec *spec)
{
    if (spec->tenant[0] == '\0')
        return refuse(values, "tenant", "is required");
    if (spec->name[0] == '\0')
        return refuse(values, "name", "is required");
    TRY(check_program(values, spec));
    TRY(check_ready(values, spec));
    TRY(check_secrets(values, spec));
    if (spec->restart.max_ms == 0) { /* not given */
        spec->restart.max_ms = 60 * SECOND_MS;
        if (spec->restart.max_ms < spec->restart.initial_ms)
            spec->restart.max_ms = spec->restart.initial_ms;
    }
    if (spec->restart.max_ms < spec->restart.initial_ms)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, "restart.max",
                           "must not be below restart.initial (%" PRIu64 " ms), is %" PRIu64 " ms",
                           spec->restart.initial_ms, spec->restart.max_ms);

    size_t texts = spec->argv.count + spec->interpreter.count + spec->build.count +
                   spec->ready.argv.count + 2 * spec->env_count + 12 * spec->secret_count + 4;
    size_t bytes = values->text_bytes + texts * TEXT_OVERHEAD_BYTES;
    if (bytes > SPEC_BYTES_MAX - SPEC_FIXED_BYTES)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, "",
                           "the spec must be at most %d bytes, is %zu",
                           SPEC_BYTES_MAX - SPEC_FIXED_BYTES, bytes);
    return STATUS_OK;
}

enum status spec_decode(struct span map, struct arena *arena, struct spec *spec,
                        struct problem *problem)
{
    struct spec_values values = { .arena = arena, .problem = problem };
    struct spec found = {
        .tenant = "",
        .name = "",
        .working_dir = "",
        .restart = { RESTART_ALWAYS, .initial_ms = SECOND_MS, .max_restarts = 5,
                     .window_ms = 60 * SECOND_MS },
        .stop = { SIGTERM, 5 * SECOND_MS },
        .ready = { .timeout_ms = 30 * SECOND_MS },
        .logs = { 10 * 1024 * 1024, 5 },
    };
    struct reader reader = reader_of(map);
    TRY(spec_fields_read(&values, &reader, &found));
    if (reader.rest.size > 0)
        return refuse(&values, "", "bytes follow the spec");
    TRY(check_whole(&values, &found));
    *spec = found;
    return STATUS_OK;
}

static void write_list(struct buffer *buffer, struct str_list list)
{
    write_array(buffer, list.count);
    for (size_t i = 0; i < list.count; i++)
        write_str(buffer, list.items[i]);
}

/* Port and argv stand there only where they mean something: what was stored before there were such
 * ways of being ready keeps its hash. */
static void write_ready(struct buffer *buffer, const struct spec *spec)
{
    bool has_argv = spec->ready.by == READY_EXEC, has_port = spec->ready.by == READY_TCP;
    write_map(buffer, 2 + has_argv + has_port);
    if (has_argv) {
        write_str(buffer, "argv");
        write_list(buffer, spec->ready.argv);
    }
    write_key_str(buffer, "by", ready_by_name(spec->ready.by));
    if (has_port)
        write_key_u64(buffer, "port", spec->ready.port);
    write_key_u64(buffer, "timeout", spec->ready.timeout_ms);
}

enum status spec_encode(const struct spec *spec, struct buffer *buffer)
{
    bool has_limits = spec_limits_are_given(&spec->limits);
    write_map(buffer, 11 + spec_is_built(spec) + has_limits + (spec->secret_count > 0));
    write_str(buffer, "argv");
    write_list(buffer, spec->argv);
    /* What was stored before there were builds keeps its hash. */
    if (spec_is_built(spec)) {
        write_str(buffer, "build");
        write_list(buffer, spec->build);
    }
    write_str(buffer, "code");
    write_text(buffer, spec->code);
    write_str(buffer, "env");
    write_map(buffer, spec->env_count);
    for (size_t i = 0; i < spec->env_count; i++) {
        write_str(buffer, spec->env[i].key);
        write_str(buffer, spec->env[i].value);
    }
    write_str(buffer, "interpreter");
    write_list(buffer, spec->interpreter);
    if (has_limits) {
        write_str(buffer, "limits");
        spec_limits_write(&spec->limits, buffer);
    }
    write_str(buffer, "logs");
    write_map(buffer, 2);
    write_key_u64(buffer, "files", spec->logs.files);
    write_key_u64(buffer, "max_size", spec->logs.max_bytes);
    write_key_str(buffer, "name", spec->name);
    write_str(buffer, "ready");
    write_ready(buffer, spec);
    write_str(buffer, "restart");
    write_map(buffer, 5);
    write_key_u64(buffer, "initial", spec->restart.initial_ms);
    write_key_u64(buffer, "max", spec->restart.max_ms);
    write_key_u64(buffer, "max_restarts", spec->restart.max_restarts);
    write_key_str(buffer, "policy", restart_policy_name(spec->restart.policy));
    write_key_u64(buffer, "window", spec->restart.window_ms);
    if (spec->secret_count > 0) {
        write_str(buffer, "secrets");
        spec_secrets_write(spec->secrets, spec->secret_count, buffer);
    }
    write_str(buffer, "stop");
    write_map(buffer, 2);
    write_key_str(buffer, "signal", signal_text(spec->stop.signal));
    write_key_u64(buffer, "timeout", spec->stop.timeout_ms);
    write_key_str(buffer, "tenant", spec->tenant);
    write_key_str(buffer, "working_dir", spec->working_dir);
    return buffer->is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

struct hash spec_hash(struct span canonical)
{
    return hash_of(canonical);
}

const char *spec_path(const struct spec *spec)
{
    for (size_t i = 0; i < spec->env_count; i++)
        if (strcmp(spec->env[i].key, "PATH") == 0)
            return spec->env[i].value;
    return SPEC_DEFAULT_PATH;
}

const char *spec_program(const struct spec *spec)
{
    if (spec_is_built(spec))
        return spec->build.items[0];
    return spec->code.size > 0 ? spec->interpreter.items[0] : spec->argv.items[0];
}

static bool has_placeholder(struct str_list list)
{
    for (size_t i = 0; i < list.count; i++)
        if (strstr(list.items[i], SPEC_CODE_PLACE) != NULL)
            return true;
    return false;
}

/* The place that stands here, and what it stands for; NULL for none. */
static const char *place_at(const char *text, const struct spec_files *files, size_t *skip)
{
    static const size_t code_bytes = sizeof SPEC_CODE_PLACE - 1,
                        out_bytes = sizeof SPEC_OUT_PLACE - 1;
    if (files->code != NULL && strncmp(text, SPEC_CODE_PLACE, code_bytes) == 0) {
        *skip = code_bytes;
        return files->code;
    }
    if (files->out != NULL && strncmp(text, SPEC_OUT_PLACE, out_bytes) == 0) {
        *skip = out_bytes;
        return files->out;
    }
    return NULL;
}

/* `text` with each place replaced; NULL when the arena is full. */
static const char *replace_places(const char *text, const struct spec_files *files,
                                  struct arena *arena)
{
    size_t size = 1, skip;
    const char *file;
    for (const char *at = text; *at != '\0'; at += skip) {
        file = place_at(at, files, &skip);
        size += file == NULL ? (skip = 1) : strlen(file);
    }
    char *result = arena_alloc(arena, size);
    char *end = result;
    for (const char *at = text; result != NULL && *at != '\0'; at += skip) {
        file = place_at(at, files, &skip);
        end = file == NULL ? mempcpy(end, at, skip = 1) : mempcpy(end, file, strlen(file));
    }
    return result; /* the arena's memory is zeroed */
}

enum status spec_places_fill(struct str_list list, const struct spec_files *files,
                             struct arena *arena, struct str_list *filled)
{
    const char **items = arena_alloc(arena, (list.count + 1) * sizeof *items);
    if (items == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < list.count; i++)
        if ((items[i] = replace_places(list.items[i], files, arena)) == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
    *filled = (struct str_list){ items, list.count };
    return STATUS_OK;
}

enum status spec_command(const struct spec *spec, const struct spec_files *files,
                         struct arena *arena, struct str_list *command)
{
    bool has_code = spec->code.size > 0;
    ensure(!has_code || files->code != NULL);
    bool is_placed =
        spec_is_built(spec) || has_placeholder(spec->interpreter) || has_placeholder(spec->argv);
    size_t count = 0, room = spec->interpreter.count + spec->argv.count + 2;
    const char **items = arena_alloc(arena, room * sizeof *items);
    if (items == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < spec->interpreter.count; i++)
        items[count++] = spec->interpreter.items[i];
    if (has_code && !is_placed)
        items[count++] = files->code;
    for (size_t i = 0; i < spec->argv.count; i++)
        items[count++] = spec->argv.items[i];
    *command = (struct str_list){ items, count };
    return has_code ? spec_places_fill(*command, files, arena, command) : STATUS_OK;
}
