/* A list that grows. */
#include "recoveryd/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"

enum { NAMES_BYTES_MAX = 16 * 1024 * 1024 };

static const struct {
    const char *name;
    enum finding_fix fix;
    const char *words, *next;
} codes[FINDING_CODES] = {
#define FINDING(name, fix, words, next) [FINDING_##name] = { #name, FIX_##fix, words, next },
#include "common/plan/finding_codes.def"
#undef FINDING
};

const char *finding_code_name(enum finding_code code)
{
    ensure(code < FINDING_CODES);
    return codes[code].name;
}

const char *finding_code_next(enum finding_code code)
{
    ensure(code < FINDING_CODES);
    return codes[code].next;
}

enum finding_fix finding_fix(const struct finding *finding)
{
    ensure(finding->code < FINDING_CODES);
    return finding->is_for_person ? FIX_PERSON : codes[finding->code].fix;
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

enum status findings_add_all(struct findings *findings, const struct findings *more)
{
    for (size_t i = 0; i < more->count; i++)
        TRY(findings_add(findings, &more->items[i]));
    return STATUS_OK;
}

static bool is_about(const struct finding *a, const struct finding *b)
{
    return a->code == b->code && strcmp(a->tenant, b->tenant) == 0 && strcmp(a->name, b->name) == 0;
}

bool findings_have(const struct findings *findings, const struct finding *wanted)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        if (is_about(finding, wanted) && finding->generation == wanted->generation &&
            finding->running_generation == wanted->running_generation &&
            finding->pid == wanted->pid)
            return true;
    }
    return false;
}

bool findings_have_still(const struct findings *findings, const struct finding *wanted)
{
    /* Of processes each is one of its own. */
    bool is_process = wanted->instance[0] != '\0';
    for (size_t i = 0; i < findings->count; i++)
        if (is_about(&findings->items[i], wanted) &&
            (!is_process || findings->items[i].pid == wanted->pid))
            return true;
    return false;
}

bool findings_need(const struct findings *findings, enum finding_fix fix)
{
    for (size_t i = 0; i < findings->count; i++)
        if (finding_fix(&findings->items[i]) == fix)
            return true;
    return false;
}

void findings_close(struct findings *findings)
{
    free(findings->items);
    arena_close(&findings->arena);
    *findings = (struct findings){ 0 };
}
