/* What every daemon says about itself. */
#include <string.h>
#include <unistd.h>

#include "common/access/daemon_methods.h"
#include "common/api/api.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

static void write_counters(void *context, struct buffer *buffer)
{
    write_map(buffer, 1);
    write_str(buffer, "events");
    write_u64(buffer, *(const uint64_t *)context);
}

static const struct rpc_route routes[] = {
    { &method_daemon_hello, daemon_hello_route },
    { &method_event_append, daemon_stats_route },
    { NULL, NULL },
};

Test(daemon_methods, health_is_starting_until_said_otherwise)
{
    struct daemon_health_reply reply = { 0 };
    struct rpc_call call = { 0 };
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.state, "starting");
    daemon_health_set("damaged", "row %d of %s", 7, "live");
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.state, "damaged");
    cr_expect_str_eq(reply.reason, "row 7 of live");
    daemon_health_set("ready", NULL);
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.reason, "", "an old reason does not stay");
}

Test(daemon_methods, health_says_that_there_is_no_room_for_the_store)
{
    bool is_short = true;
    const struct daemon_self self = { .name = "eventd", .is_short_of_space = &is_short };
    struct daemon_health_reply reply = { 0 };
    struct rpc_call call = { 0 };
    daemon_methods_setup(&self, routes);
    daemon_health_set("ready", NULL);
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.state, "ready");
    cr_expect_not_null(strstr(reply.reason, "no room for its store"));
    is_short = false;
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.reason, "");
}

Test(daemon_methods, health_says_that_the_store_is_damaged_in_places)
{
    bool has_met_damage = false, is_short = true;
    const struct daemon_self self = { .name = "eventd",
                                      .is_short_of_space = &is_short,
                                      .has_met_damage = &has_met_damage,
                                      .damage = "rows are damaged" };
    struct daemon_health_reply reply = { 0 };
    struct rpc_call call = { 0 };
    daemon_methods_setup(&self, routes);
    daemon_health_set("ready", NULL);
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_not_null(strstr(reply.reason, "no room"));
    has_met_damage = true;
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.state, "ready");
    cr_expect_str_eq(reply.reason, "rows are damaged");
}

Test(daemon_methods, health_says_what_is_nearly_used_up_unless_there_is_worse)
{
    char shortage[64] = "";
    const struct daemon_self self = { .name = "eventd", .shortage = shortage };
    struct daemon_health_reply reply = { 0 };
    struct rpc_call call = { 0 };
    daemon_methods_setup(&self, routes);
    daemon_health_set("ready", NULL);
    strcpy(shortage, "its descriptors: 95 % are used");
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.state, "ready");
    cr_expect_str_eq(reply.reason, shortage);
    daemon_health_set("ready", "every token is refused");
    cr_expect_eq(daemon_health_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.reason, "every token is refused");
}

Test(daemon_methods, describes_each_method)
{
    struct access access = { 0 };
    const struct daemon_self self = { .name = "eventd", .access = &access };
    struct daemon_describe_reply reply = { 0 };
    struct rpc_call call = { 0 };
    daemon_methods_setup(&self, routes);
    cr_assert_eq(daemon_describe_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_str_eq(reply.daemon, "eventd");
    cr_expect_str_eq(reply.version, SOLO_VERSION);
    cr_expect_eq(reply.pid, (uint64_t)getpid());
    cr_expect_geq(reply.protocol, 1);
    struct reader reader = reader_of(reply.methods);
    struct span item;
    uint32_t count;
    char text[256];
    cr_assert_eq(reader_array(&reader, &count), STATUS_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(reader_any(&reader, &item), STATUS_OK);
    cr_expect_str_eq(map_text(item, "name", text, sizeof text), "daemon.hello");
    cr_expect_str_eq(map_text(item, "permission", text, sizeof text), "everybody");
    cr_assert_eq(reader_any(&reader, &item), STATUS_OK);
    cr_expect_str_eq(map_text(item, "name", text, sizeof text), "event.append");
    cr_expect_str_eq(map_text(item, "permission", text, sizeof text), "events:write");
    cr_expect_str_neq(map_text(item, "meaning", text, sizeof text), "");
}

Test(daemon_methods, stats_are_the_programs_counters)
{
    struct access access = { 0 };
    uint64_t events = 12;
    struct daemon_self self = { .name = "eventd", .access = &access };
    struct daemon_stats_reply reply = { 0 };
    struct rpc_call call = { 0 };
    daemon_methods_setup(&self, routes);
    cr_assert_eq(daemon_stats_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_eq(reply.counters.size, 1, "an empty map");
    self.write_counters = write_counters;
    self.context = &events;
    daemon_methods_setup(&self, routes);
    cr_assert_eq(daemon_stats_route(NULL, &call, NULL, &reply), STATUS_OK);
    cr_expect_eq(map_u64(reply.counters, "events", 0), 12);
}

Test(daemon_methods, the_descriptions_of_all_methods_fit_their_bound)
{
    size_t bytes = 0;
    for (size_t i = 0; all_methods[i] != NULL; i++)
        bytes += strlen(all_methods[i]->name) + strlen(all_methods[i]->meaning) + 64;
    cr_expect_lt(bytes, FRAME_BYTES_SMALL);
}
