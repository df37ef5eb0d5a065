/* `limits` of a spec: those that are not given are not in the canonical form either, so that a spec
 * without limits has the hash that it had before there were any. */
#include "common/spec/spec_limits.h"

#include <inttypes.h>

#include "common/base/auto.h"
#include "common/spec/spec_values.h"
#include "common/wire/writer.h"

enum {
    TASKS_MAX = 1 << 22, /* the kernel's largest pid */
    FILES_MIN = 16,
    FILES_MAX = 1 << 20,
    CPU_MILLI_MIN = 10, /* the kernel's shortest quota: 1 ms of 100 */
    CPU_MILLI_MAX = 1024 * 1000,
};
#define MEMORY_BYTES_MIN (UINT64_C(1) << 20)
#define MEMORY_BYTES_MAX (UINT64_C(64) << 40)

static enum status read_memory(struct spec_values *values, struct reader *reader, const char *place,
                               void *out)
{
    struct spec_limits *limits = out;
    return value_size(values, reader, place, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX,
                      &limits->memory_bytes);
}

static enum status read_tasks(struct spec_values *values, struct reader *reader, const char *place,
                              void *out)
{
    struct spec_limits *limits = out;
    return value_count(values, reader, place, 1, TASKS_MAX, &limits->tasks);
}

static enum status read_files(struct spec_values *values, struct reader *reader, const char *place,
                              void *out)
{
    struct spec_limits *limits = out;
    return value_count(values, reader, place, FILES_MIN, FILES_MAX, &limits->files);
}

/* A number of processors, to a thousandth. */
static enum status read_cpu(struct spec_values *values, struct reader *reader, const char *place,
                            void *out)
{
    struct spec_limits *limits = out;
    double found;
    int64_t whole;
    if (reader_i64(reader, &whole) == STATUS_OK)
        found = (double)whole;
    else if (reader_f64(reader, &found) != STATUS_OK)
        return value_refuse_type(values, reader, place, "a number of processors like 0.5 or 2");
    /* Asked so that what is no number is refused, too. */
    if (!(found >= CPU_MILLI_MIN / 1000.0 && found <= CPU_MILLI_MAX / 1000.0))
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be from %g to %d, not %g", CPU_MILLI_MIN / 1000.0,
                           CPU_MILLI_MAX / 1000, found);
    limits->cpu_milli = (uint64_t)(found * 1000.0 + 0.5);
    return STATUS_OK;
}

enum status spec_limits_read(struct spec_values *values, struct reader *reader, const char *place,
                             struct spec_limits *limits)
{
    static const struct spec_key keys[] = {
        { "memory", read_memory },
        { "tasks", read_tasks },
        { "files", read_files },
        { "cpu", read_cpu },
    };
    return value_map(values, reader, place, keys, COUNT_OF(keys), limits);
}

bool spec_limits_are_given(const struct spec_limits *limits)
{
    return limits->memory_bytes != 0 || limits->tasks != 0 || limits->files != 0 ||
           limits->cpu_milli != 0;
}

static void write_number(struct buffer *buffer, const char *key, uint64_t number)
{
    if (number == 0)
        return;
    write_str(buffer, key);
    write_u64(buffer, number);
}

void spec_limits_write(const struct spec_limits *limits, struct buffer *buffer)
{
    write_map(buffer, (limits->cpu_milli != 0 ? 1u : 0u) + (limits->files != 0 ? 1u : 0u) +
                          (limits->memory_bytes != 0 ? 1u : 0u) + (limits->tasks != 0 ? 1u : 0u));
    if (limits->cpu_milli != 0) {
        write_str(buffer, "cpu");
        write_f64(buffer, (double)limits->cpu_milli / 1000.0);
    }
    write_number(buffer, "files", limits->files);
    write_number(buffer, "memory", limits->memory_bytes);
    write_number(buffer, "tasks", limits->tasks);
}
