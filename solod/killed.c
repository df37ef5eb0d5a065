#include "solod/killed.h"

#include <stdio.h>
#include <string.h>

#include "common/wire/reader.h"

static bool is_named(const struct killed *killed, struct span name)
{
    for (const char *at = killed->names; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size == name.size && memcmp(at, name.data, size) == 0)
            return true;
        at += size + strspn(at + size, ", ");
    }
    return false;
}

static void add(struct killed *killed, struct span name)
{
    size_t used = strlen(killed->names);
    if (used + name.size + sizeof ", " > sizeof killed->names || is_named(killed, name))
        return;
    snprintf(killed->names + used, sizeof killed->names - used, "%s%.*s", used == 0 ? "" : ", ",
             (int)name.size, (const char *)name.data);
}

void killed_add(struct killed *killed, const char *name)
{
    add(killed, span_of_text(name));
}

void killed_add_list(struct killed *killed, struct span names)
{
    struct reader reader = reader_of(names);
    struct span name;
    uint32_t count;
    if (names.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return;
    while (count-- > 0 && reader_str(&reader, &name) == STATUS_OK)
        add(killed, name);
}
