/* A list that grows. */
#include "recoveryd/findings.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/ensure.h"

enum { NAMES_BYTES_MAX = 16 * 1024 * 1024 };

static const struct {
    const char *name, *words;
} codes[FINDING_CODES] = {
#define FINDING(name, words) [FINDING_##name] = { #name, words },
#include "common/plan/finding_codes.def"
#undef FINDING
};

const char *finding_code_name(enum finding_code code)
{
    ensure(code < FINDING_CODES);
    return codes[code].name;
}

enum status findings_add(struct findings *findings, const struct finding *finding)
{
    if (findings->count == findings->capacity) {
        size_t capacity = findings->capacity == 0 ? 16 : 2 * findings->capacity;
        struct finding *grown = realloc(findings->items, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
        findings->items = grown;
        findings->capacity = capacity;
    }
    findings->arena.limit = NAMES_BYTES_MAX;
    struct finding *added = &findings->items[findings->count];
    *added = *finding;
    added->tenant = arena_text(&findings->arena, span_of_text(finding->tenant));
    added->name = arena_text(&findings->arena, span_of_text(finding->name));
    if (added->tenant == NULL || added->name == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    if (added->reason[0] == '\0')
        snprintf(added->reason, sizeof added->reason, "%s", codes[finding->code].words);
    findings->count++;
    return STATUS_OK;
}

void findings_close(struct findings *findings)
{
    free(findings->items);
    arena_close(&findings->arena);
    *findings = (struct findings){ 0 };
}
