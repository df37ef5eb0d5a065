/* A ring; one entry per service, the newest wins. */
#include "tenantd/kills.h"

#include <stdio.h>
#include <string.h>

static struct kill *find(struct kills *kills, const char *name)
{
    for (size_t i = 0; i < KILLS_KEPT; i++)
        if (strcmp(kills->kept[i].name, name) == 0)
            return &kills->kept[i];
    return NULL;
}

void kills_note(struct kills *kills, const char *name, uint64_t event)
{
    struct kill *kill = find(kills, name);
    if (kill == NULL) {
        kill = &kills->kept[kills->next];
        kills->next = (kills->next + 1) % KILLS_KEPT;
        *kill = (struct kill){ .event = 0 };
        snprintf(kill->name, sizeof kill->name, "%s", name);
    }
    if (event > kill->event)
        kill->event = event;
}

bool kills_forbid(const struct kills *kills, const char *name, uint64_t since)
{
    const struct kill *kill = find((struct kills *)kills, name);
    return kill != NULL && since < kill->event;
}
