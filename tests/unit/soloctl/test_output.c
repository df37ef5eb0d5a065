#include "soloctl/output.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static void add_two(struct list_output *list)
{
    for (uint64_t i = 1; i <= 2; i++) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "name", i == 1 ? "one" : "two");
        item_number(&item, "id", i);
        list_add(list, &item, i == 1 ? "one" : "two");
    }
}

static struct list_output begin(enum format format)
{
    struct list_output list;
    struct problem problem = { 0 };
    cr_assert_eq(list_begin(&list, format, "things", &problem), STATUS_OK);
    return list;
}

Test(output, a_json_list_is_one_document)
{
    capture(STDOUT_FILENO);
    struct list_output list = begin(FORMAT_JSON);
    add_two(&list);
    cr_assert_str_eq(captured_text(), "", "nothing before the end: a failure leaves it empty");
    list_end(&list);
    json_t *json = captured_json();
    cr_assert_str_eq(json_string_value(json_object_get(json, "kind")), "things");
    json_t *items = json_object_get(json, "items");
    cr_assert_eq(json_array_size(items), 2);
    cr_assert_eq(json_integer_value(json_object_get(json_array_get(items, 1), "id")), 2);
    json_decref(json);
}

Test(output, an_empty_json_list_is_a_document_too)
{
    capture(STDOUT_FILENO);
    struct list_output list = begin(FORMAT_JSON);
    list_end(&list);
    cr_assert_str_eq(captured_text(), "{\"kind\": \"things\", \"items\": []}\n");
}

Test(output, a_json_list_that_is_dropped_prints_nothing)
{
    capture(STDOUT_FILENO);
    struct list_output list = begin(FORMAT_JSON);
    add_two(&list);
    list_close(&list);
    list_close(&list);
    cr_assert_str_eq(captured_text(), "");
}

Test(output, jsonl_is_an_item_per_line_and_name_the_name)
{
    capture(STDOUT_FILENO);
    struct list_output list = begin(FORMAT_JSONL);
    add_two(&list);
    list_end(&list);
    list = begin(FORMAT_NAME);
    add_two(&list);
    list_end(&list);
    cr_assert_str_eq(captured_text(),
                     "{\"name\": \"one\", \"id\": 1}\n{\"name\": \"two\", \"id\": 2}\n"
                     "one\ntwo\n");
}

Test(output, items_hold_every_kind_of_value)
{
    AUTO(item_close) struct item item = ITEM_EMPTY, inner = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer list = { .limit = 100 };
    struct hash hash = { { 0xab } }, none = { { 0 } };
    write_array(&list, 1);
    write_str(&list, "x");
    item_text(&inner, "k", "v");
    item_text(&item, "text", "a\"b\n\x1b");
    item_text_or_null(&item, "no_text", "");
    item_number(&item, "zero", 0);
    item_number_or_null(&item, "no_number", 0);
    item_number(&item, "big", INT64_MAX);
    item_signed(&item, "negative", -1);
    item_bool(&item, "flag", true);
    item_time(&item, "time", 1795294697123456789u);
    item_time(&item, "no_time", 0);
    item_hash(&item, "hash", &hash);
    item_hash(&item, "no_hash", &none);
    item_object(&item, "list", buffer_span(&list));
    item_object(&item, "no_object", (struct span){ 0 });
    item_item(&item, "inner", &inner);
    capture(STDOUT_FILENO);
    document_print(FORMAT_JSON, &item, "name");
    json_t *json = captured_json();
    cr_assert_str_eq(json_string_value(json_object_get(json, "text")), "a\"b\n\x1b");
    cr_assert(json_is_null(json_object_get(json, "no_text")));
    cr_assert(json_is_integer(json_object_get(json, "zero")));
    cr_assert(json_is_null(json_object_get(json, "no_number")));
    cr_assert_eq(json_integer_value(json_object_get(json, "big")), INT64_MAX);
    cr_assert_eq(json_integer_value(json_object_get(json, "negative")), -1);
    cr_assert(json_is_true(json_object_get(json, "flag")));
    cr_assert_str_eq(json_string_value(json_object_get(json, "time")), "2026-11-21T20:58:17.123Z");
    cr_assert(json_is_null(json_object_get(json, "no_time")));
    cr_assert_eq(strlen(json_string_value(json_object_get(json, "hash"))), 64);
    cr_assert(json_is_null(json_object_get(json, "no_hash")));
    cr_assert_eq(json_array_size(json_object_get(json, "list")), 1);
    cr_assert(json_is_null(json_object_get(json, "no_object")));
    cr_assert_not_null(json_object_get(json_object_get(json, "inner"), "k"));
    json_decref(json);
}

Test(output, a_name_is_all_that_is_printed_for_name)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "kill");
    capture(STDOUT_FILENO);
    document_print(FORMAT_NAME, &item, "demo/web");
    cr_assert_str_eq(captured_text(), "demo/web\n");
}
