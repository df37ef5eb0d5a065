#include "tests/unit/tenantd/supervisor_calls.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"

/* ---- rows ---- */

static void read_exits(struct span list, struct row *row)
{
    struct reader reader = reader_of(list);
    uint32_t count;
    struct span exit;
    if (list.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return;
    row->exits = count;
    if (count > 0 && reader_any(&reader, &exit) == STATUS_OK) {
        map_text(exit, "reason", row->last_exit, sizeof row->last_exit);
        map_text(exit, "output", row->last_output, sizeof row->last_output);
    }
}

static void read_row(struct bed *bed, struct span map, struct row *row)
{
    struct service_row decoded = { 0 };
    struct problem problem = { 0 };
    cr_assert_eq(fields_decode(&record_service_row, map, &bed->arena, &decoded, &problem),
                 STATUS_OK, "row: %s %s", problem.field, problem.message);
    cr_assert_str_eq(decoded.tenant, "acme");
    *row = (struct row){ .generation = decoded.generation,
                         .since = decoded.since,
                         .pid = decoded.pid,
                         .restarts = decoded.restarts,
                         .start_ticks = decoded.start_ticks,
                         .due_ns = decoded.due_ns,
                         .is_trial_over = decoded.is_trial_over };
    snprintf(row->state, sizeof row->state, "%s", decoded.state);
    snprintf(row->reason, sizeof row->reason, "%s", decoded.reason);
    snprintf(row->instance, sizeof row->instance, "%s", decoded.instance);
    snprintf(row->limits, sizeof row->limits, "%s", decoded.limits);
    read_exits(decoded.exits, row);
}

static void expand(const struct bed *bed, const char *name, const char *members, char *text,
                   size_t size)
{
    size_t used = (size_t)snprintf(text, size, "{\"tenant\": \"acme\", \"name\": \"%s\", ", name);
    for (const char *at = members; *at != '\0' && used < size - 1;) {
        if (strncmp(at, "PROGRAMS/", 9) == 0) {
            used += (size_t)snprintf(text + used, size - used, "%s/programs/", bed->scratch.path);
            at += 9;
        } else {
            text[used++] = *at++;
        }
    }
    cr_assert_lt(used + 2, size);
    strcpy(text + used, "}");
}

/* A spec as it travels; its place is good until the next one. */
static struct span spec_of(struct bed *bed, const char *name, const char *members)
{
    static char text[65536];
    static struct buffer map = { .limit = SPEC_BYTES_MAX };
    buffer_clear(&map);
    expand(bed, name, members, text, sizeof text);
    cr_assert_eq(spec_from_json(span_of_text(text), &map, &bed->problem), STATUS_OK, "%s",
                 bed->problem.message);
    return buffer_span(&map);
}

enum status bed_start(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                      const char *cause, const char *members, struct row *row)
{
    struct supervisor_start_reply reply = { 0 };
    const struct supervisor_start_request request = { .name = name,
                                                      .generation = generation,
                                                      .since = since,
                                                      .spec = spec_of(bed, name, members),
                                                      .cause = cause };
    enum status status = bed_call(bed, &method_supervisor_start, &request, &reply);
    if (status == STATUS_OK && row != NULL)
        read_row(bed, reply.service, row);
    return status;
}

enum status bed_start_ready(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                            const char *members)
{
    struct supervisor_start_reply reply = { 0 };
    const struct supervisor_start_request request = { .name = name,
                                                      .generation = generation,
                                                      .since = since,
                                                      .spec = spec_of(bed, name, members),
                                                      .cause = "deploy",
                                                      .is_on_trial = true,
                                                      .wait = true };
    return bed_call(bed, &method_supervisor_start, &request, &reply);
}

static void on_started(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    (void)reply;
    struct pending_start *pending = context;
    pending->is_answered = true;
    pending->status = status;
    if (problem != NULL)
        pending->problem = *problem;
}

static void begin_start(struct bed *bed, const struct supervisor_start_request *request,
                        struct pending_start *pending)
{
    const struct rpc_call_options options = { .timeout_ms = BED_WAIT_MS,
                                              .on_reply = on_started,
                                              .context = pending };
    *pending = (struct pending_start){ .is_answered = false };
    cr_assert_eq(rpc_client_call(bed->client, &method_supervisor_start, request, &options, NULL),
                 STATUS_OK);
    bed_turn(bed, 50);
}

void bed_begin_start(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                     const char *members, struct pending_start *pending)
{
    const struct supervisor_start_request request = { .name = name,
                                                      .generation = generation,
                                                      .since = since,
                                                      .spec = spec_of(bed, name, members),
                                                      .cause = "deploy" };
    begin_start(bed, &request, pending);
}

void bed_begin_trial(struct bed *bed, const char *name, uint64_t generation, const char *members,
                     struct pending_start *pending)
{
    const struct supervisor_start_request request = { .name = name,
                                                      .generation = generation,
                                                      .since = generation,
                                                      .spec = spec_of(bed, name, members),
                                                      .cause = "deploy",
                                                      .is_on_trial = true,
                                                      .wait = true };
    begin_start(bed, &request, pending);
}

void bed_await_start(struct bed *bed, struct pending_start *pending)
{
    uint64_t deadline = clock_boottime_ns() + BED_WAIT_MS * 1000000ull;
    while (!pending->is_answered) {
        cr_assert_lt(clock_boottime_ns(), deadline, "a start is not answered");
        bed_turn(bed, 5);
    }
}

enum status bed_stop(struct bed *bed, const char *name, uint64_t event, const char *cause,
                     int64_t grace_ms, bool *was_killed)
{
    struct supervisor_stop_reply reply = { 0 };
    const struct supervisor_stop_request request = {
        .name = name,
        .generation = event,
        .since = event,
        .cause = cause,
        .grace_ms = grace_ms < 0 ? 0 : (uint64_t)grace_ms,
        .has_grace = grace_ms >= 0,
    };
    enum status status = bed_call(bed, &method_supervisor_stop, &request, &reply);
    if (was_killed != NULL)
        *was_killed = reply.was_killed;
    return status;
}

enum status bed_stop_generation(struct bed *bed, const char *name, uint64_t generation,
                                uint64_t since)
{
    struct supervisor_stop_reply reply = { 0 };
    const struct supervisor_stop_request request = {
        .name = name,
        .generation = generation,
        .since = since,
        .cause = "recover",
    };
    return bed_call(bed, &method_supervisor_stop, &request, &reply);
}

enum status bed_restart(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                        struct row *row)
{
    return bed_restart_for(bed, name, generation, since, 0, row);
}

enum status bed_restart_for(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                            uint64_t cause_id, struct row *row)
{
    struct supervisor_restart_reply reply = { 0 };
    const struct supervisor_restart_request request = {
        .name = name,
        .generation = generation,
        .since = since,
        .cause_id = cause_id,
    };
    enum status status = bed_call(bed, &method_supervisor_restart, &request, &reply);
    if (status == STATUS_OK && row != NULL)
        read_row(bed, reply.service, row);
    return status;
}

bool bed_row(struct bed *bed, const char *name, struct row *row)
{
    struct supervisor_list_reply reply = { 0 };
    const struct supervisor_list_request request = { .after = "" };
    cr_assert_eq(bed_call(bed, &method_supervisor_list, &request, &reply), STATUS_OK, "list: %s",
                 bed->problem.message);
    struct reader reader = reader_of(reply.services);
    uint32_t count;
    cr_assert_eq(reader_array(&reader, &count), STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        char found[64];
        cr_assert_eq(reader_any(&reader, &map), STATUS_OK);
        if (strcmp(map_text(map, "name", found, sizeof found), name) != 0)
            continue;
        read_row(bed, map, row);
        return true;
    }
    return false;
}

void bed_await(struct bed *bed, const char *name, const char *state, struct row *row)
{
    uint64_t deadline = clock_boottime_ns() + BED_WAIT_MS * 1000000ull;
    while (!bed_row(bed, name, row) || strcmp(row->state, state) != 0) {
        cr_assert_lt(clock_boottime_ns(), deadline, "%s is %s (%s), not %s", name, row->state,
                     row->reason, state);
        bed_turn(bed, 5);
    }
}
