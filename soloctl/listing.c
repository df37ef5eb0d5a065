#include "soloctl/listing.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"

enum status listing_begin(struct listing *listing, const struct column *columns, size_t count,
                          struct problem *problem)
{
    const struct session *session = listing->session;
    TRY(list_begin(&listing->list, session->format, listing->things, problem));
    return session_is_for_programs(session)
               ? STATUS_OK
               : table_open(&listing->table, columns, count, session->format == FORMAT_WIDE);
}

bool listing_takes(struct listing *listing, const char *name, const char *other)
{
    const struct arguments *arguments = listing->arguments;
    bool is_taken = arguments->operand_count == 0;
    for (size_t i = 0; i < arguments->operand_count; i++)
        if (strcmp(arguments->operands[i], name) == 0 ||
            (other != NULL && strcmp(arguments->operands[i], other) == 0))
            is_taken = listing->found[i] = true;
    listing->shown += is_taken ? 1 : 0;
    return is_taken;
}

enum status listing_end(struct listing *listing, struct problem *problem)
{
    for (size_t i = 0; i < listing->arguments->operand_count; i++)
        if (!listing->found[i])
            return problem_set(problem, STATUS_NOT_FOUND, "", "%s: there is no such %s",
                               listing->arguments->operands[i], listing->thing);
    list_end(&listing->list);
    if (listing->table == NULL)
        return STATUS_OK;
    if (listing->shown > 0)
        return table_print(listing->table, stdout);
    fprintf(stderr, "no %s\n", listing->things);
    return STATUS_OK;
}

void listing_close(struct listing *listing)
{
    table_close(&listing->table);
    list_close(&listing->list);
}

enum status records_each(struct span list, const struct field_table *table, void *row,
                         size_t row_bytes, void (*take)(void *context, const void *row),
                         void *context, struct problem *problem)
{
    struct reader reader = reader_of(list);
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    uint32_t count = 0;
    if (list.size > 0)
        TRY(reader_array(&reader, &count));
    for (; count > 0; count--) {
        struct span map;
        memset(row, 0, row_bytes);
        TRY(reader_any(&reader, &map));
        TRY(fields_decode(table, map, &arena, row, problem));
        take(context, row);
        arena_reset(&arena);
    }
    return STATUS_OK;
}
