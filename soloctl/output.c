/* JSON and names on standard output. */
#include "soloctl/output.h"

#include <errno.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/spec/spec_json.h"

static void print_json(FILE *out, const struct item *item)
{
    AUTO(buffer_close) struct buffer packed = { .limit = ITEM_BYTES_MAX };
    AUTO(buffer_close) struct buffer text = { .limit = 8 * (size_t)ITEM_BYTES_MAX };
    item_pack(item, &packed);
    enum status status = json_from_wire(buffer_span(&packed), &text);
    /* Items are made here, of parts that rpc has checked. */
    ensure(status == STATUS_OK || status == STATUS_RESOURCE_EXHAUSTED);
    fwrite(text.data, 1, text.size, out);
}

enum status list_begin(struct list_output *list, enum format format, const char *kind,
                       struct problem *problem)
{
    *list = (struct list_output){ .format = format, .kind = kind };
    if (format != FORMAT_JSON)
        return STATUS_OK;
    list->spool = tmpfile();
    if (list->spool == NULL)
        return problem_set(problem, status_from_errno(errno), "", "make a temporary file: %s",
                           strerror(errno));
    return STATUS_OK;
}

void list_add(struct list_output *list, const struct item *item, const char *name)
{
    if (list->format == FORMAT_NAME) {
        printf("%s\n", name);
    } else if (list->format == FORMAT_JSONL) {
        print_json(stdout, item);
        printf("\n");
    } else if (list->format == FORMAT_JSON) {
        fprintf(list->spool, list->count == 0 ? "\n" : ",\n");
        print_json(list->spool, item);
    }
    list->count++;
}

void list_end(struct list_output *list)
{
    if (list->format == FORMAT_JSON) {
        char chunk[65536];
        printf("{\"kind\": \"%s\", \"items\": [", list->kind);
        rewind(list->spool);
        for (size_t size; (size = fread(chunk, 1, sizeof chunk, list->spool)) > 0;)
            fwrite(chunk, 1, size, stdout);
        printf("%s]}\n", list->count == 0 ? "" : "\n");
    }
    list_close(list);
}

void list_close(struct list_output *list)
{
    if (list->spool != NULL)
        fclose(list->spool);
    list->spool = NULL;
}

void document_print(enum format format, const struct item *item, const char *name)
{
    if (format == FORMAT_NAME) {
        printf("%s\n", name);
        return;
    }
    print_json(stdout, item);
    printf("\n");
}

bool output_flush(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}
