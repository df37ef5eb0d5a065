/* service.list, page by page, decoded into memory of our own. */
#include "soloctl/service_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/reader.h"

enum { ROWS_BYTES_MAX = 256 * 1024 * 1024 };

void service_rows_close(struct service_rows *services)
{
    arena_close(&services->arena);
    free(services->rows);
    free(services->exits);
    *services = (struct service_rows){ 0 };
}

static enum status out_of_memory(struct problem *problem)
{
    return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
}

static enum status make_room(struct service_rows *services, struct problem *problem)
{
    if (services->count < services->capacity)
        return STATUS_OK;
    size_t capacity = services->capacity == 0 ? 256 : 2 * services->capacity;
    void *rows = realloc(services->rows, capacity * sizeof *services->rows);
    if (rows != NULL)
        services->rows = rows;
    void *exits = realloc(services->exits, capacity * sizeof *services->exits);
    if (exits != NULL)
        services->exits = exits;
    if (rows == NULL || exits == NULL)
        return out_of_memory(problem);
    services->capacity = capacity;
    return STATUS_OK;
}

static enum status take_page(struct service_rows *services, struct span list,
                             struct problem *problem)
{
    struct arena *arena = &services->arena;
    /* Decoded rows point into the map, which must outlive the page's reply. */
    uint8_t *copy = arena_alloc(arena, list.size + 1);
    if (copy == NULL)
        return out_of_memory(problem);
    memcpy(copy, list.data, list.size);
    struct reader reader = reader_of(span_of(copy, list.size));
    uint32_t count = 0;
    if (reader_array(&reader, &count) != STATUS_OK)
        return STATUS_OK; /* an empty list is left out */
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        TRY(make_room(services, problem));
        struct service_row *row = &services->rows[services->count];
        *row = (struct service_row){ 0 };
        TRY(reader_any(&reader, &map));
        TRY(fields_decode(&record_service_row, map, arena, row, problem));
        TRY(service_exits(row, arena, &services->exits[services->count], problem));
        services->count++;
    }
    return STATUS_OK;
}

enum status service_rows_load(struct service_rows *services, struct session *session,
                              const char *tenant, struct problem *problem)
{
    char after[SERVICE_KEY_BYTES + 1] = "";
    services->arena.limit = ROWS_BYTES_MAX;
    arena_reset(&services->arena);
    services->count = 0;
    do {
        struct service_list_request request = { .tenant = tenant, .after = after };
        struct service_list_reply reply = { 0 };
        TRY(session_call(session, PEER_DEPLOYD, &method_service_list, &request, READ_TIMEOUT_MS,
                         &reply, problem));
        TRY(take_page(services, reply.services, problem));
        snprintf(after, sizeof after, "%s", reply.next);
    } while (after[0] != '\0');
    return STATUS_OK;
}

const struct service_row *service_rows_find(const struct service_rows *services, const char *tenant,
                                            const char *name)
{
    for (size_t i = 0; i < services->count; i++)
        if (strcmp(services->rows[i].name, name) == 0 &&
            strcmp(services->rows[i].tenant, tenant) == 0)
            return &services->rows[i];
    return NULL;
}
