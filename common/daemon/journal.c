/* By way of libsystemd, which is loaded where there is a journal, and only then: with what it needs
 * it takes longer to load than the rest of a daemon's start. tenantd, and who does not find it,
 * writes lines that begin with their priority to the same journal. */
#include "common/daemon/journal.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "common/base/log.h"

enum { OWN_FIELDS = 4, FIELDS_MAX = OWN_FIELDS + LOG_PAIRS_MAX, TEXT_BYTES_MAX = 8192 };

struct entry {
    struct iovec fields[FIELDS_MAX];
    size_t count;
    char text[TEXT_BYTES_MAX];
    size_t size;
};

/* sd_journal_sendv(3) */
static int (*journal_send)(const struct iovec *fields, int count);

/* A field that has no room is left out: the message has it, too. */
static void put(struct entry *entry, const char *before, const char *key, const char *value)
{
    size_t room = sizeof entry->text - entry->size;
    char *field = entry->text + entry->size;
    int size = snprintf(field, room, "%s%s=%s", before, key, value);
    if (size < 0 || (size_t)size >= room || entry->count == FIELDS_MAX)
        return;
    for (char *c = field; *c != '='; c++)
        *c = (char)toupper((unsigned char)*c);
    entry->fields[entry->count++] = (struct iovec){ field, (size_t)size };
    entry->size += (size_t)size + 1;
}

static bool keep(const struct log_record *record)
{
    struct entry entry = { .count = 0 };
    put(&entry, "", "message", record->text);
    put(&entry, "", "priority", NUMBER(log_priority(record->level)));
    put(&entry, "", "syslog_identifier", record->program);
    if (record->status != NULL)
        put(&entry, "SOLO_", "status", record->status);
    for (size_t i = 0; i < record->pair_count; i++)
        put(&entry, "SOLO_", record->pairs[i].key, record->pairs[i].value);
    return journal_send(entry.fields, (int)entry.count) == 0;
}

void journal_join(void)
{
    if (!log_is_for_journal())
        return;
    void *library = dlopen("libsystemd.so.0", RTLD_NOW); /* to the end */
    void *found = library == NULL ? NULL : dlsym(library, "sd_journal_sendv");
    memcpy(&journal_send, &found, sizeof found);
    if (journal_send == NULL)
        log_warning("the journal gets no fields", "reason", dlerror());
    else
        log_set_keeper(keep);
}
