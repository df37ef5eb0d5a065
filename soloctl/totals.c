/* Few tenants and few totals: they are looked up one after the other. */
#include "soloctl/totals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/size.h"

static char *part_text(char text[SIZE_PART_TEXT_BYTES], uint64_t used, uint64_t allowed,
                       bool is_size)
{
    if (is_size)
        return size_part_text(text, used, allowed);
    snprintf(text, SIZE_PART_TEXT_BYTES, "%" PRIu64 " of %" PRIu64, used, allowed);
    return text;
}

enum status totals_text(struct span list, char text[TOTALS_TEXT_BYTES])
{
    struct reader reader = reader_of(list);
    uint32_t count = 0;
    size_t used = 0;
    text[0] = '\0';
    if (list.size > 0)
        TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count && used < TOTALS_TEXT_BYTES; i++) {
        struct span map;
        char total[32], part[SIZE_PART_TEXT_BYTES];
        TRY(reader_any(&reader, &map));
        used +=
            (size_t)snprintf(text + used, TOTALS_TEXT_BYTES - used, "%s%s %s", i == 0 ? "" : ", ",
                             map_text(map, "total", total, sizeof total),
                             part_text(part, map_u64(map, "used", 0), map_u64(map, "allowed", 0),
                                       map_bool(map, "is_size", false)));
    }
    return STATUS_OK;
}

void totals_close(struct totals *totals)
{
    free(totals->items);
    *totals = (struct totals){ 0 };
}

static struct foreseen *find_or_make(struct totals *totals, const char *tenant, const char *total)
{
    for (size_t i = 0; i < totals->count; i++)
        if (strcmp(totals->items[i].tenant, tenant) == 0 &&
            strcmp(totals->items[i].total, total) == 0)
            return &totals->items[i];
    if (totals->count == totals->capacity) {
        size_t capacity = totals->capacity == 0 ? 16 : 2 * totals->capacity;
        void *grown = realloc(totals->items, capacity * sizeof *totals->items);
        if (grown == NULL)
            return NULL;
        totals->items = grown;
        totals->capacity = capacity;
    }
    struct foreseen *made = &totals->items[totals->count++];
    *made = (struct foreseen){ 0 };
    snprintf(made->tenant, sizeof made->tenant, "%s", tenant);
    snprintf(made->total, sizeof made->total, "%s", total);
    return made;
}

enum status totals_add(struct totals *totals, const char *tenant, struct span list)
{
    struct reader reader = reader_of(list);
    uint32_t count = 0;
    if (list.size > 0)
        TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        char total[32];
        TRY(reader_any(&reader, &map));
        struct foreseen *foreseen =
            find_or_make(totals, tenant, map_text(map, "total", total, sizeof total));
        if (foreseen == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
        uint64_t growth = map_u64(map, "growth", 0);
        map_text(map, "field", foreseen->field, sizeof foreseen->field);
        foreseen->used = map_u64(map, "used", 0);
        foreseen->allowed = map_u64(map, "allowed", 0);
        foreseen->is_size = map_bool(map, "is_size", false);
        foreseen->growth =
            growth > UINT64_MAX - foreseen->growth ? UINT64_MAX : foreseen->growth + growth;
    }
    return STATUS_OK;
}

enum status totals_next_exceeded(const struct totals *totals, size_t *at, struct problem *problem)
{
    while (*at < totals->count) {
        const struct foreseen *foreseen = &totals->items[(*at)++];
        uint64_t room = foreseen->allowed > foreseen->used ? foreseen->allowed - foreseen->used : 0;
        char part[SIZE_PART_TEXT_BYTES], more[SIZE_TEXT_BYTES];
        if (foreseen->growth == 0 || foreseen->growth <= room)
            continue;
        if (foreseen->is_size)
            size_text(more, foreseen->growth);
        else
            snprintf(more, sizeof more, "%" PRIu64, foreseen->growth);
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, foreseen->field,
                           "tenant %s uses %s %s; these specs together would take %s more",
                           foreseen->tenant,
                           part_text(part, foreseen->used, foreseen->allowed, foreseen->is_size),
                           foreseen->total, more);
    }
    return STATUS_OK;
}
