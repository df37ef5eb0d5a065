/* By way of libsystemd. tenantd, which is linked without it, writes lines that begin with their
 * priority to the same journal. */
#include "common/daemon/journal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
/* Where it is sent from is here, for every record. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "common/base/log.h"

enum { OWN_FIELDS = 4, FIELDS_MAX = OWN_FIELDS + LOG_PAIRS_MAX, TEXT_BYTES_MAX = 8192 };

struct entry {
    struct iovec fields[FIELDS_MAX];
    size_t count;
    char text[TEXT_BYTES_MAX];
    size_t size;
};

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
    return sd_journal_sendv(entry.fields, (int)entry.count) == 0;
}

void journal_join(void)
{
    if (log_is_for_journal())
        log_set_keeper(keep);
}
