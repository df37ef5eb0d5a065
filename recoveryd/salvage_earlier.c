#include "recoveryd/salvage_earlier.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/log.h"

static void take(struct salvage_earlier *earlier, const json_t *report)
{
    struct log_salvage *item = &earlier->items[earlier->count];
    struct buffer *marks = &earlier->marks[earlier->count];
    const json_t *entry;
    size_t i;
    *marks = (struct buffer){ .limit = (size_t)LOG_REVIEWED_MAX * LOG_REVIEWED_BYTES };
    *item = (struct log_salvage){
        .until = (uint64_t)json_integer_value(json_object_get(report, "salvaged")),
    };
    json_array_foreach(json_object_get(report, "needs_review"), i, entry)
    {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        uint8_t mark[LOG_REVIEWED_BYTES];
        const char *key = json_string_value(entry);
        if (key == NULL || service_key_split(key, tenant, name) != STATUS_OK)
            continue;
        log_salvage_mark(tenant, name, mark);
        buffer_append(marks, mark, sizeof mark);
        item->listed_count++;
    }
    item->has_all = marks->is_exhausted;
    item->listed = marks->data;
    if (!item->has_all && item->listed_count > 0)
        qsort(marks->data, item->listed_count, LOG_REVIEWED_BYTES, log_salvage_compare);
    earlier->count++;
}

static void read_one(struct salvage_earlier *earlier, const char *path)
{
    json_error_t error;
    json_t *report = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (report == NULL)
        log_warning("the report of an earlier salvage cannot be read", "path", path, "reason",
                    error.text);
    else
        take(earlier, report);
    json_decref(report);
}

/* Their names are those of times: the newest are last. */
void salvage_earlier_read(struct salvage_earlier *earlier, const char *data_dir)
{
    char pattern[4200];
    glob_t found;
    earlier->count = 0;
    snprintf(pattern, sizeof pattern, "%s/quarantine-events-*.json", data_dir);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    size_t first = found.gl_pathc > SALVAGE_REPORTS_MAX ? found.gl_pathc - SALVAGE_REPORTS_MAX : 0;
    for (size_t i = first; i < found.gl_pathc; i++)
        read_one(earlier, found.gl_pathv[i]);
    globfree(&found);
}

void salvage_earlier_close(struct salvage_earlier *earlier)
{
    while (earlier->count > 0)
        buffer_close(&earlier->marks[--earlier->count]);
}
