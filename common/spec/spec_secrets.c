/* The field `secrets`: who reads it knows names and versions, never a value. */
#include "common/spec/spec_secrets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec_values.h"
#include "common/wire/writer.h"

char *spec_secret_variable(char variable[NAME_BYTES_MAX + 1], const char *name)
{
    size_t i = 0;
    for (; name[i] != '\0' && i < NAME_BYTES_MAX; i++) {
        bool is_small = name[i] >= 'a' && name[i] <= 'z';
        bool is_other = name[i] == '-' || name[i] == '.';
        variable[i] = is_small ? (char)(name[i] - 'a' + 'A') : is_other ? '_' : name[i];
    }
    variable[i] = '\0';
    return variable;
}

static enum status refuse(struct spec_values *values, const char *place, const char *rule)
{
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "%s", rule);
}

static enum status read_name(struct spec_values *values, struct reader *reader, const char *place,
                             void *out)
{
    struct spec_secret *secret = out;
    const char *text;
    char shown[96];
    TRY(value_text(values, reader, place, NAME_BYTES_MAX + 1, &text));
    if (!secret_name_is_valid(text))
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must match " SECRET_NAME_PATTERN ", not \"%s\"",
                           text_printable(shown, sizeof shown, span_of_text(text)));
    secret->name = text;
    return STATUS_OK;
}

static enum status read_version(struct spec_values *values, struct reader *reader,
                                const char *place, void *out)
{
    struct spec_secret *secret = out;
    const char *text;
    if (reader_peek(reader) != WIRE_STR)
        return value_count(values, reader, place, 1, INT64_MAX, &secret->version);
    TRY(value_text(values, reader, place, NAME_BYTES_MAX, &text));
    if (strcmp(text, "latest") != 0)
        return refuse(values, place, "must be latest or the number of a version");
    secret->version = 0;
    return STATUS_OK;
}

static enum status read_as(struct spec_values *values, struct reader *reader, const char *place,
                           void *out)
{
    struct spec_secret *secret = out;
    const char *text;
    TRY(value_text(values, reader, place, NAME_BYTES_MAX, &text));
    secret->is_env = strcmp(text, "env") == 0;
    return secret->is_env || strcmp(text, "file") == 0
               ? STATUS_OK
               : refuse(values, place, "must be file or env");
}

static enum status read_required(struct spec_values *values, struct reader *reader,
                                 const char *place, void *out)
{
    struct spec_secret *secret = out;
    bool is_required;
    if (reader_bool(reader, &is_required) != STATUS_OK)
        return value_refuse_type(values, reader, place, "true or false");
    secret->is_optional = !is_required;
    return STATUS_OK;
}

static enum status read_one(struct spec_values *values, struct reader *reader, const char *place,
                            struct spec_secret *secret)
{
    static const struct spec_key keys[] = {
        { "name", read_name },
        { "version", read_version },
        { "as", read_as },
        { "required", read_required },
    };
    char variable[NAME_BYTES_MAX + 1];
    *secret = (struct spec_secret){ .name = "" };
    if (reader_peek(reader) == WIRE_STR)
        return read_name(values, reader, place, secret);
    TRY(value_map(values, reader, place, keys, COUNT_OF(keys), secret));
    if (secret->name[0] == '\0')
        return refuse(values, place, "must have a name");
    spec_secret_variable(variable, secret->name);
    if (secret->is_env && (variable[0] < 'A' || variable[0] > 'Z'))
        return refuse(values, place,
                      "as env makes a variable of the name: it must begin with a "
                      "letter");
    if (secret->is_env && strncmp(variable, "SOLO_", strlen("SOLO_")) == 0)
        return refuse(values, place, "as env would be a key that Solo sets itself");
    return STATUS_OK;
}

static int compare(const void *a, const void *b)
{
    const struct spec_secret *first = a, *second = b;
    return strcmp(first->name, second->name);
}

enum status spec_secrets_read(struct spec_values *values, struct reader *reader, const char *place,
                              const struct spec_secret **secrets, size_t *count)
{
    char inner[PLACE_BYTES];
    uint32_t items;
    if (reader_array(reader, &items) != STATUS_OK)
        return value_refuse_type(values, reader, place, "a list of names or maps");
    if (items > SPEC_SECRETS_MAX)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be at most %d, are %" PRIu32, SPEC_SECRETS_MAX, items);
    struct spec_secret *read = arena_alloc(values->arena, (items + 1) * sizeof *read);
    if (read == NULL)
        return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
    for (uint32_t i = 0; i < items; i++)
        TRY(read_one(values, reader, place_index(inner, place, i), &read[i]));
    qsort(read, items, sizeof *read, compare);
    for (uint32_t i = 1; i < items; i++)
        if (strcmp(read[i - 1].name, read[i].name) == 0)
            return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "name %s twice",
                               read[i].name);
    *secrets = read;
    *count = items;
    return STATUS_OK;
}

void spec_secrets_write(const struct spec_secret *secrets, size_t count, struct buffer *buffer)
{
    write_array(buffer, count);
    for (size_t i = 0; i < count; i++) {
        write_map(buffer, 4);
        write_str(buffer, "as");
        write_str(buffer, secrets[i].is_env ? "env" : "file");
        write_str(buffer, "name");
        write_str(buffer, secrets[i].name);
        write_str(buffer, "required");
        write_bool(buffer, !secrets[i].is_optional);
        write_str(buffer, "version");
        if (secrets[i].version == 0)
            write_str(buffer, "latest");
        else
            write_u64(buffer, secrets[i].version);
    }
}
