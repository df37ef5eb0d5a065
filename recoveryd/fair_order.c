/* Each entry gets its number within its tenant; sorted by that number first, tenants take turns. */
#include "recoveryd/fair_order.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"

struct turn {
    const char *tenant;
    size_t place; /* in the plan */
    size_t round;
};

static int by_tenant(const void *a, const void *b)
{
    const struct turn *first = a, *second = b;
    int order = strcmp(first->tenant, second->tenant);
    return order != 0 ? order : (first->place > second->place) - (first->place < second->place);
}

static int by_round(const void *a, const void *b)
{
    const struct turn *first = a, *second = b;
    if (first->round != second->round)
        return first->round < second->round ? -1 : 1;
    return by_tenant(a, b);
}

static void free_turns(struct turn **turns)
{
    free(*turns);
}

/* The hopeless too, once: deployd's attempt leaves the reason in the log and in the service's row.
 */
static bool is_handed_over(const struct plan_entry *entry)
{
    switch (entry->action) {
    case PLAN_START:
    case PLAN_REPLACE:
    case PLAN_STOP:
        return true;
    case PLAN_CANNOT_RECOVER:
        return !entry->is_known && entry->running_generation == 0;
    default:
        return false;
    }
}

enum status fair_order(const struct plan *plan, size_t *order, size_t *count)
{
    AUTO(free_turns) struct turn *turns = calloc(plan->count + 1, sizeof *turns);
    if (turns == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    size_t made = 0;
    for (size_t i = 0; i < plan->count; i++)
        if (is_handed_over(&plan->entries[i]))
            turns[made++] = (struct turn){ .tenant = plan->entries[i].tenant, .place = i };
    qsort(turns, made, sizeof *turns, by_tenant);
    for (size_t i = 1; i < made; i++)
        if (strcmp(turns[i].tenant, turns[i - 1].tenant) == 0)
            turns[i].round = turns[i - 1].round + 1;
    qsort(turns, made, sizeof *turns, by_round);
    for (size_t i = 0; i < made; i++)
        order[i] = turns[i].place;
    *count = made;
    return STATUS_OK;
}
